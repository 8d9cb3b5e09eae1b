"""Upstreams that are proxied."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gateway.proxy.upstreams import Upstream
from gateway.wire.pool import Pool, PoolLimits

if TYPE_CHECKING:
    from collections.abc import Callable

    from config.settings import Settings
    from gateway.wire.deadlines import Deadlines
    from gateway.wire.pool import Dial
    from gateway.wire.upstream import UpstreamConnection


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
