"""The cookies of a browser session: what signing in sets, refreshing takes, and logging out clears.

Laws:

- The three are set together and cleared together, with the attributes that Whatomate's clients know: tokens that no
  script can read, one for ``/api`` and one for ``/api/auth``; the CSRF token for every page; all ``SameSite=Lax``.
- A token in the body wins over the cookie and needs no CSRF token, as a header does elsewhere.
- Cookies are cleared when their session is over, and by no other refusal: who lost a race, or met an outage, still has
  the cookies of who won.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from aiohttp import web

from authcore.claims import RefreshClaims
from authcore.credentials import BearerToken, RefreshToken
from authcore.errors import CredentialAmbiguous, TokenRejected
from gateway.cookies import ACCESS, CSRF, REFRESH, OurCookies

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from authcore.pairs import TokenPair
    from authcore.tokens import Tokens
    from gateway.csrf import CsrfTokens

_MARK: Final = web.RequestKey("gateway_cookies", list[str])
_PLACES: Final = {ACCESS: "; Path=/api; HttpOnly", REFRESH: "; Path=/api/auth; HttpOnly", CSRF: "; Path=/"}
_OVER: Final = "; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"


@dataclass(frozen=True, slots=True)
class KeptToken:
    """The refresh token of the cookies.

    Attributes:
        token: The token.
        session_id: The session that it says it is of; None when Whatomate issued it, or it cannot be believed.
    """

    token: RefreshToken
    session_id: UUID | None


class CookieLaws(Protocol):
    """What the endpoints ask of cookies, be they on or off."""

    def shown(self, pair: TokenPair) -> Mapping[str, object]:
        """Return what the body tells of a pair."""

    def carry(self, request: web.Request, pair: TokenPair) -> None:
        """Let the answer to `request` set the cookies of a pair."""

    def clear(self, request: web.Request) -> None:
        """Let the answer to `request` clear the cookies, whatever else it says."""

    def refresh_token(self, request: web.Request, now: float) -> KeptToken | None:
        """Return the refresh token of the cookies; None when there is none.

        Raises:
            CredentialAmbiguous: there are two.
            CsrfRefused: nothing shows that the user meant it.
        """

    def leaving(self, request: web.Request) -> list[RefreshToken | BearerToken]:
        """Return the tokens of the cookies to who wants to be rid of them; of two of one name, neither."""


class NoCookies:
    """Cookies are off."""

    def add_to(self, application: web.Application) -> None:
        """Let every answer of an application carry what its request was marked with: nothing."""

    def shown(self, pair: TokenPair) -> Mapping[str, object]:
        """Tokens go into the body."""
        return {
            "access_token": pair.access_token,
            "refresh_token": pair.refresh_token,
            "expires_in": pair.expires_in,
        }

    def carry(self, request: web.Request, pair: TokenPair) -> None:
        """And nowhere else."""

    def clear(self, request: web.Request) -> None:
        """There is nothing to clear."""

    def refresh_token(self, request: web.Request, now: float) -> KeptToken | None:
        """A cookie of that name is somebody else's."""
        del request, now
        return None

    def leaving(self, request: web.Request) -> list[RefreshToken | BearerToken]:
        """The same."""
        del request
        return []


class SessionCookies(NoCookies):
    """Cookies are on."""

    def __init__(
        self, csrf: CsrfTokens, tokens: Tokens, *, secure: bool, domain: str | None, only: bool
    ) -> None:
        """With `only`, tokens go into cookies alone."""
        self._csrf = csrf
        self._tokens = tokens
        self._only = only
        self._attributes = ("; Secure" if secure else "") + "; SameSite=Lax"
        self._domain = f"; Domain={domain}" if domain else ""

    def add_to(self, application: web.Application) -> None:
        """Let every answer of an application carry what its request was marked with."""
        application.on_response_prepare.append(self._write)

    def shown(self, pair: TokenPair) -> Mapping[str, object]:
        """Tokens go into the body as well, unless they are in cookies only."""
        return {"expires_in": pair.expires_in} if self._only else super().shown(pair)

    def carry(self, request: web.Request, pair: TokenPair) -> None:
        """Mark the request; cookies are written when its answer is."""
        request[_MARK] = [
            self._line(ACCESS, pair.access_token, f"; Max-Age={pair.expires_in}"),
            self._line(REFRESH, pair.refresh_token, f"; Max-Age={pair.refresh_expires_in}"),
            self._line(CSRF, self._csrf.mint(pair.session_id), f"; Max-Age={pair.refresh_expires_in}"),
        ]

    def clear(self, request: web.Request) -> None:
        """Mark the request; with a domain, cookies from before it was set go too."""
        lines = [self._line(name, "", _OVER) for name in _PLACES]
        if self._domain:
            lines += [line.replace(self._domain, "") for line in lines]
        request[_MARK] = lines

    def refresh_token(self, request: web.Request, now: float) -> KeptToken | None:
        """Take it from the one cookie of that name, if the CSRF token is its session's."""
        cookies = _cookies(request)
        value = cookies.one(REFRESH)
        if value is None:
            return None
        token = value.decode("latin-1")
        try:
            session = self._tokens.verify(token, RefreshClaims, now).session_id
        except TokenRejected:
            session = None  # refreshing will say what is wrong with it
        sent = [
            sent.encode("utf-8", "surrogateescape") for sent in request.headers.getall("X-CSRF-Token", ())
        ]
        self._csrf.check(sent, cookies.one(CSRF), session)
        return KeptToken(RefreshToken(token), session)

    def leaving(self, request: web.Request) -> list[RefreshToken | BearerToken]:
        """Take them as they are: to be signed out needs no proof, and where it was sent from was looked at before."""
        cookies = _cookies(request)
        found: list[RefreshToken | BearerToken] = []
        with suppress(CredentialAmbiguous):
            if (value := cookies.one(REFRESH)) is not None:
                found.append(RefreshToken(value.decode("latin-1")))
        with suppress(CredentialAmbiguous):
            if (value := cookies.one(ACCESS)) is not None:
                found.append(BearerToken(value))
        return found

    def _line(self, name: bytes, value: str, life: str) -> str:
        return f"{name.decode()}={value}{_PLACES[name]}{life}{self._domain}{self._attributes}"

    async def _write(self, request: web.Request, response: web.StreamResponse) -> None:
        for line in request.get(_MARK, ()):
            response.headers.add("Set-Cookie", line)


def _cookies(request: web.Request) -> OurCookies:
    lines = request.headers.getall("Cookie", ())
    return OurCookies(line.encode("utf-8", "surrogateescape") for line in lines)
