"""Warnings about the traffic policies of a route plan: what loads, and is perhaps not what was meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from config.delivery import IDEMPOTENT, KEYED, STALE
from config.delivery_checks import policy_problems
from gateway.assembly.deliveries import flat

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from config.route_plan import RoutePlan
    from config.settings import Settings


def delivery_warnings(plan: RoutePlan, settings: Settings) -> Iterator[str]:
    """Yield each warning as a line that says what is odd and what to do."""
    defaults = settings.upstream.model_dump()
    words: dict[str, Mapping[str, Any]] = {}
    for name, entry in plan.upstreams.items():
        entered = entry.model_dump(exclude_none=True, exclude={"tls", "identity"})
        words[name] = {**defaults, **entered, **flat(entered)}
        if entered.keys() & {"retry", "deadline_seconds", "wait_seconds"}:
            yield from (f"upstream {name}: {problem}" for problem in _odd(words[name]))
    for planned in plan.routes:
        entered = planned.entry.model_dump(exclude_none=True, include={"retry", "deadline_seconds"})
        if entered:
            own = {**words.get(planned.entry.upstream, defaults), **entered, **flat(entered)}
            yield from (f"{planned.origin}: route {planned.entry.name}: {problem}" for problem in _odd(own))


def _odd(words: Mapping[str, Any]) -> Iterator[str]:
    for key, problem in policy_problems(words):
        policy, _, rest = key.partition("_")
        yield f"{f'{policy}.{rest}' if policy in {'retry', 'breaker'} else key}: {problem}"
    widened = set(words["retry_repeat"]) & {IDEMPOTENT, KEYED}
    if widened and not words["retry_body_bytes"]:
        yield "retry.body_bytes: 0 stores no body, so a PUT or POST with one is not repeated all the same"
    if widened and not (set(words["retry_when"]) - {STALE} or words["retry_try_timeout_seconds"]):
        yield "retry.when: names no cause, so what retry.repeat allows has no effect; add reset, or a status"
