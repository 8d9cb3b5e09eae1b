"""What a browser does by itself, held against what its user wants: requests that cookies authenticate.

Laws:

- An unsafe method (RFC 9110 section 9.2.1) by cookie needs the session's CSRF token.
- A WebSocket handshake by cookie is a GET, and no CORS holds a page back from reading what comes of it: it needs the
  Origin of this host, or of a page that may use cookies.
- Nor may a page of another origin sign a browser in or out here: where cookies are set, the same holds, if the request
  says where it comes from. What is no browser does not.
- A header wins over the cookie, and needs none of this: no browser sends one by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from authcore.principal import AuthMethod
from gateway.cookies import CSRF
from gateway.faults import OriginRefused
from gateway.proxy.cors import origin_of

if TYPE_CHECKING:
    from authcore.principal import Principal
    from gateway.csrf import CsrfTokens
    from gateway.proxy.question import Question
    from gateway.proxy.reading import Reading
    from gateway.proxy.routes import Route
    from gateway.wire.messages import RequestHead

_SAFE: Final = frozenset({b"GET", b"HEAD", b"OPTIONS"})
_OURS: Final = frozenset({b"same-origin", b"none"})
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
            sent = tuple(head.every(b"x-csrf-token"))
            self._csrf.check(sent, reading.cookies.one(CSRF), principal.session_id)
        elif _is_handshake(head) and not _is_welcome(head, reading, route, stranger=False):
            raise OriginRefused("Pages of this origin may not open a WebSocket; see GATEWAY_CORS_ORIGINS")


def _is_handshake(head: RequestHead) -> bool:
    """Whether somebody on the way might take it for one; described requests say less than those at hand."""
    return head.upgrade or b"upgrade" in head.first or b"sec-websocket-key" in head.first


def _is_welcome(head: RequestHead, reading: Reading, route: Route, *, stranger: bool) -> bool:
    """Whether the page that asks is of this origin, or may use cookies; `stranger` if there is no saying."""
    named = b"origin" in head.first
    if not named and b"sec-fetch-site" not in head.first:
        return stranger
    origin = origin_of(head)
    cors = route.cors
    if origin is not None and cors is not None and cors.credentials and cors.allows(origin):
        return True
    site = head.first.get(b"sec-fetch-site")
    if site is not None:  # browsers send it, and no page can
        return site in _OURS and not head.occurs_twice(b"sec-fetch-site")
    if origin is None:
        return False
    scheme, _, authority = origin.lower().partition(b"://")
    here = reading.origin.host.lower().removesuffix(_DEFAULT_PORTS.get(scheme, b""))
    return bool(authority) and authority == here
