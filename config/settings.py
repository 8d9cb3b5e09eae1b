"""Every setting, its type, default, bound and meaning.

Names: ``GATEWAY_`` + group + ``_`` + field, so ``settings.database.pool_max`` is ``GATEWAY_DATABASE_POOL_MAX``.
``config/load.py`` reads them; nothing else touches the environment. Units are part of the name.

No group is named ``service`` or ``port``: Kubernetes sets ``GATEWAY_SERVICE_HOST`` and ``GATEWAY_PORT`` in every pod
beside a Service called "gateway".
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

_LISTEN: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z.-]*):([0-9]{1,5})")
_UPSTREAM: Final = re.compile(r"http://(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+)(?::([0-9]{1,5}))?/?")
_PATH: Final = re.compile(r"(?:[A-Z]+(?:\|[A-Z]+)* )?/[^\s*?#\\]*(?:(?<=/)\*)?")
_PORTS: Final = range(65_536)


def _listen(value: str) -> str:
    match = _LISTEN.fullmatch(value)
    if match is None:
        raise ValueError("should be host:port, such as 0.0.0.0:8080, [::1]:8080 or :8080")
    if int(match[2]) not in _PORTS:
        raise ValueError("the port should be from 0 to 65535")
    return value


def _upstream_url(value: str) -> str:
    match = _UPSTREAM.fullmatch(value)
    if match is None:
        raise ValueError("should be http://host:port, without a user, a path or a query")
    if match[2] is not None and int(match[2]) not in _PORTS[1:]:
        raise ValueError("the port should be from 1 to 65535")
    return value


def _path(value: str) -> str:
    if _PATH.fullmatch(value) is None:
        raise ValueError(
            "should be /path, /path/* or `METHOD|METHOD /path`, and a * stands only at the very end"
        )
    return value


def _split(value: Any) -> Any:
    """Split what an operator typed at commas and line ends; anything else is left for the type to judge."""
    if isinstance(value, str):
        return tuple(part for entry in re.split(r"[,\n]", value) if (part := entry.strip()))
    return value


Seconds = Annotated[float, Field(gt=0, le=86_400 * 366, allow_inf_nan=False)]
Listen = Annotated[str, AfterValidator(_listen)]
"""``host:port``; an empty host listens on every address, port 0 lets the system choose."""
Paths = Annotated[tuple[Annotated[str, AfterValidator(_path)], ...], NoDecode, BeforeValidator(_split)]
HeaderName = Annotated[str, Field(pattern=r"^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}$")]
"""A field name is a token (RFC 9110 section 5.1)."""


class Group(BaseModel):
    """Settings that share the first word of their name."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Admin(Group):
    """The listener of probes and metrics; never the public one."""

    listen: Listen = Field("127.0.0.1:8081", description="Address of /livez, /readyz, /metrics and /status.")


class Database(Group):
    """PostgreSQL: the one Whatomate uses."""

    url: SecretStr | None = Field(None, description="postgresql:// URL of Whatomate's database. Required.")
    pool_min: int = Field(1, ge=0, le=1000, description="Connections kept open.")
    pool_max: int = Field(10, ge=1, le=1000, description="Connections at most, per process.")
    connect_timeout_seconds: Seconds = Field(5, description="To open a connection.")
    acquire_timeout_seconds: Seconds = Field(
        3, description="To wait for a free connection before answering 503."
    )
    statement_timeout_seconds: Seconds = Field(5, description="For one statement to answer.")
    triggers: bool = Field(
        default=True,
        description="migrate installs triggers that tell of changed rows, so that what is revoked is refused at "
        "once; off: after GATEWAY_IDENTITY_CACHE_SECONDS.",
    )


class Jwt(Group):
    """Signing and verification of tokens."""

    secret: SecretStr | None = Field(
        None, description="Shared HS256 secret, at least 32 bytes; signs and verifies. Required."
    )
    previous_secrets: Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_split)] = Field(
        (), description="Secrets that verify only, during a rotation; comma-separated."
    )
    issuer: str = Field("whatomate", min_length=1, description="The iss claim, issued and required.")
    leeway_seconds: float = Field(
        0, ge=0, le=300, allow_inf_nan=False, description="Clock skew forgiven on exp and nbf."
    )


class Token(Group):
    """Lifetimes of issued tokens."""

    access_seconds: int = Field(3600, ge=1, le=86_400 * 30, description="Lifetime of an access token.")
    refresh_seconds: int = Field(
        7 * 86_400, ge=1, le=86_400 * 366, description="Lifetime of a refresh token."
    )


class Password(Group):
    """Passwords, and the bounded pool that runs bcrypt."""

    min_length: int = Field(8, ge=1, le=72, description="Fewest characters of a new password.")
    cost: int = Field(10, ge=4, le=15, description="bcrypt cost of new hashes; Whatomate uses 10.")
    workers: int = Field(2, ge=1, le=64, description="Threads that run bcrypt.")
    queue: int = Field(64, ge=1, le=10_000, description="bcrypt jobs waiting at most; past that 503.")


class Identity(Group):
    """The cache of who is who."""

    cache_seconds: Seconds = Field(30, description="A verdict is reused this long before it is read again.")
    cache_entries: int = Field(100_000, ge=1, le=10_000_000, description="Cached identities at most.")
    cache_bytes: int = Field(
        268_435_456,
        ge=65_536,
        description="Memory of cached identities and their headers at most, about; 256 MiB.",
    )
    refused_seconds: Seconds = Field(5, description="A refusal is reused this long before it is read again.")
    refused_entries: int = Field(10_000, ge=1, le=10_000_000, description="Cached refusals at most.")
    stale_seconds: float = Field(
        300,
        ge=0,
        le=86_400,
        allow_inf_nan=False,
        description="While the database is away known identities go on for this long; 0: not at all.",
    )


class Keys(Group):
    """API keys."""

    hosted: bool = Field(
        default=True, description="The gateway answers /api/api-keys itself; off: the upstream does."
    )
    secret: SecretStr | None = Field(
        None,
        min_length=32,
        description="Secret of the digests that spare API keys their bcrypt, the same for every gateway of a "
        "database; without one it is derived from GATEWAY_JWT_SECRET.",
    )
    used_interval_seconds: Seconds = Field(
        10, description="last_used_at is written in batches this far apart."
    )


class Upstream(Group):
    """The service behind the gateway."""

    url: Annotated[str, AfterValidator(_upstream_url)] | None = Field(
        None, description="http://host:port of the upstream. Required."
    )
    connections: int = Field(1024, ge=1, le=65_535, description="Connections to the upstream at most.")
    pending: int = Field(
        1024, ge=0, le=65_535, description="Requests waiting for a connection; past that 503."
    )
    idle_seconds: Seconds = Field(60, description="An unused connection is closed after this.")
    connect_timeout_seconds: Seconds = Field(5, description="To connect; past that 504.")
    head_timeout_seconds: Seconds = Field(
        60, description="From request sent to response head; past that 504."
    )
    body_timeout_seconds: Seconds = Field(300, description="Without a byte while a response body flows.")


class Limit(Group):
    """What one client may ask of the gateway."""

    head_bytes: int = Field(32_768, ge=1024, le=1_048_576, description="Request head; past that 431.")
    fields: int = Field(100, ge=8, le=10_000, description="Header lines of a request; past that 431.")
    target_bytes: int = Field(8192, ge=64, le=65_536, description="Request target; past that 414.")
    body_bytes: int = Field(0, ge=0, description="Request body; past that 413. 0: no limit.")
    auth_body_bytes: int = Field(65_536, ge=1024, le=1_048_576, description="Body of an /api/auth request.")
    connections_per_address: int = Field(
        2000,
        ge=0,
        le=1_000_000,
        description="Client connections of one address; past that 503. Trusted proxies are exempt. 0: no limit.",
    )
    connections: int = Field(10_000, ge=1, le=1_000_000, description="Client connections at most.")


class Timeout(Group):
    """How long a client may be silent."""

    head_seconds: Seconds = Field(10, description="To send a request head once it has begun; past that 408.")
    idle_seconds: Seconds = Field(75, description="Between requests of a kept-alive connection.")
    body_seconds: Seconds = Field(
        60, description="Without a byte while a request body is due; past that 408."
    )
    write_seconds: Seconds = Field(60, description="Without the client taking a byte of its response.")
    tunnel_seconds: Seconds = Field(300, description="Without a byte either way through a WebSocket.")
    drain_seconds: Seconds = Field(30, description="After SIGTERM, for requests in flight to finish.")


class Header(Group):
    """Names of the injected identity headers."""

    user_id: HeaderName = Field("X-User-ID", description="Carries the user's id.")
    user_email: HeaderName = Field("X-User-Email", description="Carries the user's e-mail.")
    user_name: HeaderName = Field("X-User-Name", description="Carries the user's full name.")
    user_role: HeaderName = Field("X-User-Role", description="Carries the name of the role.")
    user_role_id: HeaderName = Field("X-User-Role-ID", description="Carries the role's id.")
    user_permissions: HeaderName = Field(
        "X-User-Permissions", description="Carries the permissions, comma-joined and sorted."
    )
    user_super_admin: HeaderName = Field("X-User-Super-Admin", description="Carries true or false.")
    org_id: HeaderName = Field("X-Org-ID", description="Carries the organization acted in.")
    auth_method: HeaderName = Field("X-Auth-Method", description="Carries how the caller proved itself.")
    auth_key_id: HeaderName = Field("X-Auth-Key-ID", description="Carries the API key used, when one was.")


class Log(Group):
    """Records on standard output."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severity written.")
    access: bool = Field(default=True, description="One JSON line for each request.")


class Settings(BaseSettings):
    """A whole configuration. Build it with :func:`config.load.load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix="GATEWAY_",
        env_nested_delimiter="_",
        env_nested_max_split=1,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    listen: Listen = Field("0.0.0.0:8080", description="Public address, host:port.")
    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_split)] = (
        Field(
            (),
            description="Networks whose X-Forwarded-* and X-Request-ID are believed; comma-separated. None by default.",
        )
    )
    public_paths: Paths = Field(
        (
            "/*",
            "/health",
            "/ready",
            "/api/auth/sso/*",
            "GET|POST /api/webhook",
            "/api/custom-actions/redirect/*",
        ),
        description="Paths that need no credential, each `[METHOD[|METHOD] ]/path`, a final /* for all below; "
        "comma-separated. The most specific path wins.",
    )
    protected_paths: Paths = Field(
        ("/api/*", "/ws/*"),
        description="Paths that need a credential; as public_paths. Wins over an equally specific public path.",
    )
    admin: Admin = Field(default_factory=Admin)
    database: Database = Field(default_factory=Database)
    jwt: Jwt = Field(default_factory=Jwt)
    token: Token = Field(default_factory=Token)
    password: Password = Field(default_factory=Password)
    identity: Identity = Field(default_factory=Identity)
    keys: Keys = Field(default_factory=Keys)
    upstream: Upstream = Field(default_factory=Upstream)
    limit: Limit = Field(default_factory=Limit)
    timeout: Timeout = Field(default_factory=Timeout)
    header: Header = Field(default_factory=Header)
    log: Log = Field(default_factory=Log)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what is handed over and nothing else: ``config/load.py`` reads the layers, so tests stay hermetic."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)
