"""Traffic policy of a route, compiled: retries, the whole deadline, the breaker, waiting and failover.

Law: a route for which none of this is configured has no such policy. The state in it (counts, queue, order) is the
upstream's: its routes share it, and it outlives a change of the route file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.metrics.meters import UpstreamMeter
    from gateway.proxy.upstreams import Upstream
    from gateway.traffic.breaker import Breaker
    from gateway.traffic.failover import Failover
    from gateway.traffic.retry import RetryPolicy
    from gateway.traffic.waiting import WaitingRoom
    from gateway.wire.drive import Signal


class Delivery:
    """Traffic policy of a route, with the state that its upstream's routes share.

    Attributes:
        retry: The retry policy; None if a request is only repeated as it is without a policy.
        deadline_seconds: Time from a request's head to that of its answer, over all attempts; 0 for no bound.
        wait_seconds: How long a request waits for an upstream that cannot be reached; 0 if it does not.
        breaker: Counts the upstream's requests and retries, and bounds them.
        room: The requests that wait for the upstream.
        failover: The order of the upstreams.
        words: The settings that it was made from, by name, for those that describe or refine it.
        upstreams: The upstream itself, and those that stand in for it, by priority.
    """

    __slots__ = (
        "breaker",
        "deadline_seconds",
        "failover",
        "retry",
        "room",
        "upstreams",
        "wait_seconds",
        "words",
    )

    def __init__(  # noqa: PLR0913 -- the parts of a policy, each by its name
        self,
        *,
        retry: RetryPolicy | None,
        deadline_seconds: float,
        wait_seconds: float,
        breaker: Breaker,
        room: WaitingRoom[Signal[None]],
        failover: Failover,
        words: Mapping[str, Any],
    ) -> None:
        self.retry = retry
        self.deadline_seconds = deadline_seconds
        self.wait_seconds = wait_seconds
        self.breaker = breaker
        self.room = room
        self.failover = failover
        self.words = words
        self.upstreams: Sequence[Upstream] = ()

    def of_route(self, retry: RetryPolicy | None, deadline_seconds: float) -> Delivery:
        """Return the policy of a route that has a retry policy and a deadline of its own."""
        own = Delivery(
            retry=retry,
            deadline_seconds=deadline_seconds,
            wait_seconds=self.wait_seconds,
            breaker=self.breaker,
            room=self.room,
            failover=self.failover,
            words=self.words,
        )
        own.upstreams = self.upstreams
        return own


class Delivered:
    """Record of what a traffic policy did with a request. It does not refer to the request.

    Attributes:
        causes: Why it was sent again, each time.
        waited: Seconds that it waited for the upstream to come back.
        stood_in: The upstream that stood in; empty if none did.
        meter: The figures of that upstream; None if none did.
    """

    __slots__ = ("causes", "meter", "stood_in", "waited")

    def __init__(
        self, causes: list[str], waited: float, stood_in: str, meter: UpstreamMeter | None = None
    ) -> None:
        self.causes = causes
        self.waited = waited
        self.stood_in = stood_in
        self.meter = meter
