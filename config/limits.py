"""Limit of a route file: a named policy of rates and of requests at work at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from config.entries import Entry, Some, one_or_many
from config.rates import MOST_UNITS, Rate, RateText

LimitPart = Literal["network", "user", "api_key", "organization", "route", "all"]
LimitParts = Annotated[
    Some[LimitPart], BeforeValidator(one_or_many, json_schema_input_type=LimitPart | Some[LimitPart])
]
LimitRates = Annotated[
    Some[RateText], BeforeValidator(one_or_many, json_schema_input_type=RateText | Some[RateText])
]


class LimitEntry(Entry):
    """A limit that routes name: how much one key may ask for, and how much at once."""

    key: LimitParts = Field(
        description="What is counted as one caller: network (IPv4 address, IPv6 /64), user, api_key, organization, "
        "route, several of them together, or all for all requests. Where there is no user or organization, the network "
        "counts; with api_key, only requests with an API key do.",
    )
    rate: LimitRates | None = Field(
        None, description="Such as 100/s, or 30/10m burst 50; of several, all must grant. Past that 429."
    )
    burst: int | None = Field(
        None, ge=1, le=MOST_UNITS, description="Of the one rate: granted at once. Default: its count."
    )
    concurrency: int | None = Field(
        None, ge=1, le=1_000_000, description="Requests at work at once; past that 429."
    )
    long: Literal["count", "release"] = Field(
        "count",
        description="Whether WebSockets, and answers whose bodies flow on, count in `concurrency` until they end.",
    )
    store_away: Literal["open", "closed"] | None = Field(
        None,
        description="What it does while the store of GATEWAY_LIMITS_URL is away. Default: that of the settings.",
    )
    shadow: bool = Field(
        default=False, description="What it would refuse is counted and recorded, and passes."
    )

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.rate is None and self.concurrency is None:
            raise ValueError("should have `rate` or `concurrency`")
        if self.burst is not None and (len(self.rate or ()) != 1 or "burst" in (self.rate or ("",))[0]):
            raise ValueError("`burst` belongs to one `rate`; of several, write each as 100/s burst 200")
        if len(set(self.key)) < len(self.key) or ("all" in self.key and len(self.key) > 1):
            raise ValueError("`key` names each part once, and `all` stands alone")
        return self

    @property
    def rates(self) -> tuple[Rate, ...]:
        """Its rates, those of shorter windows first."""
        found = [Rate.parse(text) for text in self.rate or ()]
        if self.burst is not None:
            found = [replace(found[0], burst=self.burst)]
        return tuple(sorted(found, key=lambda rate: rate.seconds))
