"""Registry of limits: it holds the current limits by name, and their state through reloads of the route file.

Laws:

- A limit whose parameters are the same in a new plan is the same object. One whose parameters changed takes over the
  buckets of its predecessor when the plan is settled: debts stay the same number of units.
- A plan that is refused changes nothing.
- Counts belong to the name, and never go back while there is a limit of that name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.limits.buckets import Window
from gateway.limits.limit import Limit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.limits.leases import LeaseSource


@dataclass(frozen=True, slots=True)
class LimitTerms:
    """Parameters of a limit.

    Attributes:
        parts: What its keys are made of.
        rates: Units, seconds and burst of each window.
        concurrency: Requests at work at once; 0 for no bound.
        counts_long: WebSockets and answers that flow on are at work until they end.
        shadow: It refuses nothing.
        most: Keys with a bucket of their own.
        closed: It grants nothing while a shared store is away; None if the settings decide.
    """

    parts: tuple[str, ...]
    rates: tuple[tuple[float, float, float], ...]
    concurrency: int = 0
    counts_long: bool = True
    shadow: bool = False
    most: int = 100_000
    closed: bool | None = None

    def limit(self, name: str, source: LeaseSource | None) -> Limit:
        """Return a limit of these terms, with nothing counted."""
        limit = Limit(
            name,
            self.parts,
            [Window(*rate) for rate in self.rates],
            concurrency=self.concurrency,
            counts_long=self.counts_long,
            shadow=self.shadow,
            most=self.most,
        )
        if source is not None and limit.windows:
            limit.leases = source.of(limit, closed=self.closed)
        return limit


class LimitRegistry:
    """Registry of the current limits.

    Attributes:
        now: The current limits, by name.
        source: The shared source of units for new limits; None if each counts here alone.
    """

    def __init__(self, source: LeaseSource | None = None) -> None:
        self.source = source
        self._terms: dict[str, LimitTerms] = {}
        self.now: dict[str, Limit] = {}

    def planned(self, terms: Mapping[str, LimitTerms]) -> dict[str, Limit]:
        """Return the limits of a plan: the present ones that stay, and new ones."""
        return {
            name: self.now[name] if self._terms.get(name) == one else one.limit(name, self.source)
            for name, one in terms.items()
        }

    def settle(self, planned: Mapping[str, Limit], terms: Mapping[str, LimitTerms], now: float) -> None:
        """Make the limits of a plan the current ones, at `now` in monotonic seconds."""
        for name, limit in planned.items():
            before = self.now.get(name)
            if before is not None and before is not limit:
                limit.adopt(before, now)
        self.now, self._terms = dict(planned), dict(terms)
