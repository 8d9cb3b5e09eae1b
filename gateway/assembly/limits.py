"""Builder of limits: from settings and route file to the limits of each route, and their metrics."""

from __future__ import annotations

import time
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Self

from config.limit_checks import all_limits, names_for
from gateway.assembly.shared_limits import GAP_SECONDS, build_shared_limits
from gateway.limits.keys import OF_CALLERS
from gateway.limits.limit import Limit, RouteLimits
from gateway.limits.registry import LimitRegistry, LimitTerms
from gateway.wire.dialler import connect

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from config.limits import LimitEntry
    from config.route_plan import RoutePlan
    from config.settings import Settings
    from gateway.assembly.shared_limits import SharedLimits
    from gateway.background import BackgroundTasks
    from gateway.metrics import Metrics
    from gateway.wire.resolver import Resolver


def terms_of(entry: LimitEntry, settings: Settings, processes: int, cost: int) -> LimitTerms:
    """Return the share of a limit that one of `processes` of one of the replicas grants.

    A share is rounded up where it is a number of requests, and its burst lets the dearest route, of `cost`, through.
    """
    shares = settings.limits.replicas * processes
    parts = 1 if settings.limits.url is not None else shares  # a shared store counts whole rates
    return LimitTerms(
        parts=tuple(entry.key),
        rates=tuple(
            (rate.units / parts, float(rate.seconds), float(max(ceil(rate.burst / parts), cost)))
            for rate in entry.rates
        ),
        concurrency=ceil((entry.concurrency or 0) / shares),
        counts_long=entry.long == "count",
        shadow=entry.shadow or settings.limits.shadow,
        most=settings.limits.keys,
        closed=None if entry.store_away is None else entry.store_away == "closed",
    )


class PlannedLimits:
    """Limits of one plan, before it is settled."""

    def __init__(
        self, registry: LimitRegistry, settings: Settings, plan: RoutePlan | None, processes: int
    ) -> None:
        self._registry = registry
        self._settings = settings
        self._hosted = None if plan is None else plan.hosted_limits
        costs = _costs(settings, plan)
        self._terms = {
            name: terms_of(entry, settings, processes, costs.get(name, 1))
            for name, entry in all_limits(settings, plan).items()
        }
        self._limits = registry.planned(self._terms)

    def of_route(
        self,
        name: str,
        own: Iterable[str] | None = None,
        *,
        public: bool,
        cost: int = 1,
        shadow: bool = False,
    ) -> RouteLimits | None:
        """Return the limits of a route; None if it has none.

        Args:
            name: The route's name.
            own: The limits that it names; None for those of the settings.
            public: It needs no credential.
            cost: What its requests take.
            shadow: It is in shadow, and so are its limits.
        """
        limits = [self._limits[one] for one in names_for(self._settings, own, public=public)]
        tells = self._settings.limits.headers == "all"
        return RouteLimits(name, limits, cost=cost, shadow=shadow, tells=tells) if limits else None

    def of_hosted(self, name: str, *, public: bool) -> RouteLimits | None:
        """Return the limits of a route that the gateway answers itself; None if there are none.

        One that needs no credential, such as signing in, has none of those that count users, keys or organizations:
        everybody of a network would be one user there.
        """
        names = names_for(self._settings, self._hosted, public=False)
        if public:
            names = tuple(one for one in names if OF_CALLERS.isdisjoint(self._limits[one].parts))
        return self.of_route(name, names, public=public)

    def settle(self) -> None:
        """Make these limits the current ones."""
        self._registry.settle(self._limits, self._terms, time.monotonic())


def _costs(settings: Settings, plan: RoutePlan | None) -> dict[str, int]:
    """Return the highest cost at which some route names each limit."""
    costs: dict[str, int] = {}
    for planned in () if plan is None else plan.routes:
        entry = planned.entry
        for name in names_for(settings, entry.limits, public=entry.auth == "public"):
            costs[name] = max(costs.get(name, 1), entry.cost)
    return costs


class Limiting:
    """Limits of a gateway, over all of its plans.

    Attributes:
        registry: The current limits.
        shared: The exchange with a store that several gateways share; None without one.
    """

    def __init__(self, settings: Settings, processes: int = 1, shared: SharedLimits | None = None) -> None:
        """Of `processes` that serve together, each grants its share; if limits are `shared`, the whole."""
        self._settings = settings
        self._processes = processes
        self.shared = shared
        self.registry = LimitRegistry(shared)

    @classmethod
    def of_gateway(cls, settings: Settings, processes: int, resolver: Resolver) -> Self:
        """Build the limits of a gateway that serves: shared ones, if GATEWAY_LIMITS_URL names a store."""
        return cls(settings, processes, build_shared_limits(settings, processes, partial(connect, resolver)))

    def begin(self, tasks: BackgroundTasks) -> None:
        """Schedule the exchange with the store, if there is one."""
        if self.shared is not None:
            tasks.every(GAP_SECONDS, "share_limits", self.shared.turn)

    async def close(self) -> None:
        """Return the leases to the store."""
        if self.shared is not None:
            await self.shared.close()

    def planned(self, plan: RoutePlan | None) -> PlannedLimits:
        """Return the limits of a plan."""
        return PlannedLimits(self.registry, self._settings, plan, self._processes)

    def report(self) -> dict[str, dict[str, int]]:
        """Return the figures of each limit, for /status."""
        return {
            name: {
                "keys": len(limit.buckets),
                "admitted": limit.admitted,
                "refused": limit.refused,
                "shadow": limit.shadowed,
                "overflowed": limit.buckets.overflowed,
            }
            for name, limit in self.registry.now.items()
        }


def publish_limits(metrics: Metrics, limits: Limiting) -> None:
    """Publish the metrics of the limits, and of the store that they share."""
    for figure in () if limits.shared is None else limits.shared.figures():
        publish = metrics.read_counter if figure.counts else metrics.read_gauge
        publish(f"gateway_limits_store_{figure.name}", figure.meaning, figure.read)

    def now() -> Mapping[str, Limit]:
        return limits.registry.now

    metrics.read_counters(
        "gateway_limit_requests",
        "Requests that met a limit, by what it did: admitted, refused, or shadow where it would have refused.",
        ("limit", "outcome"),
        lambda: {
            (name, outcome): number
            for name, limit in now().items()
            for outcome, number in (
                ("admitted", limit.admitted),
                ("refused", limit.refused),
                ("shadow", limit.shadowed),
            )
        },
    )
    metrics.read_gauges(
        "gateway_limit_keys",
        "Callers that a limit counts.",
        ("limit",),
        lambda: {(name,): len(limit.buckets) for name, limit in now().items()},
    )
    metrics.read_counters(
        "gateway_limit_overflows",
        "Requests whose caller shared a count with others, because the limit's table was full.",
        ("limit",),
        lambda: {(name,): limit.buckets.overflowed for name, limit in now().items()},
    )
