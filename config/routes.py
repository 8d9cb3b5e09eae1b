"""Route file model, from which ``config/routes.schema.json`` is generated for editors.

Laws:

- Every route states which callers it admits: without ``auth`` it does not load.
- An unknown key is refused, and so is a value of nearly the right type.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from config.delivery import RoutePolicies, UpstreamPolicies
from config.entries import Entry, Name, Some
from config.groups.browsers import Cors
from config.groups.health import HealthKeys
from config.groups.tls import TlsEntry
from config.groups.traffic import (
    BALANCE,
    HASH_BY,
    SPILL_OVER,
    ZONE,
    Balance,
    EndpointEntry,
    HashBy,
    SpillOver,
    Zone,
)
from config.limits import LimitEntry
from config.patterns import PathPattern
from config.route_plan import DEFAULT_UPSTREAM
from config.route_values import (
    FieldName,
    HeaderValue,
    Hosts,
    Identity,
    Methods,
    Paths,
    Permissions,
    PlainPrefix,
    Prefixes,
    RewritePath,
    Seconds,
    Urls,
)

_NULL: Final = {"type": "null"}


class UpstreamEntry(Entry, UpstreamPolicies, HealthKeys):
    """A service behind the gateway. What is left out is as in the ``GATEWAY_UPSTREAM_*`` settings."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["url"]}, {"required": ["endpoints"]}]}
    )

    url: Urls | None = Field(
        None,
        description="http://host:port, https://host:port or unix:/path; or several, which share the requests. Each "
        "address of a name is an endpoint.",
    )
    endpoints: Some[EndpointEntry] | None = Field(
        None, description="In place of `url`: URLs with a weight, a zone or a priority."
    )
    balance: Balance | None = Field(None, description=BALANCE)
    hash_by: HashBy | None = Field(None, description=HASH_BY)
    zone: Zone | None = Field(None, description=ZONE)
    zone_spill_over: SpillOver | None = Field(None, description=SPILL_OVER)
    tls: TlsEntry | None = Field(
        None,
        description="For https://. By default the system's authorities, and no client certificate; for `upstream`, "
        "the GATEWAY_UPSTREAM_TLS_* settings.",
    )
    connections: int | None = Field(None, ge=1, le=65_535, description="Connections at most.")
    pending: int | None = Field(None, ge=0, le=65_535, description="Requests waiting for one; past that 503.")
    idle_seconds: Seconds | None = Field(None, description="An unused connection is closed after this.")
    max_age_seconds: float | None = Field(
        None,
        ge=0,
        le=86_400,
        allow_inf_nan=False,
        description="A connection is not used for longer. 0: no limit.",
    )
    connect_timeout_seconds: Seconds | None = Field(None, description="To connect; past that 504.")
    head_timeout_seconds: Seconds | None = Field(
        None, description="From request sent to response head; past that 504."
    )
    body_timeout_seconds: Seconds | None = Field(
        None, description="Without a byte while a response body flows."
    )
    identity: Identity | None = Field(
        None,
        description="Identity headers that it is sent: all (the default), none, or their keys, such as user_id; with a "
        "- before each, all but those. For `upstream`, the default is GATEWAY_UPSTREAM_IDENTITY.",
    )

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Self:
        if (self.url is None) == (self.endpoints is None):
            raise ValueError("should have either `url` or `endpoints`")
        return self

    @property
    def places(self) -> tuple[EndpointEntry, ...]:
        """Endpoints of the upstream."""
        if self.endpoints is not None:
            return tuple(self.endpoints)
        return tuple(EndpointEntry(url=url) for url in self.url or ())

    @property
    def urls(self) -> tuple[str, ...]:
        """The URLs of its places."""
        return tuple(place.url for place in self.places)


class Match(Entry):
    """Matcher of a route: host first, then path, then methods; the most specific route wins."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["path"]}, {"required": ["prefix"]}]})

    path: Paths | None = Field(
        None,
        description="/path, /path/{name} for any one segment, /path/* for the path and everything below; or several. "
        "/path/{name:opaque} takes a last segment with encoded slashes and the like, for a server that splits the path "
        "before it decodes.",
    )
    prefix: Prefixes | None = Field(
        None,
        description="/path or /path/{name}: the path, everything below, and, where auth is required, what a server may "
        "take for it: /path., /path.json, /path with a space or with full-width letters; or several.",
    )
    host: Hosts | None = Field(None, description="A host, or *.host for any one label before it; or several.")
    methods: Methods | None = Field(
        None,
        description="Only these; with GET goes HEAD. Another method is 405, unless a wider route takes it.",
    )

    @model_validator(mode="after")
    def _has_a_path(self) -> Self:
        if self.path is None and self.prefix is None:
            raise ValueError("should have `path` or `prefix`")
        return self

    @property
    def patterns(self) -> tuple[tuple[PathPattern, bool], ...]:
        """Each pattern of its paths, and whether it is a prefix."""
        paths = [(PathPattern.parse(path), False) for path in self.path or ()]
        return (*paths, *((PathPattern.parse(f"{path}/*"), True) for path in self.prefix or ()))


def _match_or_matches(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


Matches = Annotated[
    list[Match],
    Field(min_length=1),
    BeforeValidator(_match_or_matches, json_schema_input_type=Match | list[Match]),
]


class Headers(Entry):
    """Field lines for the upstream. Identity, forwarded and framing fields are the gateway's and cannot be named."""

    put: dict[FieldName, HeaderValue] = Field(
        default_factory=dict, alias="set", description="Written in place of what the client sent."
    )
    add: dict[FieldName, HeaderValue] = Field(
        default_factory=dict, description="Written beside what the client sent."
    )


class RouteEntry(Entry, RoutePolicies):
    """One kind of request and what happens to it."""

    name: Name = Field(description="Short and stable: the label of metrics and logs.")
    match: Matches = Field(description="What it is for; a list of several is for what any of them is for.")
    auth: Literal["required", "optional", "public"] = Field(
        description="required: a valid credential; optional: none, or a valid one; public: none is looked at."
    )
    require: Permissions | None = Field(None, description="Permissions that must all be held.")
    any: Permissions | None = Field(None, description="Permissions of which one must be held.")
    upstream: Name = Field(
        DEFAULT_UPSTREAM, description="Of `upstreams`; `upstream` is GATEWAY_UPSTREAM_URL's."
    )
    strip_prefix: PlainPrefix | None = Field(
        None, description="Left out of the path that the upstream is sent."
    )
    rewrite: RewritePath | None = Field(
        None,
        description="The path that the upstream is sent; {name} and a final /* are taken over from match.path.",
    )
    credential: Literal["pass", "strip"] = Field(
        "pass", description="Whether the upstream sees the credential."
    )
    headers: Headers | None = None
    identity: Identity | None = Field(None, description="Instead of the upstream's.")
    hash_by: HashBy | None = Field(None, description="Instead of the upstream's.")
    head_timeout_seconds: Seconds | None = Field(None, description="Instead of the upstream's.")
    body_timeout_seconds: Seconds | None = Field(None, description="Instead of the upstream's.")
    body_limit_bytes: int | None = Field(
        None, ge=0, description="Request body; past that 413. 0: no limit. Default: GATEWAY_LIMIT_BODY_BYTES."
    )
    cors: Cors | None = Field(None, description="Instead of the GATEWAY_CORS_* settings.")
    limits: list[Name] | None = Field(
        None,
        description="Limits of this file, or network, user, api_key and organization of the settings. Instead of the "
        "GATEWAY_LIMITS_* settings; [] for none.",
    )
    cost: int = Field(1, ge=1, le=1_000_000, description="What a request takes of each of its limits.")
    shadow: bool = Field(default=False, description="What would be refused is recorded, and forwarded.")
    tickets: bool = Field(
        default=False, description="A WebSocket ticket in the query (?token=) is a credential here."
    )
    socket_auth: Literal["handshake", "message"] = Field(
        "handshake",
        description="message: a WebSocket is opened without a credential, and its first message brings it "
        '({"type":"auth","payload":{"token":"..."}}); see GATEWAY_WS_AUTH.',
    )


class RouteFile(Entry):
    """Upstreams, limits and routes."""

    upstreams: dict[Name, UpstreamEntry] = Field(default_factory=dict)
    limits: dict[Name, LimitEntry] = Field(default_factory=dict)
    hosted_limits: list[Name] | None = Field(
        None,
        description="Limits of the gateway's own endpoints. Instead of the GATEWAY_LIMITS_* settings.",
    )
    routes: list[RouteEntry] = Field(default_factory=list)


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a route file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "whatomate-gateway routes",
        **{
            key: _without_null(value)
            for key, value in RouteFile.model_json_schema().items()
            if key != "title"
        },
    }


def _without_null(schema: Any) -> Any:
    """Return a part of the schema without the null that stands for a key that is not written."""
    if isinstance(schema, list):
        return [_without_null(one) for one in schema if one != _NULL]
    if not isinstance(schema, dict):
        return schema
    rest = {
        key: _without_null(value) for key, value in schema.items() if not (key == "default" and value is None)
    }
    if _NULL in schema.get("anyOf", ()) and len(rest["anyOf"]) == 1:
        return rest.pop("anyOf")[0] | rest
    return rest
