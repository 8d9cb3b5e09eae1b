"""Availability of one upstream's endpoints: which of them requests are sent to, by ejections, checks and panic.

Laws:

- An endpoint is usable if it is not ejected (:mod:`~gateway.traffic.outliers`) and has not failed its checks
  (:mod:`~gateway.traffic.health`). Those that are usable are available.
- Panic: when fewer than ``panic_percent`` of the endpoints are usable, or none is, all are available: the checks may be
  wrong, and the few that are left would break under the load of all. Where there are priorities, it takes all of them:
  while one has its share of usable endpoints, there is no panic.
- Each change is reported once, and after it has been made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gateway.traffic.health import CheckedHealth
from gateway.traffic.outliers import Cause, Outliers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.traffic.health import HealthPolicy
    from gateway.traffic.outliers import Change, EjectionPolicy


class AvailabilityEvents(Protocol):
    """Receiver of events of one upstream's endpoints: ejections, returns, checks."""

    def ejection(self, change: Change) -> None:
        """Note that an endpoint was ejected, has returned, or was to be ejected and was not."""

    def health(self, name: str, *, healthy: bool, failure: str) -> None:
        """Note that an endpoint passes its checks again, or fails them by `failure`."""

    def panic(self, *, begins: bool, usable: int, of: int) -> None:
        """Note that all endpoints are used because too few are usable, or that this has ended."""


class Availability:
    """Availability of one upstream's endpoints.

    Attributes:
        outliers: Their ejections.
        health: Their health by active checks, by name.
        panic: Whether all are available because too few are usable.
        panic_percent: Share of the endpoints below which there is panic.
        ejections: Number of ejections so far, by cause.
        withheld: Number of ejections that the policy's share did not allow, by cause.
        returned: Monotonic time at which an endpoint came back, or joined others, by name; none of the first ones until
            they have been away.
    """

    def __init__(self, policy: EjectionPolicy, panic_percent: int, events: AvailabilityEvents) -> None:
        self.outliers = Outliers(policy)
        self.panic_percent = panic_percent
        self.health: dict[str, CheckedHealth] = {}
        self.panic = False
        self.ejections = dict.fromkeys(Cause, 0)
        self.withheld = dict.fromkeys(Cause, 0)
        self.returned: dict[str, float] = {}
        self._priorities: dict[str, int] = {}
        self._events = events

    # -- answers ---------------------------------------------------------------------------------------------------

    def is_usable(self, name: str) -> bool:
        """Return whether an endpoint is neither ejected nor failing its checks."""
        return self.health[name].healthy and not self.outliers.is_ejected(name)

    def is_available(self, name: str) -> bool:
        """Return whether requests are sent to an endpoint."""
        return self.panic or self.is_usable(name)

    @property
    def usable(self) -> int:
        """Number of usable endpoints."""
        return sum(map(self.is_usable, self.health))

    # -- events ----------------------------------------------------------------------------------------------------

    def follow(self, priorities: Mapping[str, int], now: float) -> None:
        """Take these endpoints, by their priorities, for the present ones; what is known of those that stay remains."""
        names, before = list(priorities), self.health
        self._priorities = dict(priorities)
        self.health = {name: before.get(name) or CheckedHealth() for name in names}
        self.returned = {name: at for name, at in self.returned.items() if name in self.health}
        if before:
            self.returned |= {name: now for name in names if name not in before}
        self._note(self.outliers.follow(names, now), now)
        self._weigh()

    def failed(self, name: str, cause: Cause, now: float, *, counted: bool = True) -> None:
        """Note that a connection to an endpoint, or its answer, has failed; see :meth:`Outliers.failed`."""
        self._note(self.outliers.failed(name, cause, now, counted=counted), now)

    def answered(self, name: str, now: float) -> None:
        """Note an answer that is no failure."""
        self._note(self.outliers.answered(name, now), now)

    def connected(self, name: str, now: float) -> None:
        """Note a connection that was opened."""
        self._note(self.outliers.connected(name, now), now)

    def settle(self, now: float) -> None:
        """Return endpoints to service whose ejections have ended."""
        self._note(self.outliers.settle(now), now)

    def checked(self, name: str, failure: str, policy: HealthPolicy, now: float) -> None:
        """Note an active check: `failure` is what was wrong, empty if it passed."""
        health = self.health.get(name)
        if health is None:  # its name moved while it was checked
            return
        if health.note(passed=not failure, rise=policy.rise, fall=policy.fall):
            self._back(name, now)
            self._events.health(name, healthy=health.healthy, failure=failure)
            self._weigh()

    def trust(self, now: float) -> None:
        """Take all endpoints for healthy: they are not checked any more."""
        for name, health in self.health.items():
            self.health[name] = CheckedHealth()
            if not health.healthy:
                self._back(name, now)
        self._weigh()

    def _note(self, changes: list[Change], now: float) -> None:
        if not changes:
            return
        for change in changes:
            if change.event == "ejected":
                self.ejections[change.cause] += 1
            elif change.event == "withheld":
                self.withheld[change.cause] += 1
            else:
                self._back(change.name, now)
            self._events.ejection(change)
        self._weigh()

    def _back(self, name: str, now: float) -> None:
        if self.is_usable(name):
            self.returned[name] = now

    def _weigh(self) -> None:
        """Begin panic, or end it."""
        levels = set(self._priorities.values())
        panic = bool(levels) and not any(map(self._has_its_share, levels))
        if panic != self.panic:
            self.panic = panic
            self._events.panic(begins=panic, usable=self.usable, of=len(self.health))

    def _has_its_share(self, level: int) -> bool:
        names = [name for name, priority in self._priorities.items() if priority == level]
        usable = sum(map(self.is_usable, names))
        return usable > 0 and usable * 100 >= self.panic_percent * len(names)
