"""Settings -> the parts of a gateway, each from those before it. Here nothing runs; ``app.py`` starts and stops."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web

from authcore.accounts import Accounts
from authcore.api_keys import derive_secret
from authcore.authorize import AUTHENTICATED, PUBLIC, Requirement
from authcore.identity import Identity
from authcore.keys import KeyRing
from authcore.memory import Limits
from authcore.passwords import Passwords
from authcore.principal import AuthMethod
from authcore.sessions import Sessions
from authcore.store.postgres import PostgresStore
from authcore.tokens import Tokens
from gateway.endpoints.api_keys import COLLECTION, PERMISSIONS, ApiKeyEndpoints
from gateway.endpoints.application import make_application
from gateway.endpoints.auth import OPEN_PATHS, TOKEN_PATHS, AuthEndpoints
from gateway.proxy.forward import Forwarder
from gateway.proxy.forwarded import Origins
from gateway.proxy.headers import HeaderLaws
from gateway.proxy.pipeline import Pipeline
from gateway.proxy.record import Recorder
from gateway.proxy.routes import Pattern, Route, RouteTable, of_method
from gateway.proxy.upstreams import Upstream
from gateway.wire.listener import ClientLimits, Listener
from gateway.wire.pool import Pool, PoolLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from config.settings import Settings
    from gateway.logs import AccessLog
    from gateway.metrics import Metrics
    from gateway.wire.deadlines import Deadlines
    from gateway.wire.pool import Dial
    from gateway.wire.tunnel import Tunnels
    from gateway.wire.upstream import UpstreamConnection

HOSTED_POOL = PoolLimits(connections=256, pending=1024, idle_seconds=60, connect_timeout_seconds=5)
HOSTED_SECONDS = 30
TICKET_PATH = "/ws"
"""The one path where a token may stand in the query, unless it is made public."""
OUR_HEAD_BYTES, OUR_FIELDS = 65_536, 32
"""What the gateway adds to a head, at most: identity with every permission there is, forwarded fields, framing."""
HOSTED_KEEPALIVE_SECONDS = 3600
"""The hosted application keeps its connections longer than the pool does: the pool decides."""


@dataclass(frozen=True, slots=True)
class Domain:
    """Store, proofs, and who is who."""

    store: PostgresStore
    tokens: Tokens
    passwords: Passwords
    sessions: Sessions
    accounts: Accounts
    identity: Identity


async def build_domain(settings: Settings) -> Domain:
    """Build the auth domain on its database, which may be away.

    Raises:
        ValueError: a setting is missing that only a gateway needs.
    """
    database, password = settings.database, settings.password
    if database.url is None or settings.jwt.secret is None:
        raise ValueError("GATEWAY_DATABASE_URL and GATEWAY_JWT_SECRET are required")
    store = await PostgresStore.connect(
        database.url.get_secret_value(),
        pool_min=database.pool_min,
        pool_max=database.pool_max,
        connect_timeout_seconds=database.connect_timeout_seconds,
        acquire_timeout_seconds=database.acquire_timeout_seconds,
        statement_timeout_seconds=database.statement_timeout_seconds,
    )
    ring = KeyRing(
        settings.jwt.secret.get_secret_value().encode(),
        [secret.get_secret_value().encode() for secret in settings.jwt.previous_secrets],
    )
    tokens = Tokens(
        ring,
        issuer=settings.jwt.issuer,
        leeway_seconds=settings.jwt.leeway_seconds,
        access_seconds=settings.token.access_seconds,
        refresh_seconds=settings.token.refresh_seconds,
    )
    passwords = Passwords(
        min_length=password.min_length, cost=password.cost, workers=password.workers, queue=password.queue
    )
    sessions = Sessions(store, tokens)
    accounts = Accounts(store, passwords, sessions)
    key_secret = settings.keys.secret or settings.jwt.secret
    identity = Identity(
        store,
        tokens,
        passwords.pool,
        url=database.url.get_secret_value(),
        connect_timeout_seconds=database.connect_timeout_seconds,
        limits=Limits(**settings.identity.model_dump()),
        key_secret=derive_secret(key_secret.get_secret_value().encode()),
    )
    return Domain(store, tokens, passwords, sessions, accounts, identity)


async def build_hosted(
    settings: Settings, domain: Domain, metrics: Metrics, deadlines: Deadlines
) -> tuple[web.AppRunner, Upstream]:
    """Build the application behind ``/api/auth``: an upstream that is reached through a pair of sockets."""
    application = make_application(metrics, body_bytes=settings.limit.auth_body_bytes)
    headers = settings.header
    AuthEndpoints(domain.accounts, domain.sessions, user_id_header=headers.user_id).add_to(application)
    ApiKeyEndpoints(domain.accounts, user_id_header=headers.user_id, org_id_header=headers.org_id).add_to(
        application
    )
    # The pipeline has kept the limits already; the application's own must never be met, for it logs what it refuses.
    runner = web.AppRunner(
        application,
        access_log=None,
        keepalive_timeout=HOSTED_KEEPALIVE_SECONDS,
        auto_decompress=False,
        max_line_size=settings.limit.head_bytes + OUR_HEAD_BYTES,
        max_field_size=settings.limit.head_bytes + OUR_HEAD_BYTES,
        max_headers=settings.limit.fields + OUR_FIELDS,
    )
    await runner.setup()

    async def dial(
        protocol: Callable[[], UpstreamConnection],
    ) -> tuple[asyncio.BaseTransport, UpstreamConnection]:
        if runner.server is None:
            raise ConnectionRefusedError("the hosted application has stopped")
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        await loop.connect_accepted_socket(runner.server, theirs)
        return await loop.create_unix_connection(protocol, sock=ours)

    pool = Pool(dial, HOSTED_POOL, deadlines)
    return runner, Upstream(
        "gateway", pool, head_timeout_seconds=HOSTED_SECONDS, body_timeout_seconds=HOSTED_SECONDS
    )


def build_upstream(settings: Settings, deadlines: Deadlines) -> Upstream:
    """Build the upstream that is proxied.

    Raises:
        ValueError: no URL is set.
    """
    upstream = settings.upstream
    limits = PoolLimits(
        connections=upstream.connections,
        pending=upstream.pending,
        idle_seconds=upstream.idle_seconds,
        connect_timeout_seconds=upstream.connect_timeout_seconds,
    )
    return Upstream(
        "upstream",
        Pool(_dial_tcp(upstream.url or ""), limits, deadlines),
        head_timeout_seconds=upstream.head_timeout_seconds,
        body_timeout_seconds=upstream.body_timeout_seconds,
    )


def _dial_tcp(url: str) -> Dial:
    parts = urlsplit(url)
    if parts.hostname is None:
        raise ValueError("GATEWAY_UPSTREAM_URL is required")
    host, port = parts.hostname, parts.port or 80

    async def dial(
        protocol: Callable[[], UpstreamConnection],
    ) -> tuple[asyncio.BaseTransport, UpstreamConnection]:
        return await asyncio.get_running_loop().create_connection(protocol, host, port)

    return dial


def build_routes(settings: Settings, metrics: Metrics, upstream: Upstream, hosted: Upstream) -> RouteTable:
    """Build the table: what the gateway hosts, and the path settings' public and protected rest."""
    limit = settings.limit

    def here(path: str, requirement: Requirement) -> Route:
        name = path.removeprefix("/api/").replace("/", "-")
        return Route(
            name,
            requirement,
            hosted,
            metrics.route(name),
            methods=frozenset({b"POST"}),
            body_limit=limit.auth_body_bytes,
            hosted=True,
        )

    def there(name: str, requirement: Requirement) -> Route:
        return Route(name, requirement, upstream, metrics.route(name), body_limit=limit.body_bytes)

    by_token = Requirement(methods=frozenset({AuthMethod.JWT, AuthMethod.COOKIE}))
    public, protected = there("public", PUBLIC), there("protected", AUTHENTICATED)
    rules = [(Pattern.parse(text), public) for text in settings.public_paths]
    rules += [(Pattern.parse(text), protected) for text in settings.protected_paths]
    if TICKET_PATH not in settings.public_paths:
        socket_route = replace(there("ws", AUTHENTICATED), tickets=True)
        rules.append((Pattern.parse(TICKET_PATH), socket_route))
    ours: dict[str, Route | Sequence[Route]] = {path: here(path, PUBLIC) for path in OPEN_PATHS}
    ours |= {path: here(path, by_token) for path in TOKEN_PATHS}
    if settings.keys.hosted:
        # Not bound to the credential's organization: the caller may ask for another one, as of any upstream.
        free = replace(here(COLLECTION, AUTHENTICATED), hosted=False)
        for path, permissions in PERMISSIONS.items():
            ours[path] = [
                replace(
                    free, requirement=Requirement(all_of=frozenset({permission})), methods=of_method(method)
                )
                for method, permission in permissions.items()
            ]
    return RouteTable(
        hosted=ours,
        rules=rules,
        preflight=there("preflight", PUBLIC),
    )


def build_pipeline(  # noqa: PLR0913 -- the parts it is made of
    settings: Settings,
    domain: Domain,
    *,
    routes: RouteTable,
    tunnels: Tunnels,
    metrics: Metrics,
    access_log: AccessLog,
) -> Pipeline:
    """Build the path of a request."""
    return Pipeline(
        routes=routes,
        authenticator=domain.identity.authenticator,
        laws=HeaderLaws(settings.header.model_dump()),
        origins=Origins(settings.trusted_proxies),
        forwarder=Forwarder(tunnels),
        recorder=Recorder(metrics, access_log),
        metrics=metrics,
    )


def build_listener(settings: Settings, pipeline: Pipeline, deadlines: Deadlines) -> Listener:
    """Build the public listener's side of its connections."""
    limit, timeout = settings.limit, settings.timeout
    limits = ClientLimits(
        head_bytes=limit.head_bytes,
        fields=limit.fields,
        target_bytes=limit.target_bytes,
        connections=limit.connections,
        connections_per_address=limit.connections_per_address,
        head_seconds=timeout.head_seconds,
        idle_seconds=timeout.idle_seconds,
        body_seconds=timeout.body_seconds,
        write_seconds=timeout.write_seconds,
    )
    trusts = Origins(settings.trusted_proxies).trusts
    return Listener(serve=pipeline.serve, limits=limits, deadlines=deadlines, exempt=trusts)


def publish_gauges(  # noqa: PLR0913, PLR0917 -- who keeps numbers
    metrics: Metrics,
    domain: Domain,
    pipeline: Pipeline,
    listener: Listener,
    upstream: Upstream,
    tunnels: Tunnels,
) -> None:
    """Let the numbers that others keep be read when the metrics are scraped."""
    pool = upstream.pool
    for part, figures in domain.identity.figures().items():
        for figure in figures:
            publish = metrics.tally if figure.counts else metrics.watch
            publish(f"gateway_{part}_{figure.name}", figure.meaning, figure.read)
    metrics.in_flight.set_function(lambda: pipeline.in_flight)
    metrics.watch("gateway_connections", "Client connections open.", lambda: len(listener.open))
    metrics.watch("gateway_connections_idled", "Client connections closed as idle.", lambda: listener.idled)
    metrics.watch("gateway_tunnels", "WebSocket tunnels open.", lambda: len(tunnels.open_now))
    metrics.watch("gateway_upstream_connections", "Upstream connections open.", lambda: pool.open)
    metrics.watch("gateway_upstream_idle", "Upstream connections unused.", lambda: pool.idle)
    metrics.watch("gateway_upstream_waiting", "Requests waiting for a connection.", lambda: pool.waiting)
