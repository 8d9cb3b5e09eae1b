"""Settings of rate limits: those of every route, and how limits are counted."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from config.fields import Group
from config.rates import Rates


class Limits(Group):
    """Rate limits of all routes that name none of their own in a route file."""

    network: Rates = Field(
        (),
        description="Requests of one client network (IPv4 address, IPv6 /64), such as `100/s burst 200`; several "
        "windows are comma-separated. Counted before the credential is read; past that 429. Unset: no limit.",
    )
    user: Rates = Field((), description="The same of one user, counted once the caller is permitted.")
    api_key: Rates = Field((), description="The same of one API key.")
    organization: Rates = Field((), description="The same of one organization.")
    public: bool = Field(default=False, description="The limit by network is on for public routes as well.")
    shadow: bool = Field(
        default=False, description="No limit refuses: what would be refused is counted and recorded."
    )
    headers: Literal["all", "none"] = Field(
        "all", description="Whether answers have RateLimit and RateLimit-Policy, on routes with limits."
    )
    keys: int = Field(
        100_000,
        ge=1_000,
        le=10_000_000,
        description="Callers that one limit counts each by itself; further ones share 1,024 counts.",
    )
    replicas: int = Field(
        1,
        ge=1,
        le=10_000,
        description="Gateways that share the traffic: each grants its share of every limit, and so does each of its "
        "workers.",
    )
