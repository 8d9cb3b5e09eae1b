"""Every setting, its type, default, bound and meaning.

Names: ``GATEWAY_`` + group + ``_`` + field, so ``settings.database.pool_max`` is ``GATEWAY_DATABASE_POOL_MAX``.
``config/load.py`` reads them; nothing else touches the environment. Units are part of the name.

No group is named ``service`` or ``port``: Kubernetes sets ``GATEWAY_SERVICE_HOST`` and ``GATEWAY_PORT`` in every pod
beside a Service called "gateway".
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

Seconds = Annotated[float, Field(gt=0, le=86_400 * 366)]
Listen = Annotated[str, Field(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z.-]*):\d{1,5}$")]
"""``host:port``; an empty host listens on every address, port 0 lets the system choose."""


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
    acquire_timeout_seconds: Seconds = Field(3, description="To wait for a free connection before answering 503.")
    statement_timeout_seconds: Seconds = Field(5, description="For one statement to answer.")


class Jwt(Group):
    """Signing and verification of tokens."""

    secret: SecretStr | None = Field(
        None, description="Shared HS256 secret, at least 32 bytes; signs and verifies. Required."
    )
    previous_secrets: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (), description="Secrets that verify only, during a rotation; comma-separated."
    )
    issuer: str = Field("whatomate", min_length=1, description="The iss claim, issued and required.")
    leeway_seconds: float = Field(0, ge=0, le=300, description="Clock skew forgiven on exp, nbf and iat.")


class Token(Group):
    """Lifetimes of issued tokens."""

    access_seconds: int = Field(3600, ge=1, le=86_400 * 30, description="Lifetime of an access token.")
    refresh_seconds: int = Field(7 * 86_400, ge=1, le=86_400 * 366, description="Lifetime of a refresh token.")


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


class Keys(Group):
    """API keys."""

    used_interval_seconds: Seconds = Field(10, description="last_used_at is written in batches this far apart.")


class Upstream(Group):
    """The service behind the gateway."""

    url: str | None = Field(
        None, pattern=r"^http://[^/?#@\s]+/?$", description="http://host:port of the upstream. Required."
    )
    connections: int = Field(1024, ge=1, le=65_535, description="Connections to the upstream at most.")
    pending: int = Field(1024, ge=0, le=65_535, description="Requests waiting for a connection; past that 503.")
    idle_seconds: Seconds = Field(60, description="An unused connection is closed after this.")
    connect_timeout_seconds: Seconds = Field(5, description="To connect; past that 504.")
    head_timeout_seconds: Seconds = Field(60, description="From request sent to response head; past that 504.")
    body_timeout_seconds: Seconds = Field(300, description="Without a byte while a response body flows.")


class Limit(Group):
    """What one client may ask of the gateway."""

    head_bytes: int = Field(32_768, ge=1024, le=1_048_576, description="Request head; past that 431.")
    fields: int = Field(100, ge=8, le=10_000, description="Header lines of a request; past that 431.")
    target_bytes: int = Field(8192, ge=64, le=65_536, description="Request target; past that 414.")
    body_bytes: int = Field(0, ge=0, description="Request body; past that 413. 0: no limit.")
    auth_body_bytes: int = Field(65_536, ge=1024, le=1_048_576, description="Body of an /api/auth request.")
    connections: int = Field(10_000, ge=1, le=1_000_000, description="Client connections at most.")


class Timeout(Group):
    """How long a client may be silent."""

    head_seconds: Seconds = Field(10, description="To send a request head once it has begun; past that 408.")
    idle_seconds: Seconds = Field(75, description="Between requests of a kept-alive connection.")
    body_seconds: Seconds = Field(60, description="Without a byte while a request body is due; past that 408.")
    write_seconds: Seconds = Field(60, description="Without the client taking a byte of its response.")
    drain_seconds: Seconds = Field(30, description="After SIGTERM, for requests in flight to finish.")


class Header(Group):
    """Names of the injected identity headers."""

    user_id: str = "X-User-ID"
    user_email: str = "X-User-Email"
    user_name: str = "X-User-Name"
    user_role: str = "X-User-Role"
    user_role_id: str = "X-User-Role-ID"
    user_permissions: str = "X-User-Permissions"
    user_super_admin: str = "X-User-Super-Admin"
    org_id: str = "X-Org-ID"
    auth_method: str = "X-Auth-Method"
    auth_key_id: str = "X-Auth-Key-ID"


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
    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        (), description="Networks whose X-Forwarded-* and X-Request-ID are believed; comma-separated. None by default."
    )
    public_paths: Annotated[tuple[str, ...], NoDecode] = Field(
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
    protected_paths: Annotated[tuple[str, ...], NoDecode] = Field(
        ("/api/*", "/ws"),
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
