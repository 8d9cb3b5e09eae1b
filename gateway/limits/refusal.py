"""Refusal of a request by a limit: 429 with the seconds after which to try again."""

from __future__ import annotations

from math import ceil, isfinite
from typing import Final

from gateway.faults import GatewayFault

_LONGEST_SECONDS: Final = 86_400 * 366


class LimitExceeded(GatewayFault):
    """The caller has used up a limit of the route (RFC 6585 section 4).

    Attributes:
        limit: The name of the limit.
        seconds: The seconds after which a request like this one may pass.
    """

    status = 429
    reason = "rate_limited"

    def __init__(self, limit: str, seconds: float) -> None:
        self.limit = limit
        self.seconds = seconds
        whole = (
            max(ceil(seconds), 1) if isfinite(seconds) and seconds < _LONGEST_SECONDS else _LONGEST_SECONDS
        )
        super().__init__(f"Too many requests: the limit {limit} grants the next in {whole} s")
        self.headers = {"Retry-After": str(whole)}


class LimitUnknown(LimitExceeded):
    """The store of a shared limit is away, and the limit is closed then. This says nothing about the caller."""

    status = 503
    reason = "limit_unknown"

    def __init__(self, limit: str) -> None:
        super().__init__(limit, 1)
        self.args = (f"The limit {limit} cannot be read at the moment, try again shortly",)


class ConcurrencyExceeded(LimitExceeded):
    """The caller has as many requests at work as a limit of the route lets it have."""

    reason = "concurrency_limited"

    def __init__(self, limit: str, seconds: float) -> None:
        super().__init__(limit, seconds)
        self.args = (
            f"Too many requests at once: the limit {limit} has room again when one of them has ended",
        )
