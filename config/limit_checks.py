"""Checks of limits: routes name limits that exist, and none costs more than a limit ever grants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from config.limits import LimitEntry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from config.groups.limiting import Limits
    from config.route_plan import PlannedRoute, RoutePlan
    from config.settings import Settings

NETWORK: Final = "network"
SETTINGS_LIMITS: Final = (NETWORK, "user", "api_key", "organization")
"""Limits that the settings may define; each counts by the key that it is named after."""
_QUOTAS: Final = ("key_day", "key_month", "organization_day", "organization_month")


def limits_of_settings(limits: Limits) -> dict[str, LimitEntry]:
    """Return the limits that the settings define, by name."""
    return {
        name: LimitEntry.model_validate({"key": name, "rate": list(rates)})
        for name in SETTINGS_LIMITS
        if (rates := getattr(limits, name))
    }


def all_limits(settings: Settings, plan: RoutePlan | None) -> dict[str, LimitEntry]:
    """Return every limit by name; one of the route file stands for one of the settings of the same name."""
    return limits_of_settings(settings.limits) | ({} if plan is None else plan.limits)


def names_for(settings: Settings, own: Iterable[str] | None, *, public: bool) -> tuple[str, ...]:
    """Return the names of a route's limits: its `own`, or those of the settings.

    Of the settings' limits, public routes have the one by network at most: nobody's requests would else count together
    as one user's.
    """
    if own is not None:
        return tuple(dict.fromkeys(own))
    names = tuple(limits_of_settings(settings.limits))
    if public:
        return tuple(name for name in names if name == NETWORK and settings.limits.public)
    return names


def limit_problems(settings: Settings, plan: RoutePlan, hosted_at: str) -> Iterator[str]:
    """Yield each problem of the limits that the routes of a plan name, as a line.

    `hosted_at` is the file and line of the limits of the gateway's own endpoints.
    """
    limits = all_limits(settings, plan)
    for planned in plan.routes:
        where = f"{planned.origin}: route {planned.entry.name}"
        yield from _unknown(where, planned.entry.limits or (), limits)
        yield from _too_dear(where, planned, settings, limits)
    yield from _unknown(f"{hosted_at}: hosted_limits", plan.hosted_limits or (), limits)


def limit_doubts(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield every (setting, warning) about limits and quotas that are set and have no effect."""
    for name in () if settings.quotas else _QUOTAS:
        if getattr(settings.quota, name):
            yield (
                f"GATEWAY_QUOTA_{name.upper()}",
                "has no effect while GATEWAY_QUOTAS is off; set GATEWAY_QUOTAS=on, or leave it out",
            )
    if settings.limits.url is None and settings.limits.store_away == "closed":
        yield (
            "GATEWAY_LIMITS_STORE_AWAY",
            "has no effect without a store; set GATEWAY_LIMITS_URL, or leave it out",
        )


def planned_limit_doubts(plan: RoutePlan, settings: Settings) -> Iterator[str]:
    """Yield a warning for each limit of a plan that has no effect, or a word of it that has none."""
    named = {name for planned in plan.routes for name in planned.entry.limits or ()}
    for name, limit in plan.limits.items():
        if name not in named and name not in (plan.hosted_limits or ()) and name not in SETTINGS_LIMITS:
            yield f"no route names the limit {name}; give a route `limits: [{name}]`, or leave the limit out"
        if limit.store_away is not None and limit.rate is None:
            yield f"limit {name}: `store_away` has no effect without `rate`: `concurrency` is counted by each process"
        elif limit.store_away is not None and settings.limits.url is None:
            yield f"limit {name}: `store_away` has no effect without a store; set GATEWAY_LIMITS_URL, or leave it out"
    limits = all_limits(settings, plan)
    for planned in plan.routes:
        for name in planned.entry.limits or () if planned.entry.auth == "public" else ():
            if name in limits and "api_key" in limits[name].key:
                where = f"{planned.origin}: route {planned.entry.name}"
                yield (
                    f"{where}: the limit {name} counts API keys, and a public route reads none; count by network, or "
                    f"set `auth: optional`"
                )


def _unknown(where: str, names: Iterable[str], limits: Mapping[str, LimitEntry]) -> Iterator[str]:
    for name in names:
        if name not in limits:
            if name in SETTINGS_LIMITS:
                advice = f"set GATEWAY_LIMITS_{name.upper()}, or define it in `limits`"
            else:
                advice = f"there are {', '.join(sorted(limits)) or 'none'}"
            yield f"{where}: no limit {name!r}; {advice}"


def _too_dear(
    where: str, planned: PlannedRoute, settings: Settings, limits: Mapping[str, LimitEntry]
) -> Iterator[str]:
    entry = planned.entry
    for name in names_for(settings, entry.limits, public=entry.auth == "public"):
        for rate in () if name not in limits else limits[name].rates:
            if entry.cost > rate.burst:
                yield (
                    f"{where}: `cost` {entry.cost} is more than the limit {name} ever grants at once, {rate.burst}; "
                    f"raise its burst, or lower the cost"
                )
