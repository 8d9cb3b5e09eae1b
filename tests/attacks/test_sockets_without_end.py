"""WebSockets that one caller opens until no connection to the upstream is left for requests."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.support.admin import readings
from tests.support.calls import ask, bearer, get
from tests.support.peers import PATIENCE
from tests.support.sockets import SWITCH, opened

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World

CONNECTIONS = 2


async def begin(world: World, start: Start, upstream: Upstream) -> Gateway:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        while b"\r\nUpgrade:" not in head:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            head = await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCH)
        await reader.read()

    upstream.script = serve
    return await start(world.url, upstream={"connections": CONNECTIONS, "pending": 0})


async def test_open_sockets_keep_no_request_waiting(world: World, start: Start, upstream: Upstream) -> None:
    gate = await begin(world, start, upstream)
    token = bearer(world.token(world.agent))
    sockets = [await opened(gate, token) for _ in range(3 * CONNECTIONS)]
    for _ in range(3):
        assert (await ask(gate, get("/health"))).status == 200
    for socket in sockets:
        socket.writer.close()


async def test_the_connections_are_counted_right_when_sockets_have_ended(
    world: World, start: Start, upstream: Upstream
) -> None:
    gate = await begin(world, start, upstream)
    token = bearer(world.token(world.agent))
    for _ in range(3):
        sockets = [await opened(gate, token) for _ in range(3 * CONNECTIONS)]
        for socket in sockets:
            socket.writer.close()
        async with asyncio.timeout(PATIENCE):
            while upstream.connections:
                await asyncio.sleep(0.01)
    assert (await ask(gate, get("/health"))).status == 200
    found, of = await readings(gate), '{upstream="upstream"}'
    opened_then, closed_then = (
        found[f"gateway_upstream_connections_{one}_total{of}"] for one in ("opened", "closed")
    )
    assert (opened_then - closed_then, found[f"gateway_upstream_connections{of}"]) == (1, 1)
