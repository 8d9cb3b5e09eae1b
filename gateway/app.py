"""The composition root: Settings -> objects -> running gateway.

Read :meth:`Gateway.start` from top to bottom: it is everything there is, in the order of dependence.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import structlog
from aiohttp import web

from authcore.accounts import Accounts
from authcore.api_keys import ApiKeys, LastUsed
from authcore.authenticate import Authenticator
from authcore.authorize import AUTHENTICATED, PUBLIC, Requirement
from authcore.keys import KeyRing
from authcore.passwords import Passwords
from authcore.principal import AuthMethod
from authcore.sessions import Sessions
from authcore.store.migrate import migrate as apply_migrations
from authcore.store.postgres import PostgresStore
from authcore.tokens import Tokens
from gateway import logs
from gateway.admin import Admin
from gateway.chores import Chores, attempt
from gateway.endpoints.application import make_application
from gateway.endpoints.auth import OPEN_PATHS, TOKEN_PATHS, AuthEndpoints
from gateway.logs import AccessLog
from gateway.metrics import Metrics
from gateway.proxy.forwarded import Origins
from gateway.proxy.headers import HeaderLaws
from gateway.proxy.pipeline import Pipeline
from gateway.proxy.routes import Pattern, Route, RouteTable
from gateway.proxy.upstreams import Upstream
from gateway.wire.deadlines import Deadlines
from gateway.wire.downstream import ClientLimits, Listener
from gateway.wire.pool import Pool, PoolLimits
from gateway.wire.tunnel import Tunnels

if TYPE_CHECKING:
    from collections.abc import Callable

    from config.settings import Settings
    from gateway.wire.upstream import UpstreamConnection

LOG_FLUSH_SECONDS = 0.2
PURGE_SECONDS = 3600
_HOSTED_POOL = PoolLimits(connections=256, pending=1024, idle_seconds=60, connect_timeout_seconds=5)
_HOSTED_HEAD_SECONDS = 30

log = structlog.get_logger()


class CannotListen(Exception):
    """An address the gateway was told to listen on is not to be had."""


class Gateway:
    """A running gateway.

    Attributes:
        address: Host and port of the public listener.
        admin_address: Host and port of the admin listener.
    """

    def __init__(self, settings: Settings) -> None:
        """Hold `settings`; use :meth:`start`."""
        self._settings = settings
        self._draining = False
        self._deadlines = Deadlines()
        self._chores = Chores()
        self.address = ("", 0)
        self.admin_address = ("", 0)

    @classmethod
    async def start(cls, settings: Settings) -> Self:
        """Build a gateway and let it listen. The database may be away: it is then unready, not dead.

        Raises:
            CannotListen: an address is in use, or is not this machine's.
        """
        self = cls(settings)
        self._deadlines.start()
        await self._build_domain()
        await self._build_hosted()
        self._build_data_plane()
        try:
            await self._listen()
        except BaseException:
            await self.stop()
            raise
        self._start_chores()
        return self

    async def _build_domain(self) -> None:
        """Store, proofs, and who is who."""
        settings = self._settings
        if settings.database.url is None or settings.jwt.secret is None:
            raise ValueError("GATEWAY_DATABASE_URL and GATEWAY_JWT_SECRET are required")
        self._store = await PostgresStore.connect(
            settings.database.url.get_secret_value(),
            pool_min=settings.database.pool_min,
            pool_max=settings.database.pool_max,
            connect_timeout_seconds=settings.database.connect_timeout_seconds,
            acquire_timeout_seconds=settings.database.acquire_timeout_seconds,
            statement_timeout_seconds=settings.database.statement_timeout_seconds,
        )
        self._tokens = Tokens(
            KeyRing(
                settings.jwt.secret.get_secret_value().encode(),
                [secret.get_secret_value().encode() for secret in settings.jwt.previous_secrets],
            ),
            issuer=settings.jwt.issuer,
            leeway_seconds=settings.jwt.leeway_seconds,
            access_seconds=settings.token.access_seconds,
            refresh_seconds=settings.token.refresh_seconds,
        )
        password = settings.password
        self._passwords = Passwords(
            min_length=password.min_length, cost=password.cost, workers=password.workers, queue=password.queue
        )
        self._sessions = Sessions(self._store, self._tokens)
        self._accounts = Accounts(self._store, self._passwords, self._sessions)
        self._last_used = LastUsed(self._store)
        self._authenticator = Authenticator(
            self._store,
            self._tokens,
            ApiKeys(self._store, self._passwords.pool, entries=settings.identity.cache_entries),
            self._last_used,
            cache_seconds=settings.identity.cache_seconds,
            cache_entries=settings.identity.cache_entries,
        )
        self._metrics = Metrics()
        self._access_log = AccessLog(enabled=settings.log.access)

    async def _build_hosted(self) -> None:
        """The application behind ``/api/auth``: an upstream that is reached through a pair of sockets."""
        settings = self._settings
        application = make_application(self._metrics, body_bytes=settings.limit.auth_body_bytes)
        AuthEndpoints(self._accounts, self._sessions, user_id_header=settings.header.user_id).add_to(
            application
        )
        self._runner = web.AppRunner(application, access_log=None, keepalive_timeout=3600)
        await self._runner.setup()
        self._hosted = Upstream(
            "gateway",
            Pool(self._dial_hosted, _HOSTED_POOL, self._deadlines),
            head_timeout_seconds=_HOSTED_HEAD_SECONDS,
            body_timeout_seconds=_HOSTED_HEAD_SECONDS,
        )

    async def _dial_hosted(
        self, protocol: Callable[[], UpstreamConnection]
    ) -> tuple[asyncio.BaseTransport, UpstreamConnection]:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        server = self._runner.server
        if server is None:
            raise ConnectionRefusedError("the hosted application has stopped")
        await loop.connect_accepted_socket(server, theirs)
        return await loop.create_unix_connection(protocol, sock=ours)

    def _build_data_plane(self) -> None:
        """Routes, pipeline, listener."""
        settings = self._settings
        limit, timeout, upstream = settings.limit, settings.timeout, settings.upstream
        url = urlsplit(upstream.url or "")
        if url.hostname is None:
            raise ValueError("GATEWAY_UPSTREAM_URL is required")
        host, port = url.hostname, url.port or 80

        async def dial(
            protocol: Callable[[], UpstreamConnection],
        ) -> tuple[asyncio.BaseTransport, UpstreamConnection]:
            return await asyncio.get_running_loop().create_connection(protocol, host, port)

        pool_limits = PoolLimits(
            connections=upstream.connections,
            pending=upstream.pending,
            idle_seconds=upstream.idle_seconds,
            connect_timeout_seconds=upstream.connect_timeout_seconds,
        )
        self._upstream = Upstream(
            "upstream",
            Pool(dial, pool_limits, self._deadlines),
            head_timeout_seconds=upstream.head_timeout_seconds,
            body_timeout_seconds=upstream.body_timeout_seconds,
        )
        tunnels = Tunnels(self._deadlines, timeout.tunnel_seconds)
        pipeline = Pipeline(
            routes=self._routes(),
            authenticator=self._authenticator,
            laws=HeaderLaws(settings.header.model_dump()),
            origins=Origins(settings.trusted_proxies),
            tunnels=tunnels,
            metrics=self._metrics,
            access_log=self._access_log,
        )
        self._listener = Listener(
            serve=pipeline.serve,
            limits=ClientLimits(
                head_bytes=limit.head_bytes,
                fields=limit.fields,
                target_bytes=limit.target_bytes,
                connections=limit.connections,
                head_seconds=timeout.head_seconds,
                idle_seconds=timeout.idle_seconds,
                body_seconds=timeout.body_seconds,
                write_seconds=timeout.write_seconds,
            ),
            deadlines=self._deadlines,
            open=set(),
        )
        watch = self._metrics.watch
        self._metrics.in_flight.set_function(lambda: pipeline.in_flight)
        watch("gateway_connections", "Client connections open.", lambda: len(self._listener.open))
        watch("gateway_upstream_connections", "Upstream connections open.", lambda: self._upstream.pool.open)
        watch("gateway_upstream_idle", "Upstream connections unused.", lambda: self._upstream.pool.idle)
        watch(
            "gateway_upstream_waiting",
            "Requests waiting for a connection.",
            lambda: self._upstream.pool.waiting,
        )
        watch("gateway_tunnels", "WebSocket tunnels open.", lambda: len(tunnels.open_now))
        watch("gateway_access_log_dropped", "Access records lost.", lambda: self._access_log.dropped)

    def _routes(self) -> RouteTable:
        settings, metrics = self._settings, self._metrics
        limit = settings.limit

        def hosted(path: str, requirement: Requirement) -> Route:
            name = path.removeprefix("/api/").replace("/", "-")
            post = frozenset({b"POST"})
            meter = metrics.route(name)
            return Route(name, requirement, self._hosted, meter, post, limit.auth_body_bytes, hosted=True)

        def forwarded(name: str, requirement: Requirement) -> Route:
            return Route(name, requirement, self._upstream, metrics.route(name), body_limit=limit.body_bytes)

        by_token = Requirement(methods=frozenset({AuthMethod.JWT, AuthMethod.COOKIE}))
        public, protected = forwarded("public", PUBLIC), forwarded("protected", AUTHENTICATED)
        rules = [(Pattern.parse(text), public) for text in settings.public_paths]
        rules += [(Pattern.parse(text), protected) for text in settings.protected_paths]
        return RouteTable(
            hosted={path: hosted(path, PUBLIC) for path in OPEN_PATHS}
            | {path: hosted(path, by_token) for path in TOKEN_PATHS},
            rules=rules,
            preflight=forwarded("preflight", PUBLIC),
        )

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        settings = self._settings
        self._access_log.start()
        host, port = _host_port(settings.listen)
        admin_host, admin_port = _host_port(settings.admin.listen)
        admin = Admin(self._metrics.registry, self._store, lambda: not self._draining)
        self._admin_runner = web.AppRunner(admin.application(), access_log=None)
        await self._admin_runner.setup()
        try:
            self._server = await loop.create_server(self._listener.protocol, host, port, backlog=2048)
        except OSError as error:
            raise CannotListen(f"GATEWAY_LISTEN={settings.listen}: {error.strerror}") from error
        try:
            await web.TCPSite(self._admin_runner, admin_host, admin_port).start()
        except OSError as error:
            self._server.close()
            raise CannotListen(f"GATEWAY_ADMIN_LISTEN={settings.admin.listen}: {error.strerror}") from error
        self.address = self._server.sockets[0].getsockname()[:2]
        self.admin_address = self._admin_runner.addresses[0][:2]

    def _start_chores(self) -> None:
        settings = self._settings

        async def flush_log() -> None:
            self._access_log.flush()

        self._chores.every(LOG_FLUSH_SECONDS, "flush_access_log", flush_log)
        self._chores.every(settings.keys.used_interval_seconds, "write_last_used", self._write_last_used)
        self._chores.every(PURGE_SECONDS, "purge_sessions", lambda: self._sessions.purge(time.time()))

    async def _write_last_used(self) -> None:
        await self._last_used.flush(time.time())

    async def stop(self) -> None:
        """Stop accepting, let what is in flight finish within the drain time, and close everything."""
        self._draining = True
        if hasattr(self, "_server"):
            self._server.close()
            self._listener.drain()
            deadline = time.monotonic() + self._settings.timeout.drain_seconds
            while self._listener.open and time.monotonic() < deadline:
                await asyncio.sleep(0.02)  # the wire knows no events of asyncio's
            self._listener.abort()
            await asyncio.sleep(0)
        await self._chores.stop()
        await attempt("write_last_used", self._write_last_used)
        for upstream in (self._upstream, self._hosted):
            upstream.pool.close()
        await self._runner.cleanup()
        if hasattr(self, "_admin_runner"):
            await self._admin_runner.cleanup()
        self._passwords.close()
        await self._store.close()
        self._deadlines.stop()
        self._access_log.stop()


def _host_port(listen: str) -> tuple[str | None, int]:
    host, _, port = listen.rpartition(":")
    return host.strip("[]") or None, int(port)


def run(settings: Settings, *, migrate: bool = False) -> int:
    """Run a gateway until SIGTERM or SIGINT; return the exit code. With `migrate`, bring the schema up first."""
    logs.configure(settings.log.level)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_run(settings, migrate=migrate))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop  # noqa: PLC0415 -- not to be had on Windows

    return uvloop.new_event_loop


async def _run(settings: Settings, *, migrate: bool) -> int:
    if migrate and settings.database.url is not None:
        for name in await apply_migrations(settings.database.url.get_secret_value()):
            log.info("migrated", migration=name)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    gateway = await Gateway.start(settings)
    log.info("listening", public=gateway.address, admin=gateway.admin_address)
    await stopping.wait()
    log.info("draining", at_most_seconds=settings.timeout.drain_seconds)
    await gateway.stop()
    log.info("stopped")
    return 0
