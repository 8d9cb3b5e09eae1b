"""Builder of the hosted application behind ``/api/auth``, which the pipeline treats as an upstream."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

from aiohttp import web

from config.routes import HOSTED_UPSTREAM
from gateway.assembly.browsers import session_cookies
from gateway.assembly.signing import identity_keys
from gateway.assembly.sso import build_desk
from gateway.cookies import ACCESS
from gateway.endpoints.application import make_application
from gateway.endpoints.hosted import hosted_endpoints
from gateway.endpoints.openapi import describe_operations, of_decisions
from gateway.endpoints.services import Services
from gateway.proxy.places import PlaceLimits, Places
from gateway.proxy.upstreams import Upstream
from gateway.wire.dialler import over
from gateway.wire.pool import PoolLimits, UpstreamPool

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from config.settings import Settings
    from gateway.assembly.domain import Domain
    from gateway.endpoints.endpoint import Endpoint, Operation
    from gateway.logs.verdicts import Verdicts
    from gateway.metrics import Metrics
    from gateway.wire.deadlines import Deadlines
    from gateway.wire.upstream import UpstreamConnection
    from gateway.wire.write_buffer import WriteBuffers

HOSTED_IDLE_SECONDS, HOSTED_CONNECT_SECONDS = 60, 5
HOSTED_SECONDS = 30
OUR_HEAD_BYTES, OUR_FIELDS = 65_536, 32
"""Most bytes and fields that the gateway adds to a head: identity with every permission, forwarded fields, framing."""
HOSTED_KEEPALIVE_SECONDS = 3600
"""Longer than the pool's idle time, so that the pool decides when a connection closes."""


def _services(settings: Settings, domain: Domain, endpoints: Sequence[Endpoint[Any]]) -> Services:
    operations: list[Operation] = [*endpoints]
    if settings.decision.path:
        operations += of_decisions(settings.decision.path)
    cookies = {"access": ACCESS.decode(), "header": "X-CSRF-Token"} if settings.cookies else {}
    return Services(
        accounts=domain.accounts,
        sessions=domain.sessions,
        invitations=domain.invitations,
        tokens=domain.tokens,
        ring=domain.ring,
        cookies=session_cookies(settings, domain.tokens),
        description=describe_operations(
            operations, cookies=cookies, password_length=settings.password.min_length
        ),
        clock=domain.clock,
        trail=domain.trail,
        quotas=domain.quotas,
        sso=build_desk(settings, domain.sso),
        identity_keys=identity_keys(settings),
    )


def _places(settings: Settings) -> tuple[Places, PoolLimits]:
    """Build the places before the application, and the bounds of its pool: whoever has a place has a connection."""
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


async def build_hosted(  # noqa: PLR0913, PLR0917 -- what an upstream is made of, and what it leaves for the records
    settings: Settings,
    domain: Domain,
    metrics: Metrics,
    verdicts: Verdicts,
    deadlines: Deadlines,
    outbox: WriteBuffers,
) -> tuple[web.AppRunner, Upstream]:
    """Build the application behind ``/api/auth``, as an upstream that is reached through a pair of sockets."""
    endpoints = hosted_endpoints(settings)
    application = make_application(
        metrics,
        verdicts,
        _services(settings, domain, endpoints),
        endpoints,
        header_names=settings.header.names(),
        body_bytes=settings.limit.auth_body_bytes,
    )
    # The pipeline enforces the limits. The application must never reach limits of its own: it logs what it refuses.
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
        protocol: Callable[[], UpstreamConnection], _to: object
    ) -> tuple[asyncio.BaseTransport, UpstreamConnection]:
        if runner.server is None:
            raise ConnectionRefusedError("the hosted application has stopped")
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        await loop.connect_accepted_socket(runner.server, theirs)
        return await over(ours, protocol)

    places, limits = _places(settings)
    pool = UpstreamPool(dial, limits, deadlines, outbox)
    return runner, Upstream(
        HOSTED_UPSTREAM,
        pool,
        head_timeout_seconds=HOSTED_SECONDS,
        body_timeout_seconds=HOSTED_SECONDS,
        meter=metrics.upstream(HOSTED_UPSTREAM),
        places=places,
    )
