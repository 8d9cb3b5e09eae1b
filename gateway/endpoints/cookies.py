"""The cookies of a browser session: what signing in sets, refreshing takes, and logging out clears.

Laws:

- The three are set together and cleared together, with the attributes that Whatomate's clients know: tokens that no
  script can read, one for ``/api`` and one for ``/api/auth``; the CSRF token for every page; all ``SameSite=Lax``.
- A token in the body wins over the cookie and needs no CSRF token, as a header does elsewhere.
- A refresh by cookie needs no CSRF token where the pipeline has found that a page of this host sent it: the clients of
  Whatomate send none, since its server asks for it only beside an access cookie, and that has just run out.
- Of several refresh cookies each is a candidate: the genuine ones, the newest first; without that proof, those of the
  session that the CSRF token is of.
- Setting and clearing expire what lies in other places (``gateway/cookie_places.py``).
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
from authcore.errors import CredentialAmbiguous
from authcore.twins import newest_first
from gateway.cookie_places import PATHS
from gateway.cookies import ACCESS, CSRF, REFRESH, OurCookies
from gateway.csrf import OWN_PAGE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from authcore.pairs import TokenPair
    from authcore.tokens import Tokens
    from gateway.cookie_places import CookiePlaces
    from gateway.csrf import CsrfTokens

_MARK: Final = web.RequestKey("gateway_cookies", list[bytes])
_OVER: Final = b"; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"


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

    def carry(
        self, request: web.Request, pair: TokenPair, *, shows: bool = True, renews: bool = True
    ) -> None:
        """Let the answer to `request` set the cookies of a pair.

        `shows` says that the pipeline leaves our cookies in such a request. Unless it `renews`, the access token alone
        is set, and the refresh token of the session stays where it is.
        """

    def clear(self, request: web.Request) -> None:
        """Let the answer to `request` clear the cookies, whatever else it says."""

    def refresh_tokens(self, request: web.Request, now: float) -> list[KeptToken]:
        """Return the refresh tokens of the cookies, the one to be tried first first; none where there is no cookie.

        Raises:
            CredentialAmbiguous: there are more than there are places for.
            CsrfRefused: nothing shows that the user meant it.
        """

    def leaving(self, request: web.Request) -> list[RefreshToken | BearerToken]:
        """Return every token of the cookies, for whoever wants to be rid of them."""


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

    def carry(
        self, request: web.Request, pair: TokenPair, *, shows: bool = True, renews: bool = True
    ) -> None:
        """And nowhere else."""

    def clear(self, request: web.Request) -> None:
        """There is nothing to clear."""

    def refresh_tokens(self, request: web.Request, now: float) -> list[KeptToken]:
        """A cookie of that name is somebody else's."""
        del request, now
        return []

    def leaving(self, request: web.Request) -> list[RefreshToken | BearerToken]:
        """The same."""
        del request
        return []


class SessionCookies(NoCookies):
    """Cookies are on."""

    def __init__(self, csrf: CsrfTokens, tokens: Tokens, places: CookiePlaces, *, only: bool) -> None:
        """With `only`, tokens go into cookies alone."""
        self._csrf = csrf
        self._tokens = tokens
        self._places = places
        self._only = only

    def add_to(self, application: web.Application) -> None:
        """Let every answer of an application carry what its request was marked with."""
        application.on_response_prepare.append(self._write)

    def shown(self, pair: TokenPair) -> Mapping[str, object]:
        """Tokens go into the body as well, unless they are in cookies only."""
        return {"expires_in": pair.expires_in} if self._only else super().shown(pair)

    def carry(
        self, request: web.Request, pair: TokenPair, *, shows: bool = True, renews: bool = True
    ) -> None:
        """Mark the request; cookies are written when its answer is."""
        places, host, life = self._places, _host(request), f"; Max-Age={pair.refresh_expires_in}".encode()
        has_none = shows and not _cookies(request)
        access = places.put(ACCESS, pair.access_token.encode(), f"; Max-Age={pair.expires_in}".encode())
        if not renews:
            request[_MARK] = [*places.expire(host, (ACCESS,)), access]
            return
        request[_MARK] = [
            *(places.expire_unseen(host) if has_none else places.expire(host)),
            access,
            places.put(REFRESH, pair.refresh_token.encode(), life),
            places.put(CSRF, self._csrf.mint(pair.session_id).encode(), life),
        ]

    def clear(self, request: web.Request) -> None:
        """Mark the request; wherever one may lie, it goes: no later answer would find it."""
        ours = [self._places.put(name, b"", _OVER) for name in PATHS]
        request[_MARK] = [*self._places.expire(_host(request)), *ours]

    def refresh_tokens(self, request: web.Request, now: float) -> list[KeptToken]:
        """Take them from the cookies of that name, if a page of this host is proven to ask, or by the CSRF token."""
        cookies = _cookies(request)
        found = cookies.every(REFRESH)
        if not found:
            return []
        # Of one session the newest counts: an older one was used up for it, and using it again would end the session.
        sessions: dict[object, KeptToken] = {}
        for value, claims in newest_first(self._tokens, found, RefreshClaims, now):
            session_id = claims.session_id
            kept = KeptToken(RefreshToken(value.decode("latin-1")), session_id)
            sessions.setdefault(session_id or value, kept)
        candidates = list(sessions.values())
        if not candidates:  # refreshing will say what is wrong with it
            candidates = [KeptToken(RefreshToken(found[0].decode("latin-1")), None)]
        if OWN_PAGE in request.headers:
            return candidates
        sent = [
            sent.encode("utf-8", "surrogateescape") for sent in request.headers.getall("X-CSRF-Token", ())
        ]
        csrf = cookies.every(CSRF)
        proofs = [(self._csrf.proof(sent, csrf, one.session_id), one) for one in candidates]
        meant = [(proof, one) for proof, one in proofs if proof]
        if not meant:
            self._csrf.check(sent, csrf, candidates[0].session_id)
        return [one for _, one in sorted(meant, key=lambda each: -each[0])]

    def leaving(self, request: web.Request) -> list[RefreshToken | BearerToken]:
        """Take them as they are: to be signed out needs no proof, and where it was sent from was looked at before."""
        cookies = _cookies(request)
        found: list[RefreshToken | BearerToken] = []
        with suppress(CredentialAmbiguous):
            found += [RefreshToken(value.decode("latin-1")) for value in cookies.every(REFRESH)]
        with suppress(CredentialAmbiguous):
            found += [BearerToken(value) for value in cookies.every(ACCESS)]
        return found

    async def _write(self, request: web.Request, response: web.StreamResponse) -> None:
        for line in request.get(_MARK, ()):
            response.headers.add("Set-Cookie", line.decode("ascii"))


def _cookies(request: web.Request) -> OurCookies:
    lines = request.headers.getall("Cookie", ())
    return OurCookies(line.encode("utf-8", "surrogateescape") for line in lines)


def _host(request: web.Request) -> bytes:
    """Return the host that the client asked for, as the pipeline found it."""
    return request.headers.get("X-Forwarded-Host", "").encode("ascii", "replace")
