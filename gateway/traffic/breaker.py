"""Circuit breaker of an upstream by load: it bounds the requests and retries at work, and counts what it refuses.

The other two bounds, connections and requests that wait for one, are the connection pool's. Laws:

- What is over a bound is refused at once, and never waits.
- Each request that entered leaves once, and each retry that began ends once, whatever became of them.
- The counts outlive a change of the bounds.
"""

from __future__ import annotations

from typing import Final

from gateway.traffic.retry import RetryBudget

REQUESTS: Final = "requests"
RETRIES: Final = "retries"
BUDGET: Final = "budget"
WAITING: Final = "waiting"
ENDPOINTS: Final = "endpoints"


class Breaker:
    """Circuit breaker of one upstream.

    Attributes:
        requests: Most requests at work; 0 for no bound.
        retries: Most retries at work; 0 for no bound.
        endpoint_requests: Most requests at work at one endpoint; 0 for no bound.
        endpoint_connections: Most connections to one endpoint; 0 for no bound.
        budget: The retry budget.
        active: Requests at work, those included that wait or are sent again.
        retrying: Those of them that are a retry, from the decision to its end.
        refused: Requests refused, by the bound that they were over.
        denied: Retries that did not begin, by the bound that they would have been over.
    """

    __slots__ = (
        "active",
        "budget",
        "denied",
        "endpoint_connections",
        "endpoint_requests",
        "refused",
        "requests",
        "retries",
        "retrying",
    )

    def __init__(self) -> None:
        self.requests = self.retries = 0
        self.endpoint_requests = self.endpoint_connections = 0
        self.budget = RetryBudget()
        self.active = self.retrying = 0
        self.refused: dict[str, int] = {REQUESTS: 0, WAITING: 0, ENDPOINTS: 0}
        self.denied: dict[str, int] = {BUDGET: 0, RETRIES: 0}

    def enter(self) -> bool:
        """Count a request in; return False if there are too many, and it is refused."""
        if self.requests and self.active >= self.requests:
            self.refuse(REQUESTS)
            return False
        self.active += 1
        return True

    def leave(self) -> None:
        """Count a request out."""
        self.active -= 1

    @property
    def bounds_endpoints(self) -> bool:
        """True if there is a bound for each endpoint."""
        return bool(self.endpoint_requests or self.endpoint_connections)

    def capacity(self, endpoints: int) -> int:
        """Return the most requests at work at all of `endpoints` together; 0 for no bound."""
        bounds = (
            self.requests,
            self.endpoint_requests * endpoints,
            self.endpoint_connections * endpoints,
        )
        return min([bound for bound in bounds if bound], default=0)

    def is_full(self, active: int, connections: int, unused: int) -> bool:
        """Return whether an endpoint takes no further request.

        Args:
            active: Requests at work there.
            connections: Connections to it that are open or being opened.
            unused: Those of them that are unused.
        """
        if self.endpoint_requests and active >= self.endpoint_requests:
            return True
        most = self.endpoint_connections
        return bool(most) and (active >= most or (not unused and connections >= most))

    def is_over(self, active: int) -> bool:
        """Return whether `active` requests at an endpoint, each on a connection, are over one of its bounds."""
        return bool(self.endpoint_requests and active > self.endpoint_requests) or bool(
            self.endpoint_connections and active > self.endpoint_connections
        )

    def refuse(self, kind: str) -> None:
        """Count a request that is refused because of the bound `kind`."""
        self.refused[kind] = self.refused.get(kind, 0) + 1

    def begin_retry(self) -> bool:
        """Count a retry in; return False if there are too many, and it does not begin."""
        if self.retries and self.retrying >= self.retries:
            self.denied[RETRIES] += 1
            return False
        if not self.budget.allows(self.active, self.retrying):
            self.denied[BUDGET] += 1
            return False
        self.retrying += 1
        return True

    def end_retry(self) -> None:
        """Count a retry out."""
        self.retrying -= 1


class BreakerCount:
    """Count of one request at the breaker of a stand-in: at one breaker at a time, besides its own upstream's."""

    __slots__ = ("_breaker",)

    def __init__(self) -> None:
        self._breaker: Breaker | None = None

    def move(self, breaker: Breaker | None) -> bool:
        """Count the request out where it is counted, and in at `breaker`; return False if that refuses it."""
        if breaker is self._breaker:
            return True
        if self._breaker is not None:
            self._breaker.leave()
            self._breaker = None
        if breaker is not None:
            if not breaker.enter():
                return False
            self._breaker = breaker
        return True
