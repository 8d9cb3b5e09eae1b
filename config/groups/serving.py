"""Settings of listeners, the upstream, limits, deadlines and injected headers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, create_model

from authcore.identity_headers import HEADERS
from config.fields import (
    FileName,
    Group,
    HeaderName,
    HostNames,
    IdentityWords,
    Listen,
    NameServers,
    Seconds,
    UpstreamUrl,
    shaped,
)
from config.groups.delivering import Delivering
from config.groups.health import Health
from config.groups.tls import ServerName, TlsEntry
from config.groups.traffic import BALANCE, HASH_BY, SPILL_OVER, ZONE, Balance, HashBy, SpillOver, Zone

PageUrl = Annotated[
    str,
    *shaped(
        r"^https?://[^\s#@?]+$",
        "should be http:// or https:// and a path, without a user, a query and a fragment",
    ),
]


class Admin(Group):
    """The listener of probes and metrics; never the public one."""

    listen: Listen = Field(
        "127.0.0.1:8081", description="Address of /livez, /readyz, /metrics, /status and /explain."
    )
    hosts: HostNames = Field(
        (),
        description="Names that the admin listener answers to, without port, *.name for any one label before it; "
        "comma-separated. It always answers to addresses, localhost and the host of GATEWAY_ADMIN_LISTEN; any other "
        "Host is 421.",
    )
    token: SecretStr | None = Field(
        None,
        description="Bearer token of 16 characters or more, which all of the admin listener but /livez and /readyz "
        "then needs. As a file it is read again when it changes.",
    )
    tls_cert_file: FileName | None = Field(
        None,
        description="PEM file of the certificate, with its chain, with which the admin listener speaks TLS. Read again "
        "when it changes.",
    )
    tls_key_file: FileName | None = Field(None, description="PEM file of its key.")
    runbook_url: PageUrl | None = Field(
        None,
        max_length=2048,
        description="Where docs/runbook.md is to be read, to which /status leads from what is not in order. Without "
        "one /status names the entry.",
    )


class _Service(Group):
    """Connection to the service behind the gateway, and its timeouts."""

    url: UpstreamUrl | None = Field(
        None, description="URL of the upstream, http://host:port, https://host:port or unix:/path. Required."
    )
    connections: int = Field(
        1024,
        ge=1,
        le=65_535,
        description="Connections to the upstream at most; those of open WebSockets do not count.",
    )
    pending: int = Field(
        1024, ge=0, le=65_535, description="Requests waiting for a connection; past that 503."
    )
    idle_seconds: Seconds = Field(
        20,
        description="An unused connection is closed after this: before the upstream does it (Whatomate: "
        "server.read_timeout, 30), or a request may meet a closed one, 502.",
    )
    max_age_seconds: float = Field(
        600,
        ge=0,
        le=86_400 * 366,
        allow_inf_nan=False,
        description="A connection is not used any longer than this, less up to a tenth by chance, so that what "
        "balances connections in front of the upstream gets new ones to balance. 0: no limit.",
    )
    resolve_seconds: Seconds = Field(
        5,
        description="The host name of an upstream, and of the database, is looked up again after its time to live, and "
        "after this at the latest. Addresses that come get connections, and those that go lose theirs.",
    )
    connect_timeout_seconds: Seconds = Field(
        5, description="To connect, and to look the name up where no address is known; past that 504."
    )
    head_timeout_seconds: Seconds = Field(
        60, description="From request sent to response head; past that 504."
    )
    body_timeout_seconds: Seconds = Field(300, description="Without a byte while a response body flows.")
    identity: IdentityWords = Field(
        ("all",),
        description="Identity headers that the upstream is sent: all, none, or keys such as user_id,org_id; with a - "
        "before each, all but those. With GATEWAY_PRESET=whatomate the default is -user_permissions. Upstreams of a "
        "route file are sent all, unless they say otherwise themselves.",
    )
    balance: Balance = Field("least_requests", description=BALANCE)
    hash_by: HashBy | None = Field(None, description=HASH_BY)
    zone: Zone = Field("", description=ZONE)
    zone_spill_over: SpillOver = Field(100, description=SPILL_OVER)
    tls_ca_file: FileName | None = Field(
        None,
        description="For https://: PEM file of the authorities to accept, in place of the system's. This and the other "
        "files of TLS are read again when they change. Upstreams of a route file have their own `tls`.",
    )
    tls_server_name: ServerName | None = Field(
        None,
        description="Name that its certificate has to have, and that is asked for; the URL's host by default.",
    )
    tls_cert_file: FileName | None = Field(
        None, description="PEM file of the client certificate that it is sent, with its chain."
    )
    tls_key_file: FileName | None = Field(None, description="PEM file of the client certificate's key.")
    tls_min_version: Literal["1.2", "1.3"] = Field(
        "1.2", description="Lowest version of TLS that it is spoken to in."
    )
    tls_verify: Literal["full", "insecure"] = Field(
        "full",
        description="insecure: any certificate is accepted. Never in production; warned of at the start.",
    )

    @property
    def tls(self) -> TlsEntry:
        """The settings of TLS, as a route file has them."""
        written = self.model_dump(include=self.model_fields_set, exclude_none=True)
        return TlsEntry(
            **{key.removeprefix("tls_"): value for key, value in written.items() if key.startswith("tls_")}
        )


class Upstream(Delivering, Health, _Service):
    """The service behind the gateway."""


class Resolver(Group):
    """Name resolution of host names, of upstreams and of the database."""

    servers: NameServers = Field(
        (),
        description="Name servers, address or address:port; comma-separated. Default: those of /etc/resolv.conf. "
        "Search domains, ndots and attempts are read there in any case, and /etc/hosts goes first.",
    )
    timeout_seconds: float = Field(
        1,
        ge=0.05,
        le=30,
        allow_inf_nan=False,
        description="A query without an answer is sent again after this, and waits twice as long each time, instead of "
        "timeout: in /etc/resolv.conf.",
    )
    min_seconds: Seconds = Field(
        1, description="An answer is used for so long at least, even if its time to live is shorter."
    )
    stale_seconds: Seconds = Field(
        3600, description="The last good addresses are used for so long while name servers fail."
    )
    gone_seconds: Seconds = Field(
        30,
        description="The last good addresses are used for so long after a name server has answered that the name has "
        "none; then 502. Not much longer: somebody else may be given them.",
    )


class Limit(Group):
    """Limits of what one client may ask of the gateway."""

    head_bytes: int = Field(32_768, ge=1024, le=1_048_576, description="Request head; past that 431.")
    fields: int = Field(100, ge=8, le=10_000, description="Header lines of a request; past that 431.")
    target_bytes: int = Field(8192, ge=64, le=65_536, description="Request target; past that 414.")
    body_bytes: int = Field(0, ge=0, description="Request body; past that 413. 0: no limit.")
    auth_body_bytes: int = Field(65_536, ge=1024, le=1_048_576, description="Body of an /api/auth request.")
    connections_per_address: int = Field(
        2000,
        ge=0,
        le=1_000_000,
        description="Client connections of one network (IPv4 address, IPv6 /64); past that 503. Trusted proxies are "
        "exempt. 0: no limit.",
    )
    connections: int = Field(10_000, ge=1, le=1_000_000, description="Client connections at most.")
    hosted: int = Field(
        256,
        ge=1,
        le=10_000,
        description="Requests to the gateway's own endpoints (/api/auth, /api/api-keys) at work at once; others wait.",
    )
    hosted_per_network: int = Field(
        8,
        ge=1,
        le=10_000,
        description="Of these, those of one client network (IPv4 address, IPv6 /64).",
    )
    hosted_waiting: int = Field(
        1024, ge=1, le=100_000, description="Such requests waiting at most; past that 503."
    )
    hosted_waiting_per_network: int = Field(
        512, ge=1, le=100_000, description="Such requests of one network waiting at most; past that 429."
    )


class Timeout(Group):
    """Timeouts: how long a client may be silent."""

    head_seconds: Seconds = Field(10, description="To send a request head once it has begun; past that 408.")
    idle_seconds: Seconds = Field(75, description="Between requests of a kept-alive connection.")
    body_seconds: Seconds = Field(
        60, description="Without a byte while a request body is due; past that 408."
    )
    hosted_request_seconds: Seconds = Field(
        30, description="To send a whole request for a hosted endpoint, body and all; past that 408."
    )
    write_seconds: Seconds = Field(60, description="Without the client taking a byte of its response.")
    worker_seconds: Seconds = Field(
        30,
        description="Of `serve --workers`: a worker that has answered nothing to its parent for so long is killed and "
        "replaced.",
    )
    tunnel_seconds: Seconds = Field(300, description="Without a byte either way through a WebSocket.")
    hosted_seconds: Seconds = Field(
        10,
        description="For a place before the gateway's own endpoints (GATEWAY_LIMIT_HOSTED); past that 429 if the "
        "network has its share, else 503.",
    )
    drain_delay_seconds: float = Field(
        5,
        ge=0,
        le=3600,
        allow_inf_nan=False,
        description="After SIGTERM, unready but still accepting, until load balancers have noticed. Ctrl-C skips it.",
    )
    drain_seconds: Seconds = Field(30, description="Then, for requests, sockets and streams to finish.")


_FIELDS: dict[str, Any] = {
    row.key: (
        HeaderName if row.sent else HeaderName | None,
        Field(row.name if row.sent else None, description=row.description),
    )
    for row in HEADERS
}
_Names = create_model("_Names", __base__=Group, **_FIELDS)


class Header(_Names):
    """Names of the injected identity headers."""

    def names(self) -> dict[str, str]:
        """Return the name of each identity header that has one, by key."""
        return {key: name for key, name in self if name is not None}
