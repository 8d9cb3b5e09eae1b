"""Settings of load balancing: how requests are shared among the endpoints of an upstream."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from config.entries import Entry
from config.fields import UpstreamUrl, shaped, upstream_url_pattern

Balance = Literal["least_requests", "round_robin"]
HashBy = Annotated[
    str,
    *shaped(
        r"^(user|organization|address|(header|cookie):[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64})$",
        "should be user, organization, address, header: and a name (header:X-Room), or cookie: and a name",
    ),
    Field(examples=["header:X-Room"]),
]
Zone = Annotated[
    str,
    *shaped(
        r"^([A-Za-z0-9_]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9_])?)?$",
        "should be a label of letters, digits, _, . and -, at most 63",
    ),
    Field(examples=["eu-central-1a"]),
]
SpillOver = Annotated[int, Field(ge=1, le=65_535)]

BALANCE: Final = (
    "How a request's endpoint is chosen where the upstream has several. least_requests: of two, drawn by weight, the "
    "one with fewer requests at work. round_robin: by turns."
)
HASH_BY: Final = (
    "Requests that are equal in this go to the same endpoint (consistent hash): user, organization, address (the "
    "client's), header:Name or cookie:name. A request that has none goes by `balance`."
)
ZONE: Final = "The gateway's own zone: endpoints that are in it come first. None by default."
SPILL_OVER: Final = (
    "Requests at work at the endpoint that is chosen in the zone, for each unit of its weight, from which on the "
    "endpoints of other zones are used as well."
)


class EndpointEntry(Entry):
    """One of the places that an upstream is at; each address of its name is an endpoint."""

    url: Annotated[UpstreamUrl, Field(json_schema_extra={"pattern": upstream_url_pattern()})] = Field(
        description="http://host:port, https://host:port or unix:/path."
    )
    weight: int = Field(
        1, ge=0, le=1000, description="Share of the requests of each address, beside others. 0: no requests."
    )
    zone: Zone = Field("", description="Where it is, as in `zone` of the upstream.")
    priority: int = Field(0, ge=0, le=100, description="Used while no endpoint of a lower number can be.")
