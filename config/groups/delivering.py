"""Settings of traffic policies towards the upstream: retries, breaker, the whole deadline and waiting."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from config.delivery import Short, check_repeat, check_when
from config.fields import Group, split

When = Annotated[tuple[str, ...], NoDecode, check_when, BeforeValidator(split)]
Repeat = Annotated[tuple[str, ...], NoDecode, check_repeat, BeforeValidator(split)]


class Delivering(Group):
    """Delivery: what becomes of a request that the upstream does not answer."""

    retry_when: When = Field(
        ("stale",),
        description="When a request is sent again: stale (a used connection was dead; once), connect-failure, reset "
        "(before any byte of an answer), and statuses such as 503; comma-separated. off: never.",
    )
    retry_repeat: Repeat = Field(
        ("safe",),
        description="Requests that may be sent twice: safe (GET, HEAD, OPTIONS, TRACE: always), idempotent (PUT, "
        "DELETE), idempotency-key (any method, with one Idempotency-Key); comma-separated.",
    )
    retry_attempts: int = Field(
        3, ge=1, le=10, description="Attempts of a request at most, the first included."
    )
    retry_body_bytes: int = Field(
        65_536,
        ge=0,
        le=16_777_216,
        description="Largest request body that is stored for a repetition; a larger one is not repeated. 0: none is.",
    )
    retry_try_timeout_seconds: float = Field(
        0,
        ge=0,
        le=86_400,
        allow_inf_nan=False,
        description="Longest time of one attempt: for connecting, and from the end of the request to the head of its "
        "answer; then it is sent again, or 504. 0: GATEWAY_UPSTREAM_HEAD_TIMEOUT_SECONDS alone.",
    )
    retry_backoff_seconds: Short = Field(
        0.025,
        description="Before the first retry there is a pause of up to this, by chance; twice as much each time.",
    )
    retry_backoff_max_seconds: Short = Field(0.25, description="A pause is never longer than this.")
    retry_after_seconds: float = Field(
        1,
        ge=0,
        le=3600,
        allow_inf_nan=False,
        description="Longest Retry-After of the upstream that is waited for; with a longer one its answer goes to the "
        "client.",
    )
    retry_budget_percent: float = Field(
        20,
        ge=0,
        le=100,
        allow_inf_nan=False,
        description="Retries under way at most, as a share of the upstream's active requests.",
    )
    retry_budget_floor: int = Field(
        3, ge=0, le=65_535, description="So many retries may be under way in any case."
    )
    breaker_requests: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="Requests at work in the upstream, those that wait included; past that 503. 0: no bound.",
    )
    breaker_retries: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="Retries at work, besides the budget; past that none begins. 0: no bound.",
    )
    breaker_endpoint_requests: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="Requests at one endpoint of the upstream, those that wait for a connection included; past that "
        "another is chosen, and 503 if all are past it. 0: no bound.",
    )
    breaker_endpoint_connections: int = Field(
        0,
        ge=0,
        le=65_535,
        description="Connections to one endpoint; past that another is chosen, and 503 if all are in use. 0: no bound.",
    )
    deadline_seconds: float = Field(
        0,
        ge=0,
        le=86_400,
        allow_inf_nan=False,
        description="From a request's head to that of its answer, over all attempts and waiting; past that 504. The "
        "upstream is sent what is left, as X-Envoy-Expected-Rq-Timeout-Ms. 0: none.",
    )
    wait_seconds: float = Field(
        0,
        ge=0,
        le=3600,
        allow_inf_nan=False,
        description="While the upstream cannot be reached, as it restarts, a request waits for so long; past that 502. "
        "0: it does not.",
    )
    wait_requests: int = Field(
        1024, ge=1, le=65_535, description="Requests that wait so at once; past that 503."
    )
