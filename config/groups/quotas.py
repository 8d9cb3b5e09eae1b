"""Settings of quotas, requests a day and a month of API keys and organizations; and of shedding load."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from config.fields import Group, Seconds

_Most = Annotated[int, Field(ge=0, le=2**53)]
"""A quota; up to here every reader of JSON counts exactly."""


class Shed(Group):
    """Load shedding: what is refused while the process has more than it can do."""

    lag_seconds: float = Field(
        0,
        ge=0,
        le=60,
        allow_inf_nan=False,
        description="When the event loop lags by this for a second, requests without a proven caller are 503, and then "
        "dear ones too (docs/shedding.md). 0: never.",
    )
    memory: float = Field(
        0,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="The same when this share of the cgroup's memory is used, such as 0.9. 0: never.",
    )


class Quota(Group):
    """Quotas a day and a month; with GATEWAY_QUOTAS."""

    key_day: _Most = Field(
        0, description="Requests a UTC day of an API key that has no quota of its own. 0: no quota."
    )
    key_month: _Most = Field(0, description="The same a UTC month. 0: no quota.")
    organization_day: _Most = Field(
        0,
        description="Requests a UTC day of an organization that has no quota of its own, by whatever credential. "
        "0: no quota.",
    )
    organization_month: _Most = Field(0, description="The same a UTC month. 0: no quota.")
    sync_seconds: Seconds = Field(
        1,
        description="Counts are settled with the database at least this often while there are any, in one statement; "
        "a lease that runs low is renewed at once.",
    )
    slack: int = Field(
        100,
        ge=1,
        le=1_000_000,
        description="Requests of one API key or organization that a process lets through beyond what the database has "
        "granted it, with GATEWAY_QUOTA_STORE_AWAY=closed; past that 503.",
    )
    store_away: Literal["open", "closed"] = Field(
        "open",
        description="What counts while the database does not answer: open lets each process go on up to what it knew "
        "to be left; closed lets through GATEWAY_QUOTA_SLACK requests and then answers 503 to those that have a quota.",
    )
