"""Report of grown request heads: it measures by how much a head grew when an upstream refuses it for its size.

Laws:

- 431 means the size (RFC 6585 section 5). 400 and 413 may mean it if the upstream closes the connection with them and
  the head is longer than the smallest known limit; servers of several kinds answer so.
- Nothing is measured for a request that an upstream accepts.
- An upstream is reported once a minute; the access log has every request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.logs.limited import LimitedEvents
from gateway.wire.framing import request_framing

if TYPE_CHECKING:
    from gateway.proxy.exchange import Exchange
    from gateway.proxy.headers import HeaderPolicy
    from gateway.proxy.routes import Route
    from gateway.wire.messages import RequestHead

TOO_LARGE: Final = 431
UNCLEAR: Final = frozenset({400, 413})
SMALLEST_LIMIT: Final = 4096
"""Largest head in bytes that fasthttp accepts with the setting that Whatomate had before mid-2026."""


class Growth(NamedTuple):
    """Sizes of a head in bytes: as received, as sent, and the part of the latter that is identity headers."""

    received: int
    sent: int
    identity: int


class Heads:
    """Reporter of refused heads."""

    def __init__(self, header_policy: HeaderPolicy) -> None:
        """`header_policy` determines which lines are identity headers."""
        self._header_policy = header_policy
        self._events = LimitedEvents()

    def refused(self, exchange: Exchange, route: Route, start: bytes) -> None:
        """Measure and report a request that an upstream refused; `start` was sent, and the framing after it."""
        head = exchange.head
        growth = Growth(
            _length(head), len(start) + len(request_framing(head)), self._header_policy.identity_bytes(start)
        )
        unclear = exchange.status in UNCLEAR
        if route.internal or (unclear and growth.sent < SMALLEST_LIMIT):
            return
        exchange.growth = growth
        if growth.sent > growth.received:
            self._report(exchange, route, growth)

    def _report(self, exchange: Exchange, route: Route, growth: Growth) -> None:
        name = route.upstream.name
        self._events.warning(
            "upstream_refused_head",
            key=name,
            upstream=name,
            route=route.name,
            status=exchange.status,
            request_id=exchange.request_id.decode("ascii"),
            head_bytes_in=growth.received,
            head_bytes_out=growth.sent,
            identity_bytes=growth.identity,
            advice="leave identity headers out: GATEWAY_UPSTREAM_IDENTITY, or `identity:` in the route file"
            if growth.identity
            else "docs/limits.md lists what the gateway adds",
        )


def _length(head: RequestHead) -> int:
    lines = sum(len(name) + len(value) + 4 for name, value in head.fields)
    return len(head.method) + len(head.target) + len("  HTTP/1.1\r\n\r\n") + lines
