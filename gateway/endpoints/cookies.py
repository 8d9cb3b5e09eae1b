"""Cookies of a browser session: signing in sets them, refreshing reads them, and logging out clears them.

Laws:

- The three are set together and cleared together, with the attributes that Whatomate's clients know: one token for
  ``/api`` and one for ``/api/auth``, which no script can read; the CSRF token for every page; all ``SameSite=Lax``.
- A token in the body has precedence over the cookie and needs no CSRF token, as a header does elsewhere.
- A refresh by cookie needs no CSRF token if the pipeline has found that a page of this host sent it. The clients of
  Whatomate send none: its server asks for one only beside an access cookie, which has expired by then.
- Of several refresh cookies the genuine ones are candidates, the newest first. Without that proof only those count
  whose session the CSRF token belongs to.
- Setting and clearing expire the cookies in other places (``gateway/cookie_places.py``).
- Cookies are cleared if their session is over, and by no other refusal: a client that lost a race, or met an outage,
  still has the cookies of the one that won.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlencode

from authcore.credentials import BearerToken, RefreshToken
from authcore.identity.newest_token import newest_first
from authcore.tokens.claims import RefreshClaims
from gateway.cookie_places import PATHS
from gateway.cookies import ACCESS, CSRF, REFRESH, OurCookies

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from aiohttp import web

    from authcore.accounts.token_pairs import TokenPair
    from authcore.tokens.issuer import Tokens
    from gateway.cookie_places import CookiePlaces
    from gateway.csrf import CsrfTokens
    from gateway.endpoints.caller import Visitor

_OVER: Final = b"; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"


@dataclass(frozen=True, slots=True)
class RefreshCookie:
    """Refresh token of a cookie.

    Attributes:
        token: The token.
        session_id: The session that it names; None if Whatomate issued it, or it does not verify.
    """

    token: RefreshToken
    session_id: UUID | None


class CookiePolicy(Protocol):
    """Cookies as the endpoints use them, on or off."""

    def body_members(self, pair: TokenPair) -> Mapping[str, object]:
        """Return the members of the body that show a pair."""

    def fragment(self, pair: TokenPair) -> str:
        """Return the fragment of a URL that hands a pair to a page; empty if cookies do."""

    def carry(
        self,
        request: web.Request,
        sender: Visitor,
        pair: TokenPair,
        *,
        shows: bool = True,
        renews: bool = True,
    ) -> None:
        """Make the answer to `request` set the cookies of a pair.

        Args:
            request: The request.
            sender: Its sender.
            pair: The tokens.
            shows: The pipeline leaves our cookies in such a request.
            renews: The refresh token is set, too; otherwise the cookie of the session's refresh token stays.
        """

    def clear(self, request: web.Request, sender: Visitor) -> None:
        """Make the answer to `request` clear the cookies, whatever its status."""

    def refresh_tokens(self, request: web.Request, sender: Visitor, now: float) -> list[RefreshCookie]:
        """Return the refresh tokens of the cookies, in the order to try them; empty if there is no cookie.

        Raises:
            CredentialAmbiguous: there are more cookies of the name than places for it.
            CsrfRefused: neither the page nor a CSRF token proves that the user meant the request.
        """

    def leaving(self, request: web.Request) -> list[RefreshToken | BearerToken]:
        """Return every token of the cookies, for logging out."""

    async def write(self, request: web.Request, response: web.StreamResponse) -> None:
        """Add the cookies of the answer to `request` to its response."""


class NoCookies:
    """Cookies that are off: tokens go into the body, and cookies of these names belong to somebody else."""

    async def write(self, request: web.Request, response: web.StreamResponse) -> None:
        """Add nothing to a response."""

    def body_members(self, pair: TokenPair) -> Mapping[str, object]:
        """Return the tokens and the lifetime."""
        return {
            "access_token": pair.access_token,
            "refresh_token": pair.refresh_token,
            "expires_in": pair.expires_in,
        }

    def fragment(self, pair: TokenPair) -> str:
        """Return the fragment with the tokens and the lifetime, as Whatomate's bearer clients read it."""
        return f"#{urlencode(self.body_members(pair))}"

    def carry(
        self,
        request: web.Request,
        sender: Visitor,
        pair: TokenPair,
        *,
        shows: bool = True,
        renews: bool = True,
    ) -> None:
        """Set nothing."""

    def clear(self, request: web.Request, sender: Visitor) -> None:
        """Clear nothing."""

    def refresh_tokens(self, request: web.Request, sender: Visitor, now: float) -> list[RefreshCookie]:
        """Return nothing: a cookie of that name is not ours."""
        del request, sender, now
        return []

    def leaving(self, request: web.Request) -> list[RefreshToken | BearerToken]:
        """Return nothing, likewise."""
        del request
        return []


class SessionCookies(NoCookies):
    """Cookies that are on."""

    def __init__(self, csrf: CsrfTokens, tokens: Tokens, places: CookiePlaces, *, only: bool) -> None:
        """Create the cookies; with `only`, tokens go into cookies and not into the body."""
        self._csrf = csrf
        self._tokens = tokens
        self._places = places
        self._only = only

    def body_members(self, pair: TokenPair) -> Mapping[str, object]:
        """Return the tokens and the lifetime; the lifetime alone if tokens go into cookies only."""
        return {"expires_in": pair.expires_in} if self._only else super().body_members(pair)

    def fragment(self, pair: TokenPair) -> str:
        """Return nothing: no client that uses cookies reads a fragment."""
        del pair
        return ""

    def carry(
        self,
        request: web.Request,
        sender: Visitor,
        pair: TokenPair,
        *,
        shows: bool = True,
        renews: bool = True,
    ) -> None:
        """Mark the request; cookies are written when its answer is."""
        places, host, life = self._places, sender.host, f"; Max-Age={pair.refresh_expires_in}".encode()
        has_none = shows and not _cookies(request)
        access = places.put(ACCESS, pair.access_token.encode(), f"; Max-Age={pair.expires_in}".encode())
        if not renews:
            request[_mark()] = [*places.expire(host, (ACCESS,)), access]
            return
        request[_mark()] = [
            *(places.expire_unseen(host) if has_none else places.expire(host)),
            access,
            places.put(REFRESH, pair.refresh_token.encode(), life),
            places.put(CSRF, self._csrf.mint(pair.session_id).encode(), life),
        ]

    def clear(self, request: web.Request, sender: Visitor) -> None:
        """Mark the request; wherever one may lie, it goes: no later answer would find it."""
        ours = [self._places.put(name, b"", _OVER) for name in PATHS]
        request[_mark()] = [*self._places.expire(sender.host), *ours]

    def refresh_tokens(self, request: web.Request, sender: Visitor, now: float) -> list[RefreshCookie]:
        """Return those of the cookies, if a page of this host is proven to ask, or the CSRF token proves it."""
        cookies = _cookies(request)
        found = cookies.every(REFRESH)
        if not found:
            return []
        # Of one session the newest counts: an older one was used up for it, and using it again would end the session.
        sessions: dict[object, RefreshCookie] = {}
        for value, claims in newest_first(self._tokens, found, RefreshClaims, now):
            session_id = claims.session_id
            cookie = RefreshCookie(RefreshToken(value.decode("latin-1")), session_id)
            sessions.setdefault(session_id or value, cookie)
        candidates = list(sessions.values())
        if not candidates:  # refreshing will say what is wrong with it
            candidates = [RefreshCookie(RefreshToken(found[0].decode("latin-1")), None)]
        if sender.is_own_page:
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
        """Return all tokens unverified: logging out needs no proof, and the pipeline has checked the page's origin.

        There may be more of them than identify a caller: cookies that another host has planted do not keep the session.
        """
        cookies = _cookies(request)
        return [
            *(RefreshToken(value.decode("latin-1")) for value in cookies.unbounded(REFRESH)),
            *(BearerToken(value) for value in cookies.unbounded(ACCESS)),
        ]

    async def write(self, request: web.Request, response: web.StreamResponse) -> None:
        """Add the cookies that `request` was marked with to its response."""
        for line in request.get(_mark(), ()):
            response.headers.add("Set-Cookie", line.decode("ascii"))


@cache
def _mark() -> web.RequestKey[list[bytes]]:
    """Return the key of the cookies that a request is answered with."""
    from aiohttp import web

    return web.RequestKey("gateway_cookies", list[bytes])


def _cookies(request: web.Request) -> OurCookies:
    lines = request.headers.getall("Cookie", ())
    return OurCookies(line.encode("utf-8", "surrogateescape") for line in lines)
