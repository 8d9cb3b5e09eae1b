"""Checks of the traffic policies of a route plan: values that contradict each other, and those without an effect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from authcore.identity_headers import ALL, withheld
from config.delivery import STALE
from config.route_plan import DEFAULT_UPSTREAM
from config.traffic_checks import place_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from config.route_plan import RoutePlan
    from config.routes import UpstreamEntry
    from config.settings import Settings

DELIVERY: Final = (
    "GATEWAY_UPSTREAM_RETRY_WHEN",
    "GATEWAY_UPSTREAM_RETRY_ATTEMPTS",
    "GATEWAY_UPSTREAM_RETRY_TRY_TIMEOUT_SECONDS",
    "GATEWAY_UPSTREAM_RETRY_BUDGET_PERCENT",
    "GATEWAY_UPSTREAM_RETRY_BUDGET_FLOOR",
    "GATEWAY_UPSTREAM_RETRY_BACKOFF_SECONDS",
    "GATEWAY_UPSTREAM_RETRY_BACKOFF_MAX_SECONDS",
    "GATEWAY_UPSTREAM_DEADLINE_SECONDS",
    "GATEWAY_UPSTREAM_WAIT_SECONDS",
)
"""The settings that :func:`delivery` looks at."""
_TIMES: Final = (
    "connect_timeout_seconds",
    "head_timeout_seconds",
    "body_timeout_seconds",
    "retry_try_timeout_seconds",
    "deadline_seconds",
    "wait_seconds",
)
_LEAST_SECONDS: Final = 0.001
"""Shorter times end before an upstream can answer; probably milliseconds were meant."""
Problem = tuple[tuple[str, ...], str]


def failover_problems(
    name: str, upstreams: Mapping[str, UpstreamEntry | None], settings: Settings
) -> Iterator[Problem]:
    """Yield the problems of the failover of the upstream `name`: the place in the entry, and the message.

    The request that a stand-in gets was made for the upstream itself. So both have to be owed the same identity.
    """
    entry = upstreams[name]
    if entry is None or entry.failover is None:
        return
    where = ("failover",)
    own = _withheld(name, upstreams, settings)
    for other in entry.failover:
        if other == name:
            yield where, "an upstream cannot stand in for itself"
        elif other not in upstreams and not (other == DEFAULT_UPSTREAM and settings.upstream.url):
            yield where, f"no upstream {other!r}; there are {', '.join(sorted(upstreams))}"
        elif _withheld(other, upstreams, settings) != own:
            yield where, f"{other} is sent other identity headers; give both the same `identity`"
    if len(set(entry.failover)) < len(entry.failover):
        yield where, "an upstream is named twice"


def _withheld(name: str, upstreams: Mapping[str, UpstreamEntry | None], settings: Settings) -> frozenset[str]:
    entry = upstreams.get(name)
    if entry is not None and entry.identity is not None:
        return withheld(entry.identity)
    return withheld(settings.upstream.identity if name == DEFAULT_UPSTREAM else (ALL,))


def policy_problems(words: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the contradictions in the settings of an upstream's group: the key, and the message."""
    attempt, deadline = words["retry_try_timeout_seconds"], words["deadline_seconds"]
    if attempt and deadline and attempt >= deadline:
        yield (
            "retry_try_timeout_seconds",
            f"{attempt:g} is no less than the deadline, {deadline:g}: none could follow",
        )
    if words["retry_backoff_seconds"] > words["retry_backoff_max_seconds"]:
        yield "retry_backoff_seconds", f"is more than its maximum, {words['retry_backoff_max_seconds']:g}"
    if set(words["retry_when"]) - {STALE} and words["retry_attempts"] == 1:
        yield "retry_attempts", "1 is the first attempt, and no other; use 2 or more, or leave the causes out"
    if set(words["retry_when"]) - {STALE} and not (
        words["retry_budget_percent"] or words["retry_budget_floor"]
    ):
        yield (
            "retry_budget_floor",
            "0, and a budget of 0 percent, allow no retry; raise one, or leave the causes out",
        )
    if deadline and words["wait_seconds"] > deadline:
        yield (
            "wait_seconds",
            f"{words['wait_seconds']:g} is more than the deadline, {deadline:g}, which ends the wait",
        )


def policy_doubts(words: Mapping[str, Any], written: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield the keys of an upstream's group whose value has no effect or probably not the intended one, with a warning.

    Args:
        words: The settings in force, by key.
        written: The keys that are written at the place in question; the others are inherited.
    """
    attempt, head = words["retry_try_timeout_seconds"], words["head_timeout_seconds"]
    if attempt >= head and {"retry_try_timeout_seconds", "head_timeout_seconds"} & set(written):
        yield (
            "retry_try_timeout_seconds",
            f"{attempt:g} is no less than the timeout of the head, {head:g}, which repeats nothing; lower it",
        )
    if attempt and not words["retry_when"] and "retry_try_timeout_seconds" in written:
        yield (
            "retry_try_timeout_seconds",
            f"{attempt:g} repeats nothing with retries off, and ends the one attempt with 504; leave it out",
        )
    for key in _TIMES:
        if key in written and 0 < words[key] < _LEAST_SECONDS:
            yield (
                key,
                f"{words[key]:g} seconds are over before anything can come; use {_LEAST_SECONDS:g} or more",
            )


def delivery_doubts(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield every (setting, warning) about a traffic policy of the settings that has no effect."""
    upstream = settings.upstream
    for key, doubt in policy_doubts(upstream.model_dump(), upstream.model_fields_set):
        yield f"GATEWAY_UPSTREAM_{key.upper()}", doubt


def failover_doubts(plan: RoutePlan, settings: Settings) -> Iterator[str]:
    """Yield a line for each failover to an upstream that has no URL besides those of the first."""

    def places(name: str) -> set[tuple[str, str, int]]:
        entry = plan.upstreams.get(name)
        urls = (settings.upstream.url,) if entry is None else entry.urls
        return {place_of(url) for url in urls if url}

    for name, entry in plan.upstreams.items():
        for other in entry.failover or ():
            if places(other) and places(other) <= places(name):
                yield (
                    f"upstream {name}: failover: {other} has no other URL than {name} itself, so it is away with it; "
                    "name one that is elsewhere, or leave it out"
                )


def delivery(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield every contradiction in the traffic policy of the settings."""
    for key, problem in policy_problems(settings.upstream.model_dump()):
        yield f"GATEWAY_UPSTREAM_{key.upper()}", problem
