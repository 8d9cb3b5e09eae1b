"""Error tree of upstream faults. ``gateway/proxy/refusals.py`` maps every one of them to an answer."""

from __future__ import annotations

from typing import Final

CUT_OFF: Final = "the upstream closed the connection before its response had ended"
UNSENT: Final = "the upstream closed the connection before a request was sent on it"


class UpstreamFault(Exception):
    """Base class of upstream faults."""


class UpstreamLost(UpstreamFault):
    """The connection ended before the response was complete."""


class UpstreamTimedOut(UpstreamFault):
    """The upstream was silent for longer than its timeout."""


class UpstreamMalformed(UpstreamFault):
    """The upstream's response is not valid HTTP."""


class UpstreamUnreachable(UpstreamFault):
    """No connection could be opened."""


class PoolExhausted(UpstreamFault):
    """Every connection is busy, and the queue of waiting exchanges is full."""
