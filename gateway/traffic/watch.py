"""Watch over one upstream's endpoints: outcomes of exchanges, active checks and time decide which are available.

It is the one place that applies :mod:`~gateway.traffic.availability` to endpoints, and logs what changes. Laws:

- ``Endpoint.available`` is as the availability says, from the call that changed it on.
- An ejection ends when its time is up, whether or not there are requests.
- An endpoint of weight 0 gets no requests, and is not watched.
- Nothing is checked before :meth:`Watch.begin`, nor after :meth:`Watch.close`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog

from gateway.logs.limited import LimitedEvents
from gateway.traffic.availability import Availability
from gateway.traffic.outcomes import ANSWERED, RESET, TIMED_OUT
from gateway.traffic.outliers import Cause, EjectionPolicy
from gateway.traffic.prober import Prober
from gateway.wire.probe import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.traffic.health import HealthPolicy
    from gateway.traffic.outliers import Change
    from gateway.wire.endpoint import Endpoint
    from gateway.wire.probe import Probed

log = structlog.get_logger()

_CAUSES: Final = {RESET: Cause.RESET, TIMED_OUT: Cause.TIMEOUT}
"""Dials come by :meth:`Watch.unreached`, with their errors."""


@dataclass(frozen=True, slots=True)
class WatchPolicy:
    """Terms of a watch; see the parts of the same names.

    Attributes:
        ejection: When endpoints are ejected.
        health: The active checks; None for none.
        panic_percent: Share of the endpoints below which all are used.
        slow_start_seconds: For so long the share of an endpoint that is back grows.
    """

    ejection: EjectionPolicy = field(default_factory=EjectionPolicy)
    health: HealthPolicy | None = None
    panic_percent: int = 30
    slow_start_seconds: float = 0.0


class Watch:
    """Watch over one upstream's endpoints.

    Attributes:
        availability: What is known of them.
        prober: Their active checks; None without.
        checks: Number of active checks so far, by outcome.
    """

    def __init__(self, upstream: str, policy: WatchPolicy, now: Callable[[], float]) -> None:
        """`upstream` is the name in events; `now` returns monotonic seconds."""
        self._upstream = upstream
        self._policy = policy
        self._now = now
        self._endpoints: dict[str, Endpoint] = {}
        self._events = LimitedEvents()
        self._timer: asyncio.TimerHandle | None = None
        self._due: float | None = None
        self._begun = False
        self.availability = Availability(policy.ejection, policy.panic_percent, self)
        self.prober: Prober | None = None
        self.checks = dict.fromkeys(OUTCOMES, 0)

    def begin(self) -> None:
        """Check the endpoints from now on, if the policy says so."""
        self._begun = True
        policy = self._policy
        if self.prober is None and policy.health is not None:
            self.prober = Prober(policy.health, self._checked)
            self.prober.follow(self._endpoints.values())

    def configure(self, policy: WatchPolicy) -> None:
        """Replace the terms; the states of the endpoints are preserved."""
        before, self._policy = self._policy, policy
        availability = self.availability
        availability.outliers.policy, availability.panic_percent = policy.ejection, policy.panic_percent
        if self.prober is not None and before.health != policy.health:
            self.prober.close()
            self.prober = None
        if policy.health is None:
            availability.trust(self._now())
        if self._begun:
            self.begin()
        self.take(self._endpoints.values())

    def close(self) -> None:
        """Check nothing any more, and change nothing by time."""
        self._begun = False
        if self.prober is not None:
            self.prober.close()
            self.prober = None  # an exchange that is still under way may find further addresses
        if self._timer is not None:
            self._timer.cancel()
            self._timer = self._due = None

    # -- what happens ----------------------------------------------------------------------------------------------

    def take(self, endpoints: Iterable[Endpoint]) -> None:
        """Take these for the endpoints that are known now."""
        self._endpoints = {endpoint.name: endpoint for endpoint in endpoints if endpoint.weight}
        self.availability.follow(
            {name: endpoint.priority for name, endpoint in self._endpoints.items()}, self._now()
        )
        if self.prober is not None:
            self.prober.follow(self._endpoints.values())
        self._apply()

    def observe(self, endpoint: Endpoint, outcome: int, status: int, now: float) -> None:
        """Note the outcome of an exchange (:mod:`gateway.traffic.outcomes`), with its status if it was answered."""
        if outcome != ANSWERED:
            cause = _CAUSES.get(outcome)
            if cause is not None:
                self._failed(endpoint, cause, now)
        elif status in self._policy.ejection.statuses:
            self._failed(endpoint, Cause.STATUS, now)
        elif endpoint.suspect and endpoint.name in self._endpoints:
            self.availability.answered(endpoint.name, now)
            self._apply()

    def unreached(self, endpoint: Endpoint, error: OSError, now: float, counted: bool) -> None:  # noqa: FBT001 -- as called by the dialler
        """Note that an endpoint could not be connected to; it is not `counted` if its address family leads nowhere."""
        if counted:
            words = str(error) or type(error).__name__
            self._events.warning(
                "endpoint_unreachable",
                key=endpoint.name,
                upstream=self._upstream,
                endpoint=endpoint.name,
                error=words,
            )
        self._failed(endpoint, Cause.CONNECT, now, counted=counted)

    def reached(self, endpoint: Endpoint, now: float) -> None:
        """Note that a connection to an endpoint was opened."""
        if endpoint.suspect and endpoint.name in self._endpoints:
            self.availability.connected(endpoint.name, now)
            self._apply()

    def settle(self) -> None:
        """Return endpoints to service whose ejections have ended."""
        self.availability.settle(self._now())
        self._apply()

    def _failed(self, endpoint: Endpoint, cause: Cause, now: float, *, counted: bool = True) -> None:
        if endpoint.name in self._endpoints:  # else its name has moved
            self.availability.failed(endpoint.name, cause, now, counted=counted)
            self._apply()

    def _checked(self, endpoint: Endpoint, probed: Probed) -> None:
        self.checks[probed.outcome] += 1
        policy, now = self._policy.health, self._now()
        if policy is None or endpoint.name not in self._endpoints:
            return
        if probed.connected:
            self.reached(endpoint, now)
        self.availability.checked(endpoint.name, probed.words, policy, now)
        self._apply()

    def _apply(self) -> None:
        """Apply the availability to the endpoints."""
        availability, slow = self.availability, self._policy.slow_start_seconds
        for name, endpoint in self._endpoints.items():
            endpoint.available = availability.is_available(name)
            endpoint.ejected = availability.outliers.is_ejected(name)
            endpoint.unhealthy = not availability.health[name].healthy
            endpoint.suspect = availability.outliers.members[name].suspect
            if name in availability.returned:
                endpoint.since, endpoint.slow_start = availability.returned[name], slow
        due = availability.outliers.next_return
        if due != self._due:
            if self._timer is not None:
                self._timer.cancel()
            self._due = due
            self._timer = None if due is None else self._wake_at(due)

    def _wake_at(self, due: float) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(max(0.0, due - self._now()), self._wake)

    def _wake(self) -> None:
        self._timer = self._due = None  # it may be early by the loop's rounding; `_apply` sets it again
        self.settle()

    # -- what is reported ------------------------------------------------------------------------------------------

    def ejection(self, change: Change) -> None:
        """Log an ejection, its end, or that there are too many for another one."""
        if not self.availability.outliers.members[change.name].counted:
            return
        where = {"upstream": self._upstream, "endpoint": change.name, "cause": str(change.cause)}
        if change.event == "ejected":
            log.warning(
                "endpoint_ejected", **where, failures=change.failures, seconds=round(change.seconds, 3)
            )
        elif change.event == "returned":
            log.info("endpoint_returned", **where)
        else:
            self._events.warning(
                "endpoint_not_ejected",
                key=change.name,
                **where,
                failures=change.failures,
                because="no more of the endpoints may be ejected (max_percent)",
            )

    def health(self, name: str, *, healthy: bool, failure: str) -> None:
        """Log that an endpoint fails its checks, or passes them again."""
        if healthy:
            log.info("endpoint_healthy", upstream=self._upstream, endpoint=name)
        else:
            log.warning("endpoint_unhealthy", upstream=self._upstream, endpoint=name, problem=failure)

    def panic(self, *, begins: bool, usable: int, of: int) -> None:
        """Log that all endpoints are used, or that this has ended; there is no choice where there is one."""
        if begins and of > 1:
            log.warning(
                "upstream_panics",
                upstream=self._upstream,
                usable=usable,
                endpoints=of,
                meaning="too few endpoints are left, so requests go to all of them",
            )
        elif of > 1:
            log.info("upstream_calm", upstream=self._upstream, usable=usable, endpoints=of)
