"""Cluster: the endpoints of one upstream, of which it chooses one for each attempt of a request.

Laws:

- The endpoints of the lowest priority that has an eligible one are used, and no others.
- Of these, endpoints in the gateway's own zone come first, while the one that is picked has fewer requests at work than
  the load at which they spill over.
- A request with a key goes where the key belongs; without one, by the policy.
- When no endpoint is eligible, the best of the others is used: a request never fails for want of a choice.
- An endpoint of weight 0 gets no requests, whatever has become of the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import random
from typing import TYPE_CHECKING, Final

from gateway.traffic.balance import LeastRequests, RoundRobin
from gateway.traffic.hash_ring import HashRing
from gateway.traffic.outcomes import ANSWERED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.traffic.balance import Balancer
    from gateway.traffic.watch import Watch
    from gateway.wire.endpoint import Endpoint

    Observer = Callable[[Endpoint, int, int, float], None]

LEAST_REQUESTS: Final = "least_requests"
ROUND_ROBIN: Final = "round_robin"
_SERVER_ERROR: Final = 500


@dataclass(frozen=True, slots=True)
class BalancePolicy:
    """Balancing policy of an upstream: how requests are shared among its endpoints.

    Attributes:
        method: ``least_requests`` or ``round_robin``.
        zone: The gateway's own zone, whose endpoints come first; empty for none.
        spill_over: Requests at work at an endpoint, for each unit of its weight, from which on the endpoints of other
            zones are used as well.
    """

    method: str = LEAST_REQUESTS
    zone: str = ""
    spill_over: int = 100


class _Tier:
    """Endpoints among which one policy chooses."""

    def __init__(
        self, endpoints: Sequence[Endpoint], policy: BalancePolicy, draw: Callable[[], float]
    ) -> None:
        self._endpoints = list(endpoints)
        self._ring: HashRing | None = None
        self._balancer: Balancer
        if policy.method == ROUND_ROBIN:
            self._balancer = RoundRobin(endpoints, draw)
        else:
            self._balancer = LeastRequests(endpoints, draw)

    def pick(self, now: float, key: bytes | None, avoid: Sequence[Endpoint]) -> Endpoint | None:
        if key is None:
            return self._balancer.pick(now, avoid)
        ring = self._ring
        if ring is None:  # made when the first request needs it
            ring = self._ring = HashRing(self._endpoints)
        return ring.pick(key, avoid)


class _Level:
    """Endpoints of one priority."""

    def __init__(
        self, endpoints: Sequence[Endpoint], policy: BalancePolicy, draw: Callable[[], float]
    ) -> None:
        self._every = _Tier(endpoints, policy, draw)
        self._spill_over = policy.spill_over
        near = [endpoint for endpoint in endpoints if endpoint.zone == policy.zone]
        self._near: _Tier | None = None
        if policy.zone and near and len(near) < len(endpoints):
            self._near = _Tier(near, policy, draw)

    def choose(self, now: float, key: bytes | None, avoid: Sequence[Endpoint]) -> Endpoint | None:
        near = self._near
        if near is not None:
            chosen = near.pick(now, key, avoid)
            if chosen is not None and chosen.active < self._spill_over * chosen.weight:
                return chosen
        return self._every.pick(now, key, avoid)


class Cluster:
    """Load balancer of one upstream's requests.

    Attributes:
        policy: How requests are shared.
        endpoints: The endpoints that are known now.
        plain: There is nothing to choose and nobody observes: any connection of the pool will do.
        observers: Called with an endpoint, an outcome (:mod:`gateway.traffic.outcomes`), the status of an answer (else
            0) and the time in monotonic seconds; not with answers below 500 of an endpoint that is not suspect. Change
            it by :meth:`observe` alone.
        watch: The watch over the endpoints; None for the gateway's own application.
    """

    def __init__(self, policy: BalancePolicy | None = None, draw: Callable[[], float] = random) -> None:
        """`draw` returns numbers from 0 to 1, without 1."""
        self._draw = draw
        self.policy = BalancePolicy() if policy is None else policy
        self.endpoints: list[Endpoint] = []
        self.observers: list[Observer] = []
        self.plain = True
        self.watch: Watch | None = None
        self._levels: list[_Level] = []
        self._used: list[Endpoint] = []

    def __repr__(self) -> str:
        return f"<cluster of {len(self.endpoints)} endpoints, by {self.policy.method}>"

    def configure(self, policy: BalancePolicy) -> None:
        """Share requests by another policy from now on."""
        if policy != self.policy:
            self.policy = policy
            self.take(self.endpoints)

    def take(self, endpoints: Sequence[Endpoint]) -> None:
        """Take these for the endpoints that are known now, with the weights, zones and priorities that they have."""
        self.endpoints = list(endpoints)
        used = self._used = [endpoint for endpoint in endpoints if endpoint.weight]
        self._levels = [
            _Level([one for one in used if one.priority == priority], self.policy, self._draw)
            for priority in sorted({endpoint.priority for endpoint in used})
        ]
        self._see()

    def observe(self, observers: Sequence[Observer]) -> None:
        """Have `observers` learn of outcomes, in place of the present ones."""
        self.observers = list(observers)
        self._see()

    def _see(self) -> None:
        self.plain = len(self.endpoints) <= 1 and not self.observers

    def choose(self, now: float, key: bytes | None = None, avoid: Sequence[Endpoint] = ()) -> Endpoint | None:
        """Return the endpoint of an attempt; None if none is known that gets requests.

        Args:
            now: Monotonic time in seconds.
            key: The key of a consistent hash; None for the policy's choice.
            avoid: Endpoints that are chosen only when there are no others.
        """
        for level in self._levels:
            chosen = level.choose(now, key, avoid)
            if chosen is not None:
                return chosen
        if not self._used:
            return None
        return min(self._used, key=lambda one: (one in avoid, not one.available, one.priority, one.active))

    def observed(self, endpoint: Endpoint, outcome: int, status: int, now: float) -> None:
        """Pass the outcome of an attempt on; ``status`` is that of an answer, else 0."""
        if outcome == ANSWERED and status < _SERVER_ERROR and not endpoint.suspect:
            return
        for observer in self.observers:
            observer(endpoint, outcome, status, now)
