"""Faults of the traffic policies: a bound or a deadline, for which the gateway answers in place of an upstream."""

from __future__ import annotations

from gateway.wire.faults import UpstreamFault, UpstreamTimedOut


class BreakerOpen(UpstreamFault):
    """The upstream has as many requests at work as its breaker allows."""


class TooManyUploads(UpstreamFault):
    """The client's network holds its share of the upstream's capacity with bodies that are still coming."""


class WaitingRoomFull(UpstreamFault):
    """The upstream cannot be reached, and as many requests as may wait for it do so already."""


class WaitedTooLong(UpstreamFault):
    """The upstream could not be reached, and did not come back while the request waited.

    It is no kind of ``UpstreamUnreachable``: it ends the wait, in which that one is what is waited out.
    """


class DeadlinePassed(UpstreamFault):
    """The answer did not begin within the route's whole deadline. The endpoint is not blamed."""


class EndpointLate(DeadlinePassed):
    """The deadline passed, and the endpoint had had the whole request for at least half of it."""


class TryTimedOut(UpstreamTimedOut):
    """The head of the response did not come within the time of one attempt."""
