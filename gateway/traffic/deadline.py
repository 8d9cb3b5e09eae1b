"""Deadline of a request: it bounds the time until the answer begins, over all attempts and waiting.

The upstream is sent the milliseconds that are left, as ``X-Envoy-Expected-Rq-Timeout-Ms``: a span needs no clocks that
agree, and proxies and frameworks read this name (docs/decisions.md).
"""

from __future__ import annotations

from typing import Final

FIELD: Final = b"X-Envoy-Expected-Rq-Timeout-Ms"
STEERING: Final = frozenset(
    {
        *(b"x-envoy-expected-rq-timeout-ms", b"x-envoy-upstream-rq-timeout-ms"),
        *(b"x-envoy-upstream-rq-per-try-timeout-ms", b"x-envoy-upstream-rq-timeout-alt-response"),
        *(b"x-envoy-retry-on", b"x-envoy-retry-grpc-on", b"x-envoy-max-retries"),
        *(b"x-envoy-retriable-status-codes", b"x-envoy-retriable-header-names"),
        b"x-envoy-hedge-on-per-try-timeout",
    }
)
"""Fields by which a client would set deadlines and retries of proxies behind the gateway: they are not passed on."""
_MILLISECONDS: Final = 1000.0


class Deadline:
    """Deadline of one request.

    Attributes:
        at: Monotonic seconds at which it passes.
    """

    __slots__ = ("at",)

    def __init__(self, at: float) -> None:
        self.at = at

    def left(self, now: float) -> float:
        """Return the seconds that are left, 0 if none are."""
        return max(self.at - now, 0.0)

    def line(self, now: float) -> bytes:
        """Return the field line for the upstream: the milliseconds left, rounded down, and at least one."""
        return b"%b: %d\r\n" % (FIELD, max(int(self.left(now) * _MILLISECONDS), 1))
