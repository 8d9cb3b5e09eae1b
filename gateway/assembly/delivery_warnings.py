"""Warnings about the traffic policies of a route plan: what loads, and is perhaps not what was meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from config.delivery import IDEMPOTENT, KEYED, STALE
from config.delivery_checks import failover_doubts, policy_doubts, policy_problems
from gateway.assembly.deliveries import flat

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from config.route_plan import RoutePlan
    from config.settings import Settings

_OF_ROUTES: Final = {"retry", "deadline_seconds", "head_timeout_seconds", "body_timeout_seconds"}
"""Keys of a route that are policies, or bound them."""


def delivery_warnings(plan: RoutePlan, settings: Settings) -> Iterator[str]:
    """Yield each warning as a line that says what is odd and what to do."""
    defaults = settings.upstream.model_dump()
    words: dict[str, Mapping[str, Any]] = {}
    for name, entry in plan.upstreams.items():
        entered = entry.model_dump(exclude_none=True, exclude={"tls", "identity"})
        words[name] = {**defaults, **entered, **flat(entered)}
        if entered.keys() & {"retry", "deadline_seconds", "wait_seconds"}:
            yield from (f"upstream {name}: {problem}" for problem in _odd(words[name], chosen=flat(entered)))
        doubts = policy_doubts(words[name], {*entered, *flat(entered)})
        yield from (f"upstream {name}: {_spelled(key)}: {doubt}" for key, doubt in doubts)
    for planned in plan.routes:
        entered = planned.entry.model_dump(exclude_none=True, include=_OF_ROUTES)
        own = {**words.get(planned.entry.upstream, defaults), **entered, **flat(entered)}
        where = f"{planned.origin}: route {planned.entry.name}"
        if entered.keys() & {"retry", "deadline_seconds"}:
            yield from (f"{where}: {problem}" for problem in _odd(own, chosen=flat(entered)))
        doubts = policy_doubts(own, {*entered, *flat(entered)})
        yield from (f"{where}: {_spelled(key)}: {doubt}" for key, doubt in doubts)
    yield from failover_doubts(plan, settings)


def _spelled(key: str) -> str:
    """Return a setting's key as the route file has it: ``retry_attempts`` is ``retry.attempts``."""
    policy, _, rest = key.partition("_")
    return f"{policy}.{rest}" if policy in {"retry", "breaker"} else key


def _odd(words: Mapping[str, Any], chosen: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is odd about `words`, of which `chosen` are the entry's own.

    An entry whose own ``retry.when`` is ``off`` has no use for the ``retry.repeat`` of its upstream, and means so.
    """
    for key, problem in policy_problems(words):
        yield f"{_spelled(key)}: {problem}"
    widened = set(words["retry_repeat"]) & {IDEMPOTENT, KEYED}
    if widened and not words["retry_body_bytes"]:
        yield "retry.body_bytes: 0 stores no body, so a PUT or POST with one is not repeated all the same"
    is_switched_off = not chosen.get("retry_when", [STALE]) and "retry_repeat" not in chosen
    names_a_cause = set(words["retry_when"]) - {STALE} or words["retry_try_timeout_seconds"]
    if widened and not names_a_cause and not is_switched_off:
        yield "retry.when: names no cause, so what retry.repeat allows has no effect; add reset, or a status"
