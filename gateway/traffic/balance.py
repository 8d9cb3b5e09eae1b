"""Balancers: they pick an endpoint for one request, by least requests, by round robin, or by a consistent hash.

Laws:

- An endpoint is eligible if it is available, and is not to be avoided. None other is picked, and one is picked if there
  is any.
- Shares of the requests are as the weights; that of an endpoint in its slow start grows from a tenth of it.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from random import random
from typing import TYPE_CHECKING, Final

from gateway.traffic.health import share

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.wire.endpoint import Endpoint

_DRAWS: Final = 3
"""So often an endpoint is drawn from all, before the ineligible are sorted out."""


def is_eligible(endpoint: Endpoint, avoid: Sequence[Endpoint]) -> bool:
    """Return whether an endpoint may be picked."""
    return endpoint.available and (not avoid or endpoint not in avoid)


class Balancer:
    """Balancer over a fixed set of endpoints, each of a weight above zero."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._every = list(endpoints)

    def pick(self, now: float, avoid: Sequence[Endpoint]) -> Endpoint | None:
        """Return the endpoint of the next request; None if none is eligible."""
        raise NotImplementedError


class LeastRequests(Balancer):
    """Balancer by least requests of two random choices.

    Two different endpoints are drawn, each in proportion to its weight; the one with fewer requests at work, for its
    weight, is picked, and the first of equals. One in its slow start takes part in some of the draws.
    """

    def __init__(self, endpoints: Sequence[Endpoint], draw: Callable[[], float] = random) -> None:
        """`draw` returns numbers from 0 to 1, without 1."""
        super().__init__(endpoints)
        self._random = draw
        self._sums = list(accumulate(endpoint.weight for endpoint in self._every))
        self._is_even = len({endpoint.weight for endpoint in self._every}) == 1
        self._coin = -1.0
        """One number for each pick that needs it: it decides which slow starters take part in it."""

    def pick(self, now: float, avoid: Sequence[Endpoint]) -> Endpoint | None:
        """Return the endpoint of the next request; None if none is eligible."""
        self._coin = -1.0
        first = self._draw(now, avoid, None)
        if first is None:
            return None
        second = self._draw(now, avoid, first)
        if second is not None and second.active * first.weight < first.active * second.weight:
            return second
        return first

    def _draw(self, now: float, avoid: Sequence[Endpoint], other: Endpoint | None) -> Endpoint | None:
        """Draw an eligible endpoint that is not `other`."""
        every, sums = self._every, self._sums
        for _ in range(_DRAWS):
            place = self._random()
            if self._is_even:
                drawn = every[int(place * len(every))]
            else:
                drawn = every[bisect_right(sums, int(place * sums[-1]))]
            if drawn is not other and is_eligible(drawn, avoid) and self._takes_part(drawn, now):
                return drawn
        eligible = [one for one in every if one is not other and is_eligible(one, avoid)]
        rest = [one for one in eligible if self._takes_part(one, now)]
        if not rest and other is None:
            rest = eligible
        if not rest:
            return None
        left = int(self._random() * sum([one.weight for one in rest]))
        for drawn in rest:
            left -= drawn.weight
            if left < 0:
                return drawn
        return rest[-1]

    def _takes_part(self, endpoint: Endpoint, now: float) -> bool:
        """Return whether an endpoint takes part in the present pick: all do but some of those in their slow start."""
        if now - endpoint.since >= endpoint.slow_start:
            return True
        if self._coin < 0.0:
            self._coin = self._random()
        return self._coin < share(endpoint.since, now, endpoint.slow_start)


class RoundRobin(Balancer):
    """Balancer by turns: smooth, so that the turns of a heavy endpoint are spread among those of the others."""

    def __init__(self, endpoints: Sequence[Endpoint], draw: Callable[[], float] = random) -> None:
        """`draw` returns numbers from 0 to 1, without 1; it chooses whose turn is the first."""
        super().__init__(endpoints)
        begin = int(draw() * len(self._every))
        self._every = self._every[begin:] + self._every[:begin]
        self._credits = [0.0] * len(self._every)

    def pick(self, now: float, avoid: Sequence[Endpoint]) -> Endpoint | None:
        """Return the endpoint of the next request; None if none is eligible."""
        best, total, gained = -1, 0.0, self._credits
        for place, endpoint in enumerate(self._every):
            if is_eligible(endpoint, avoid):
                weight = float(endpoint.weight)
                if now - endpoint.since < endpoint.slow_start:
                    weight *= share(endpoint.since, now, endpoint.slow_start)
                total += weight
                gained[place] += weight
                if best < 0 or gained[place] > gained[best]:
                    best = place
        if best < 0:
            return None
        gained[best] -= total
        return self._every[best]
