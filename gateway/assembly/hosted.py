"""Builder of the hosted application behind ``/api/auth``, which the pipeline treats as an upstream.

Laws:

- The application is imported and made when it is dialled for the first time, in a thread: other requests are served
  meanwhile, and a gateway that nobody signs in at holds none of it in memory.
- An error in its settings is raised at the start.
- After the drain no client awaits an answer. A request that is still at work has ``LAST_SECONDS`` to end, or no time
  after a second signal. Then it is cancelled, even if its client left long before.
"""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import structlog

from authcore.accounts.accounts import Accounts
from authcore.counterpart import NO_COUNTERPART
from authcore.store.circuit import ended
from config.route_plan import HOSTED_UPSTREAM
from gateway.assembly.browsers import session_cookies
from gateway.assembly.signing import identity_keys
from gateway.assembly.sso import build_sso_flow
from gateway.cookies import ACCESS
from gateway.endpoints.hosted import hosted_endpoints
from gateway.endpoints.openapi import describe_operations, of_decisions
from gateway.endpoints.services import Services
from gateway.proxy.places import PlaceLimits, Places
from gateway.proxy.upstreams import Upstream
from gateway.wire.dialler import over
from gateway.wire.pool import PoolLimits, UpstreamPool

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiohttp import web
    from aiohttp.typedefs import Handler

    from config.settings import Settings
    from gateway.assembly.domain import Domain
    from gateway.endpoints.endpoint import Endpoint, Operation
    from gateway.endpoints.openapi import Description
    from gateway.logs.verdicts import Verdicts
    from gateway.metrics import Metrics
    from gateway.wire.deadlines import Deadlines
    from gateway.wire.upstream import UpstreamConnection
    from gateway.wire.write_buffer import WriteBatch

HOSTED_IDLE_SECONDS: Final = 60
HOSTED_SECONDS: Final = 30
HOSTED_CONNECT_SECONDS: Final = 30
"""The first connection waits for the application to be imported: a second where the process has a tenth of a core."""
OUR_FIELDS: Final = 32
"""Most fields that the gateway adds to a head: identity, forwarded fields, framing."""
UNBOUNDED: Final = 1 << 30
"""Most bytes of one field: more than any. The pipeline has bounded what the client sent, and the list of permissions is
as long as the role has it."""
HOSTED_KEEPALIVE_SECONDS: Final = 3600
"""Longer than the pool's idle time, so that the pool decides when a connection closes."""
LAST_SECONDS: Final = 1.0
"""Time for hosted requests after the drain, so that a statement that commits gets its audit record."""
_LOOK_SECONDS: Final = 0.02
"""Interval at which the requests at work, and a second signal, are looked for."""
_SHUTDOWN_SECONDS: Final = 0.1
"""Time that aiohttp may wait for connections without a request. It takes 0 for no limit."""

log = structlog.get_logger()


class HostedApplication:
    """Hosted application, which is made when it is dialled for the first time."""

    def __init__(self, settings: Settings, make: Callable[[], web.Application]) -> None:
        """`make` imports and makes the aiohttp application; it is called in a thread."""
        self._settings = settings
        self._make = make
        self._making: asyncio.Task[web.AppRunner] | None = None
        self._at_work: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def dial(
        self, protocol: Callable[[], UpstreamConnection], _to: object
    ) -> tuple[asyncio.BaseTransport, UpstreamConnection]:
        """Open a connection to the application.

        Raises:
            ConnectionRefusedError: it has stopped, or cannot be made.
        """
        if self._making is None and not self._closed:
            self._making = asyncio.create_task(self._run())
        if self._making is None:
            raise ConnectionRefusedError("the hosted application has stopped")
        try:
            runner = await asyncio.shield(self._making)
        except Exception as error:
            self._making = None  # the next one tries again
            log.exception("hosted_application_failed")
            raise ConnectionRefusedError("the hosted application cannot be made") from error
        if runner.server is None:
            raise ConnectionRefusedError("the hosted application has stopped")
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        await loop.connect_accepted_socket(runner.server, theirs)
        return await over(ours, protocol)

    async def close(self, is_hurried: Callable[[], bool] = lambda: False) -> None:
        """Stop the application, if it was made; `is_hurried` returns whether the drain was hurried."""
        self._closed = True
        making, self._making = self._making, None
        if making is None:
            return
        making.cancel()
        await asyncio.wait((making,))
        if making.cancelled() or making.exception() is not None:
            return
        loop = asyncio.get_running_loop()
        until = loop.time() + LAST_SECONDS
        while self._at_work and not is_hurried() and loop.time() < until:
            await asyncio.wait([*self._at_work], timeout=_LOOK_SECONDS)
        # aiohttp forgets the handler of a lost connection, so the handlers to cancel are listed here.
        await asyncio.gather(*(ended(task) for task in self._at_work))
        await making.result().cleanup()

    async def _run(self) -> web.AppRunner:
        application = await asyncio.to_thread(self._make)
        from aiohttp import web  # noqa: PLC0415 -- the thread has imported it

        @web.middleware
        async def listed(request: web.Request, handler: Handler) -> web.StreamResponse:
            task = cast("asyncio.Task[Any]", asyncio.current_task())
            self._at_work.add(task)
            try:
                return await handler(request)
            finally:
                self._at_work.discard(task)

        application.middlewares.insert(0, listed)
        limit = self._settings.limit
        # The pipeline enforces the limits. The application must never reach limits of its own: it logs what it refuses.
        runner = web.AppRunner(
            application,
            access_log=None,
            keepalive_timeout=HOSTED_KEEPALIVE_SECONDS,
            auto_decompress=False,
            max_line_size=UNBOUNDED,
            max_field_size=UNBOUNDED,
            max_headers=limit.fields + OUR_FIELDS,
            shutdown_timeout=_SHUTDOWN_SECONDS,
        )
        await runner.setup()
        return runner


def _description(settings: Settings, endpoints: Sequence[Endpoint[Any]]) -> Description:
    operations: list[Operation] = [*endpoints]
    if settings.decision.path:
        operations += of_decisions(settings.decision.path)
    cookies = {"access": ACCESS.decode(), "header": "X-CSRF-Token"} if settings.cookies else {}
    return describe_operations(operations, cookies=cookies, password_length=settings.password.min_length)


def _services(settings: Settings, domain: Domain) -> Callable[..., Services]:
    """Return the function that makes the services from the OpenAPI document."""
    return partial(
        Services,
        accounts=Accounts(
            domain.store,
            domain.passwords,
            domain.sessions,
            domain.attempts,
            domain.invitations,
            domain.redis or NO_COUNTERPART,
            most_keys=settings.keys.per_user,
            tell=domain.identity.hear,
        ),
        sessions=domain.sessions,
        invitations=domain.invitations,
        tokens=domain.tokens,
        ring=domain.ring,
        cookies=session_cookies(settings, domain.tokens),
        clock=domain.clock,
        trail=domain.trail,
        quotas=domain.quotas,
        sso=build_sso_flow(settings, domain.sso),
        identity_keys=identity_keys(settings),
    )


def _places(settings: Settings) -> tuple[Places, PoolLimits]:
    """Build the places before the application, and a pool with as many connections."""
    limit = settings.limit
    places = PlaceLimits(
        total=limit.hosted,
        share=limit.hosted_per_network,
        waiting=limit.hosted_waiting,
        waiting_share=limit.hosted_waiting_per_network,
        seconds=settings.timeout.hosted_seconds,
    )
    connections = PoolLimits(
        connections=limit.hosted,
        pending=limit.hosted,
        idle_seconds=HOSTED_IDLE_SECONDS,
        connect_timeout_seconds=HOSTED_CONNECT_SECONDS,
    )
    return Places(places), connections


def build_hosted(  # noqa: PLR0913, PLR0917 -- what an upstream is made of, and what it leaves for the records
    settings: Settings,
    domain: Domain,
    metrics: Metrics,
    verdicts: Verdicts,
    deadlines: Deadlines,
    write_batch: WriteBatch,
) -> tuple[HostedApplication, Upstream]:
    """Build the application behind ``/api/auth``, as an upstream that is reached through a pair of sockets."""
    endpoints, services = hosted_endpoints(settings), _services(settings, domain)

    def make() -> web.Application:
        from gateway.endpoints.application import make_application  # noqa: PLC0415 -- it imports aiohttp

        return make_application(
            metrics,
            verdicts,
            services(description=_description(settings, endpoints)),
            endpoints,
            header_names=settings.header.names(),
            body_bytes=settings.limit.auth_body_bytes,
        )

    application = HostedApplication(settings, make)
    places, limits = _places(settings)
    pool = UpstreamPool(application.dial, limits, deadlines, write_batch)
    return application, Upstream(
        HOSTED_UPSTREAM,
        pool,
        head_timeout_seconds=HOSTED_SECONDS,
        body_timeout_seconds=HOSTED_SECONDS,
        meter=metrics.upstream(HOSTED_UPSTREAM),
        places=places,
    )
