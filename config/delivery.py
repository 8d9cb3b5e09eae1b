"""Traffic policies of the route file: retries and breaker of an upstream, and a route's own retries.

What is left out of a policy is as in the ``GATEWAY_UPSTREAM_*`` settings of the same words
(``config/groups/delivering.py``): ``retry.attempts`` is ``GATEWAY_UPSTREAM_RETRY_ATTEMPTS``.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from config.entries import Entry

STALE: Final = "stale"
CONNECT: Final = "connect-failure"
RESET: Final = "reset"
CAUSES: Final = (STALE, CONNECT, RESET)
SAFE: Final = "safe"
IDEMPOTENT: Final = "idempotent"
KEYED: Final = "idempotency-key"
REPEATS: Final = (SAFE, IDEMPOTENT, KEYED)
_STATUS: Final = re.compile(r"[45][0-9]{2}")
_NOT_THESE: Final = frozenset({"401", "403", "407"})
"""Verdicts on the caller, which another attempt does not change."""


def _when(words: tuple[str, ...]) -> tuple[str, ...]:
    if words == ("off",):
        return ()
    for word in words:
        if word not in CAUSES and (not _STATUS.fullmatch(word) or word in _NOT_THESE):
            raise ValueError(
                f"{word!r} should be {', '.join(CAUSES)} or a status such as 503, of 400 to 599 without 401, 403 and "
                "407; or off, alone"
            )
    return words


def _repeat(words: tuple[str, ...]) -> tuple[str, ...]:
    for word in words:
        if word not in REPEATS:
            raise ValueError(f"{word!r} should be {', '.join(REPEATS)}")
    return words


def _words(value: Any) -> Any:
    """Take one word for a list of it, and numbers for words."""
    if value is False:  # YAML 1.1 reads `off` so
        return ("off",)
    if isinstance(value, list | tuple):
        numbers = (str(one) if isinstance(one, int) and not isinstance(one, bool) else one for one in value)
        return tuple(numbers)
    return (str(value),) if isinstance(value, str | int) and not isinstance(value, bool) else value


def _one_name_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


_STATUSES_SCHEMA: Final = {"type": "integer", "minimum": 400, "maximum": 599}
_WHEN_SCHEMA: Final[dict[str, Any]] = {
    "anyOf": [
        {"type": "array", "items": {"anyOf": [{"enum": list(CAUSES)}, _STATUSES_SCHEMA]}},
        {"enum": [*CAUSES, "off"]},
        _STATUSES_SCHEMA,
        {"type": "null"},
    ]
}
_REPEAT_SCHEMA: Final[dict[str, Any]] = {
    "anyOf": [{"type": "array", "items": {"enum": list(REPEATS)}}, {"enum": list(REPEATS)}, {"type": "null"}]
}
check_when: Final = AfterValidator(_when)
check_repeat: Final = AfterValidator(_repeat)
When = Annotated[
    tuple[str, ...],
    check_when,
    BeforeValidator(_words),
]
Repeat = Annotated[tuple[str, ...], check_repeat, BeforeValidator(_words)]
NoneOrSeconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
Failovers = Annotated[
    list[str],
    Field(min_length=1),
    BeforeValidator(
        _one_name_or_many, json_schema_input_type=str | Annotated[list[str], Field(min_length=1)]
    ),
]
Short = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]


class RouteRetryEntry(Entry):
    """Retry policy of a route: when and how a request is sent again."""

    when: When | None = Field(
        None,
        description="stale, connect-failure, reset and statuses such as 503; [] or off: never.",
        json_schema_extra=_WHEN_SCHEMA,
    )
    repeat: Repeat | None = Field(
        None,
        description="Requests that may be sent twice: safe (always), idempotent (PUT, DELETE), idempotency-key (any "
        "method with that field).",
        json_schema_extra=_REPEAT_SCHEMA,
    )
    attempts: int | None = Field(None, ge=1, le=10, description="At most, the first included.")
    body_bytes: int | None = Field(
        None, ge=0, le=16_777_216, description="Largest body that is stored for a repetition; 0: none is."
    )
    try_timeout_seconds: float | None = Field(
        None,
        ge=0,
        le=86_400,
        allow_inf_nan=False,
        description="Of one attempt: connecting, and the upstream's silence. 0: none.",
    )
    backoff_seconds: Short | None = Field(None, description="Bound of the first pause, which doubles.")
    backoff_max_seconds: Short | None = Field(None, description="Bound of any pause.")
    after_seconds: float | None = Field(
        None, ge=0, le=3600, allow_inf_nan=False, description="Longest Retry-After that is waited for."
    )


class RetryEntry(RouteRetryEntry):
    """Retry policy and its budget, which is the upstream's."""

    budget_percent: float | None = Field(
        None, ge=0, le=100, allow_inf_nan=False, description="Retries at once, of the active requests."
    )
    budget_floor: int | None = Field(None, ge=0, le=65_535, description="So many retries in any case.")


class BreakerEntry(Entry):
    """Bounds of what is at work in an upstream; past them 503. 0: no bound."""

    requests: int | None = Field(None, ge=0, le=1_000_000, description="Requests, those that wait included.")
    retries: int | None = Field(None, ge=0, le=1_000_000, description="Retries.")
    endpoint_requests: int | None = Field(
        None,
        ge=0,
        le=1_000_000,
        description="Requests at one endpoint, those that wait for a connection included.",
    )
    endpoint_connections: int | None = Field(
        None, ge=0, le=65_535, description="Connections to one endpoint."
    )


class UpstreamPolicies(BaseModel):
    """The traffic policies of an upstream."""

    retry: RetryEntry | None = Field(None, description="When and how a request is sent again.")
    breaker: BreakerEntry | None = Field(None, description="Bounds of what is at work; past them 503.")
    deadline_seconds: NoneOrSeconds | None = Field(
        None,
        description="From a request's head to that of its answer, over all attempts; past that 504. 0: none.",
    )
    wait_seconds: NoneOrSeconds | None = Field(
        None, description="How long a request waits while the upstream cannot be reached. 0: it does not."
    )
    wait_requests: int | None = Field(
        None, ge=1, le=65_535, description="Requests that wait so; past that 503."
    )
    failover: Failovers | None = Field(
        None,
        description="Upstreams that stand in, by priority, while it cannot be reached. They are sent the same headers.",
    )


class RoutePolicies(BaseModel):
    """The traffic policies that a route may have of its own."""

    retry: RouteRetryEntry | None = Field(None, description="Instead of the upstream's, key by key.")
    deadline_seconds: NoneOrSeconds | None = Field(None, description="Instead of the upstream's. 0: none.")
