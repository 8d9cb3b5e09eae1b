"""What a browser does by itself, held against what its user wants: requests that cookies authenticate.

Laws:

- An unsafe method (RFC 9110 section 9.2.1) by cookie needs the session's CSRF token.
- A WebSocket handshake by cookie is a GET, and no CORS holds a page back from reading what comes of it: it needs the
  Origin of this host, or of a page that may use cookies.
- Nor may a page of another origin sign a browser in or out here: where cookies are set, the same holds, if the request
  says where it comes from. What is no browser does not.
- A header wins over the cookie, and needs none of this: no browser sends one by itself.
- ``Sec-Fetch-Site: same-origin``, or an ``Origin`` of this host or of a page that may use cookies, proves that such a
  page asked: browsers write these fields, and no page can (Fetch standard, forbidden request-headers). If the two
  are at odds, given twice, ``null`` or unreadable, they prove nothing.
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
    from gateway.proxy.question import Question
    from gateway.proxy.reading import Reading
    from gateway.proxy.routes import Route
    from gateway.wire.messages import RequestHead

_OWN_PAGE: Final = f"{OWN_PAGE}: true\r\n".encode("ascii")
_SAFE: Final = frozenset({b"GET", b"HEAD", b"OPTIONS"})
_OURS: Final = frozenset({b"same-origin", b"none"})
_OF_PAGES: Final = frozenset({b"same-origin", b"same-site", b"cross-site"})
_DEFAULT_PORTS: Final = {b"http": b":80", b"https": b":443"}


class BrowserLaws:
    """Stands between the authentication of a request and its permit, where cookies are on."""

    def __init__(self, csrf: CsrfTokens) -> None:
        self._csrf = csrf

    def check(self, question: Question, reading: Reading, principal: Principal, route: Route) -> None:
        """Refuse what a page may have sent without its user's wish.

        Raises:
            CsrfRefused: the CSRF token is missing, or not the session's.
            OriginRefused: another origin's page asked.
        """
        head = question.head
        if (
            route.cookies
            and head.method not in _SAFE
            and not _is_welcome(head, reading, route, stranger=True)
        ):
            raise OriginRefused("Pages of this origin may not sign in here; see GATEWAY_CORS_ORIGINS")
        if principal.method is not AuthMethod.COOKIE:
            return
        if head.method not in _SAFE:
            kept = reading.cookies.every(CSRF)
            own_page = len(kept) > 1 and proves_own_page(head, reading, route)
            sent = tuple(head.every(b"x-csrf-token"))
            self._csrf.check(sent, kept, principal.session_id, own_page=own_page)
        elif _is_handshake(head) and not _is_welcome(head, reading, route, stranger=False):
            raise OriginRefused("Pages of this origin may not open a WebSocket; see GATEWAY_CORS_ORIGINS")

    def proof(self, head: RequestHead, reading: Reading, principal: Principal) -> int:
        """Return how much a request by cookie proves that this caller's user meant it, whichever page sent it.

        Returns:
            As :meth:`~gateway.csrf.CsrfTokens.proof`; of a safe method nothing needs a proof, and it is whole.
        """
        if head.method in _SAFE:
            return BOUND
        sent = tuple(head.every(b"x-csrf-token"))
        return self._csrf.proof(sent, reading.cookies.every(CSRF), principal.session_id)


def own_page_line(head: RequestHead, reading: Reading, route: Route) -> bytes:
    """Return the line by which the gateway's own application learns of that proof; none where there is no proof."""
    return _OWN_PAGE if proves_own_page(head, reading, route) else b""


def proves_own_page(head: RequestHead, reading: Reading, route: Route) -> bool:
    """Whether a request proves that a page of this host sent it, or one that may use cookies."""
    if head.occurs_twice(b"origin") or head.occurs_twice(b"sec-fetch-site"):
        return False
    site, origin = head.first.get(b"sec-fetch-site"), head.first.get(b"origin")
    if origin is None:
        return site == b"same-origin"
    if _may_use_cookies(origin, route):
        return site is None or site in _OF_PAGES
    return _is_here(origin, reading) and (site is None or site == b"same-origin")


def _is_handshake(head: RequestHead) -> bool:
    """Whether somebody on the way might take it for one; described requests say less than those at hand."""
    return head.upgrade or b"upgrade" in head.first or b"sec-websocket-key" in head.first


def _is_welcome(head: RequestHead, reading: Reading, route: Route, *, stranger: bool) -> bool:
    """Whether the page that asks is of this origin, or may use cookies; `stranger` if there is no saying."""
    named = b"origin" in head.first
    if not named and b"sec-fetch-site" not in head.first:
        return stranger
    origin = origin_of(head)
    if origin is not None and _may_use_cookies(origin, route):
        return True
    site = head.first.get(b"sec-fetch-site")
    if site is not None:  # browsers send it, and no page can
        return site in _OURS and not head.occurs_twice(b"sec-fetch-site")
    return origin is not None and _is_here(origin, reading)


def _may_use_cookies(origin: bytes, route: Route) -> bool:
    cors = route.cors
    return cors is not None and cors.credentials and cors.allows(origin)


def _is_here(origin: bytes, reading: Reading) -> bool:
    scheme, _, authority = origin.lower().partition(b"://")
    here = reading.origin.host.lower().removesuffix(_DEFAULT_PORTS.get(scheme, b""))
    return bool(authority) and authority == here
