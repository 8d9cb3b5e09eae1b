"""What an upstream can do wrong, as one tree. ``gateway/proxy/refusals.py`` maps it to answers, totally."""

from __future__ import annotations

from typing import Final

CUT_OFF: Final = "the upstream closed the connection before its response had ended"
UNSENT: Final = "the upstream closed the connection before a request was sent on it"


class UpstreamFault(Exception):
    """The upstream did not do its part."""


class UpstreamLost(UpstreamFault):
    """The connection ended before the response did."""


class UpstreamTimedOut(UpstreamFault):
    """The upstream was silent for longer than it may be."""


class UpstreamMalformed(UpstreamFault):
    """The upstream's answer is not HTTP."""


class UpstreamUnreachable(UpstreamFault):
    """No connection could be opened."""


class PoolExhausted(UpstreamFault):
    """Every connection is busy and as many exchanges as may wait are waiting."""
