"""Checks of limits: routes name limits that exist, and none costs more than a limit ever grants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from config.limits import LimitEntry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from config.groups.limiting import Limits
    from config.route_file import PlannedRoute, RoutePlan
    from config.settings import Settings

NETWORK: Final = "network"
SETTINGS_LIMITS: Final = (NETWORK, "user", "api_key", "organization")
"""Limits that the settings may define; each counts by the key that it is named after."""


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
