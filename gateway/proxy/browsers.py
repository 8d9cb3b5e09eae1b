"""CSRF-token and Origin checks for cookie-authenticated requests.

Laws:

- An unsafe method (RFC 9110 section 9.2.1) that is authenticated by cookie needs the session's CSRF token.
- A WebSocket handshake that is authenticated by cookie needs the Origin of this host, or of a page that may use
  cookies: it is a GET, and CORS does not stop a page from reading what the socket sends.
- Sign-in and sign-out, where cookies are set, also check Origin and Sec-Fetch-Site if the request has them: a page of
  another origin may not sign a browser in or out here. Clients other than browsers send neither field, and pass.
- A credential in a header wins over the cookie and needs no check: no browser sends one by itself.
- ``Sec-Fetch-Site: same-origin``, or an ``Origin`` of this host or of a page that may use cookies, proves that such a
  page sent the request: browsers write these fields, and no page can (Fetch standard, forbidden request-headers). If
  the two contradict each other, occur twice, or are ``null`` or unreadable, they prove nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from authcore.principal import AuthMethod
from gateway.cookies import CSRF
from gateway.csrf import BOUND, OWN_PAGE
from gateway.faults import OriginRefused
from gateway.proxy.cors import origin_of

if TYPE_CHECKING:
    from authcore.principal import Principal
    from gateway.csrf import CsrfTokens
    from gateway.proxy.decision_context import DecisionContext
    from gateway.proxy.parsed_headers import ParsedHeaders
    from gateway.proxy.routes import Route
    from gateway.wire.messages import RequestHead

_OWN_PAGE: Final = f"{OWN_PAGE}: true\r\n".encode("ascii")
_SAFE: Final = frozenset({b"GET", b"HEAD", b"OPTIONS"})
_OURS: Final = frozenset({b"same-origin", b"none"})
_OF_PAGES: Final = frozenset({b"same-origin", b"same-site", b"cross-site"})
_DEFAULT_PORTS: Final = {b"http": b":80", b"https": b":443"}


class BrowserPolicy:
    """Cookie policy: the checks between the authentication of a request and its permit, where cookies are on."""

    def __init__(self, csrf: CsrfTokens) -> None:
        self._csrf = csrf

    def check(
        self, context: DecisionContext, parsed: ParsedHeaders, principal: Principal, route: Route
    ) -> None:
        """Refuse a request that a page may have sent against its user's will.

        Raises:
            CsrfRefused: the CSRF token is missing, or is not the session's.
            OriginRefused: a page of another origin sent the request.
        """
        head = context.head
        if (
            route.cookies
            and head.method not in _SAFE
            and not _is_welcome(head, parsed, route, if_unstated=True)
        ):
            raise _refused(head, route, "sign in here")
        if principal.method is not AuthMethod.COOKIE:
            return
        if head.method not in _SAFE:
            cookies = parsed.cookies.every(CSRF)
            own_page = len(cookies) > 1 and proves_own_page(head, parsed, route)
            sent = tuple(head.every(b"x-csrf-token"))
            self._csrf.check(sent, cookies, principal.session_id, own_page=own_page)
        elif _is_handshake(head) and not _is_welcome(head, parsed, route, if_unstated=False):
            raise _refused(head, route, "open a WebSocket by cookie")

    def proof(self, head: RequestHead, parsed: ParsedHeaders, principal: Principal) -> int:
        """Return how strongly a request by cookie proves that its user meant it, independent of the page that sent it.

        Returns:
            The same as :meth:`~gateway.csrf.CsrfTokens.proof`; the full proof for a safe method, which needs none.
        """
        if head.method in _SAFE:
            return BOUND
        sent = tuple(head.every(b"x-csrf-token"))
        return self._csrf.proof(sent, parsed.cookies.every(CSRF), principal.session_id)


def _refused(head: RequestHead, route: Route, what: str) -> OriginRefused:
    """Return the refusal of a page's request, which names the setting that it lacks."""
    cors = route.cors
    if cors is not None and not cors.credentials and cors.allows(origin_of(head)):
        return OriginRefused(
            f"Pages of this origin may call, but not {what}: GATEWAY_CORS_CREDENTIALS is off"
        )
    return OriginRefused(f"Pages of this origin may not {what}; see GATEWAY_CORS_ORIGINS")


def own_page_line(head: RequestHead, parsed: ParsedHeaders, route: Route) -> bytes:
    """Return the line that reports this proof to the gateway's own application; empty if there is no proof."""
    return _OWN_PAGE if proves_own_page(head, parsed, route) else b""


def proves_own_page(head: RequestHead, parsed: ParsedHeaders, route: Route) -> bool:
    """Return whether a request proves that a page of this host, or one that may use cookies, sent it."""
    if head.occurs_twice(b"origin") or head.occurs_twice(b"sec-fetch-site"):
        return False
    site, origin = head.first.get(b"sec-fetch-site"), head.first.get(b"origin")
    if origin is None:
        return site == b"same-origin"
    if _may_use_cookies(origin, route):
        return site is None or site in _OF_PAGES
    return _is_here(origin, parsed) and (site is None or site == b"same-origin")


def _is_handshake(head: RequestHead) -> bool:
    """Return whether any server could take it for a handshake; a described request has fewer marks than a real one."""
    return head.upgrade or b"upgrade" in head.first or b"sec-websocket-key" in head.first


def _is_welcome(head: RequestHead, parsed: ParsedHeaders, route: Route, *, if_unstated: bool) -> bool:
    """Return whether the sending page is of this origin or may use cookies; `if_unstated` if no field states it."""
    named = b"origin" in head.first
    if not named and b"sec-fetch-site" not in head.first:
        return if_unstated
    origin = origin_of(head)
    if origin is not None and _may_use_cookies(origin, route):
        return True
    site = head.first.get(b"sec-fetch-site")
    if site is not None:  # browsers send it, and no page can set it
        return site in _OURS and not head.occurs_twice(b"sec-fetch-site")
    return origin is not None and _is_here(origin, parsed)


def _may_use_cookies(origin: bytes, route: Route) -> bool:
    cors = route.cors
    return cors is not None and cors.credentials and cors.allows(origin)


def _is_here(origin: bytes, parsed: ParsedHeaders) -> bool:
    scheme, _, authority = origin.lower().partition(b"://")
    here = parsed.origin.host.lower().removesuffix(_DEFAULT_PORTS.get(scheme, b""))
    return bool(authority) and authority == here
