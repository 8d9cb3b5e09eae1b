"""Settings model: every setting with its type, default, bound and meaning.

Names: ``GATEWAY_`` + group + ``_`` + field, so ``settings.database.pool_max`` is ``GATEWAY_DATABASE_POOL_MAX``.
``config/load.py`` reads them; nothing else touches the environment. Units are part of the name.

No group is named ``service`` or ``port``: Kubernetes sets ``GATEWAY_SERVICE_HOST`` and ``GATEWAY_PORT`` in every pod
beside a Service called "gateway" (:mod:`config.service_links`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, PrivateAttr, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from config.fields import FilePath, ForeignNames, Listens, Networks, Paths
from config.groups.auditing import Audit
from config.groups.browsers import Cookie, Cors
from config.groups.deciding import Decision
from config.groups.domain import Database, Identity, Jwt, Keys, Migrate, Password, Token
from config.groups.issuer import Issuer
from config.groups.limiting import Limits
from config.groups.listening import Proxy, Unix
from config.groups.observing import Log, Metrics, Trace
from config.groups.quotas import Quota, Shed
from config.groups.serving import Admin, Header, Limit, Resolver, Timeout, Upstream
from config.groups.signin import Invitation, Signin
from config.groups.signing import Signed
from config.groups.sockets import Stream, Ws
from config.groups.sso import Provider
from config.groups.tls import Tls
from config.groups.whatomate import Whatomate

PRESETS: Final[dict[str, dict[str, dict[str, Any]]]] = {
    # Whatomate reads none of them, and its servers before mid-2026 accept heads of at most 4,096 bytes.
    "whatomate": {"upstream": {"identity": ("-user_permissions",)}},
}
"""Defaults of a preset that replace the usual ones, by preset and group."""


class Settings(BaseSettings):
    """Complete configuration. Build it with :func:`config.load.load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix="GATEWAY_",
        env_nested_delimiter="_",
        env_nested_max_split=1,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    listen: Listens = Field(
        ("0.0.0.0:8080",),
        description="Public addresses, host:port or unix:/path; an empty host is every IPv4 and IPv6 address.",
    )
    trusted_proxies: Networks = Field(
        (),
        description="Networks whose X-Forwarded-* and X-Request-ID are believed; comma-separated. None by default.",
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
    cookies: bool = Field(
        default=False,
        description="Browser sessions: signing in sets cookies, cookies authenticate, unsafe methods then need "
        "X-CSRF-Token.",
    )
    routes: FilePath | None = Field(
        None,
        description="Route file: upstreams and routes with what each requires. Instead of public_paths and "
        "protected_paths; read again on SIGHUP and when it changes.",
    )
    preset: Literal["none", "whatomate"] = Field(
        "none",
        description="whatomate: every endpoint of Whatomate's API with the permission it needs; a route file "
        "goes over it.",
    )
    organization_header: Literal["lenient", "strict"] | None = Field(
        None,
        description="An X-Organization-ID that the caller may not use: strict refuses it, lenient acts in the "
        "credential's own organization instead, as Whatomate does, and sends the header to nobody. Unset: lenient with "
        "GATEWAY_PRESET=whatomate, else strict.",
    )
    shadow: bool = Field(
        default=False,
        description="Every route is in shadow: what would be refused is recorded and forwarded. To try rules in "
        "production; nothing is protected meanwhile but what the gateway hosts.",
    )
    ready: Literal["serving", "strict"] = Field(
        "serving",
        description="What /readyz answers while the database is away or refuses: serving is ready for as long as known "
        "callers are served without it (GATEWAY_IDENTITY_STALE_SECONDS), strict is not.",
    )
    quotas: bool = Field(
        default=False,
        description="Requests of API keys and organizations are counted by UTC day and month, and those over a quota "
        "refused with 429; `whatomate-gateway quotas` shows and sets them (docs/quotas.md).",
    )
    foreign_names: ForeignNames = Field(
        (),
        description="Names that begin with GATEWAY_ and belong to other programs, such as "
        "GATEWAY_API_* (all that begin so); comma-separated. Any other name that is no setting is refused.",
    )
    admin: Admin = Field(default_factory=Admin)
    database: Database = Field(default_factory=Database)
    migrate: Migrate = Field(default_factory=Migrate)
    jwt: Jwt = Field(default_factory=Jwt)
    issuer: Issuer = Field(default_factory=Issuer)
    token: Token = Field(default_factory=Token)
    password: Password = Field(default_factory=Password)
    registration: Literal["open", "invite", "closed"] = Field(
        "open", description="Who may register: everybody, who is invited, or nobody."
    )
    invitation: Invitation = Field(default_factory=Invitation)
    signin: Signin = Field(default_factory=Signin)
    sso: Literal["forwarded", "hosted"] = Field(
        "forwarded",
        description="Single sign-on, /api/auth/sso: forwarded to Whatomate, or hosted by the gateway, on Whatomate's "
        "own table of providers.",
    )
    provider: Provider = Field(default_factory=Provider)
    identity: Identity = Field(default_factory=Identity)
    keys: Keys = Field(default_factory=Keys)
    quota: Quota = Field(default_factory=Quota)
    shed: Shed = Field(default_factory=Shed)
    ws: Ws = Field(default_factory=Ws)
    stream: Stream = Field(default_factory=Stream)
    whatomate: Whatomate = Field(default_factory=Whatomate)
    upstream: Upstream = Field(default_factory=Upstream)
    resolver: Resolver = Field(default_factory=Resolver)
    tls: Tls = Field(default_factory=Tls)
    limit: Limit = Field(default_factory=Limit)
    limits: Limits = Field(default_factory=Limits)
    timeout: Timeout = Field(default_factory=Timeout)
    header: Header = Field(default_factory=Header)
    unix: Unix = Field(default_factory=Unix)
    proxy: Proxy = Field(default_factory=Proxy)
    decision: Decision = Field(default_factory=Decision)
    log: Log = Field(default_factory=Log)
    audit: Audit = Field(default_factory=Audit)
    trace: Trace = Field(default_factory=Trace)
    metrics: Metrics = Field(default_factory=Metrics)
    signed: Signed = Field(default_factory=Signed)
    cookie: Cookie = Field(default_factory=Cookie)
    cors: Cors = Field(default_factory=Cors)

    _files: dict[str, Path] = PrivateAttr(default_factory=dict)

    @property
    def files(self) -> dict[str, Path]:
        """The files that settings were read from, by the name of the setting."""
        return self._files

    @property
    def is_lenient_about_organizations(self) -> bool:
        """True if the credential's own organization is used in place of one that the caller may not act in."""
        if self.organization_header is None:
            return self.preset == "whatomate"
        return self.organization_header == "lenient"

    @model_validator(mode="before")
    @classmethod
    def _with_preset(cls, values: Any) -> Any:
        """Merge the defaults of the preset below the values that are set."""
        if isinstance(values, dict):
            for group, defaults in PRESETS.get(str(values.get("preset")), {}).items():
                written = values.get(group, {})
                if isinstance(written, dict):
                    values = {**values, group: {**defaults, **written}}
        return values

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Use the passed values only: ``config/load.py`` reads the layers, so tests stay hermetic."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)
