"""Checks of an upstream's health terms: values that contradict each other, and terms that can have no effect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.groups.health import EjectionEntry, HealthEntry
    from config.route_plan import RoutePlan
    from config.routes import UpstreamEntry
    from config.settings import Settings

_WHOLE: Final = 100
SETTINGS: Final = tuple(
    f"GATEWAY_UPSTREAM_{name}"
    for name in (
        *("HEALTH_PATH", "HEALTH_HOST", "HEALTH_BODY", "HEALTH_INTERVAL_SECONDS", "HEALTH_TIMEOUT_SECONDS"),
        *("EJECTION_BASE_SECONDS", "EJECTION_MAX_SECONDS", "EJECTION_MAX_PERCENT", "PANIC_PERCENT"),
    )
)


def upstream_health(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield the problems of the settings."""
    upstream = settings.upstream
    health = upstream.checks(None, ours=True)
    for key, problem in _problems(health, upstream.ejections(None), upstream.panic_percent):
        yield f"GATEWAY_UPSTREAM_{'_'.join(key).upper()}", problem
    if health is None:
        for name in ("health_host", "health_body"):
            if name in upstream.model_fields_set:
                yield (
                    f"GATEWAY_UPSTREAM_{name.upper()}",
                    "has no effect without GATEWAY_UPSTREAM_HEALTH_PATH; set that, or leave this out",
                )


def entry_problems(
    entry: UpstreamEntry, settings: Settings, *, ours: bool
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the problems of an upstream in a route file: the place in its entry, and the message."""
    upstream = settings.upstream
    panic = upstream.panic_percent if entry.panic_percent is None else entry.panic_percent
    health = upstream.checks(entry.health, ours=ours)
    for key, problem in _problems(health, upstream.ejections(entry.ejection), panic):
        yield key, f"{'.'.join(key)}: {problem}"


def _problems(
    health: HealthEntry | None, ejection: EjectionEntry, panic_percent: int
) -> Iterator[tuple[tuple[str, ...], str]]:
    if health is not None and health.timeout_seconds > health.interval_seconds:
        timeout, interval = health.timeout_seconds, health.interval_seconds
        problem = f"{timeout:g} is more than the interval, {interval:g}; a check has to end before the next one begins"
        yield ("health", "timeout_seconds"), problem
    if ejection.base_seconds > ejection.max_seconds:
        first, longest = ejection.base_seconds, ejection.max_seconds
        problem = f"{first:g}, the length of the first ejection, is more than max_seconds, {longest:g}"
        yield ("ejection", "base_seconds"), problem
    if ejection.max_percent + panic_percent > _WHOLE:
        problem = (
            f"{panic_percent} and {ejection.max_percent}, the most that may be ejected, are more than 100 together: "
            "ejections alone would begin panic, which uses the ejected endpoints; lower one of them"
        )
        yield ("panic_percent",), problem


_NO_STATUSES: Final = (
    "have no effect, for no failures of answers eject (failures: 0); raise that, or leave them out"
)


def ejection_doubts(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield every (setting, warning) about terms of ejection in the settings that have no effect."""
    upstream = settings.upstream
    if "ejection_statuses" in upstream.model_fields_set and not upstream.ejections(None).failures:
        yield "GATEWAY_UPSTREAM_EJECTION_STATUSES", _NO_STATUSES


def health_doubts(plan: RoutePlan | None, settings: Settings) -> Iterator[str]:
    """Yield a line for each upstream whose terms of ejection have no effect.

    These are a share that is less than one endpoint, and statuses without ``failures``.
    """
    for name, entry in {} if plan is None else plan.upstreams.items():
        own = entry.ejection
        if (
            own is not None
            and "statuses" in own.model_fields_set
            and not settings.upstream.ejections(own).failures
        ):
            yield f"upstream {name}: ejection.statuses {_NO_STATUSES}"
        percent = settings.upstream.ejections(entry.ejection).max_percent
        number = len(entry.urls)
        if number > 1 and number * percent < _WHOLE:
            yield (
                f"upstream {name}: {percent} percent of {number} endpoints, rounded down, are none, so none is ever "
                f"ejected; set ejection.max_percent to {-(-_WHOLE // number)} or more"
            )
