"""Sockets that nobody authenticates, opened by one network until nobody else can open any."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from tests.support.calls import bearer
from tests.support.peers import Client, in_time
from tests.support.sockets import ASK, auth, closed_by, echoing, frame, knock, opened

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World

MOST = 4
GIVEN_WAY = (1013, "too many, try again later")


async def begin(world: World, start: Start, most: int = MOST) -> Gateway:
    ws = {"unproven": most, "auth_seconds": 60}
    return await start(world.url, ws=ws, trusted_proxies=["127.0.0.1/32"])


async def by(gate: Gateway, client: str) -> Client:
    return await opened(gate, f"X-Forwarded-For: {client}")


async def test_the_oldest_of_the_network_with_most_gives_way_to_another_network(
    world: World, start: Start, upstream: Upstream
) -> None:
    upstream.script = echoing()
    gate = await begin(world, start)
    flood = [await by(gate, "192.0.2.1") for _ in range(MOST)]
    others = [await by(gate, f"198.51.100.{number}") for number in (7, 8)]
    assert [await in_time(closed_by(one)) for one in flood[:2]] == [GIVEN_WAY] * 2
    message = frame(auth(world.token(world.agent)))
    for client in (*others, flood[2]):  # and those that are left are served
        await client.send(message)
        await in_time(client.reader.readexactly(len(message) - 4))
    for client in (*flood, *others):
        client.writer.close()


async def test_a_network_with_most_of_them_gets_no_more(
    world: World, start: Start, upstream: Upstream
) -> None:
    upstream.script = echoing()
    gate = await begin(world, start)
    clients = [await by(gate, one) for one in ("192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.3")]
    refused, answer = await knock(gate, "X-Forwarded-For: 192.0.2.1")
    assert answer.status == 503
    message = frame(auth(world.token(world.agent)))
    for client in clients:
        await client.send(message)
        await in_time(client.reader.readexactly(len(message) - 4))
    for client in (refused, *clients):
        client.writer.close()


async def test_a_handshake_that_is_under_way_gives_way_too(
    world: World, start: Start, upstream: Upstream
) -> None:
    handshakes = 0

    async def silent_at_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal handshakes
        handshakes += 1
        await (reader.read(1 << 20) if handshakes <= MOST else echoing()(reader, writer))
        if handshakes <= MOST:
            await reader.read()

    upstream.script = silent_at_first
    gate = await begin(world, start)
    asked = ASK.replace(b"/chat", b"/ws").replace(b"Host: e", b"Host: e\r\nX-Forwarded-For: 192.0.2.1")
    async with AsyncExitStack() as stack:
        flood = [await stack.enter_async_context(Client(gate.address)) for _ in range(MOST)]
        for number, client in enumerate(flood, 1):
            await client.send(asked)
            async with asyncio.timeout(10):
                while handshakes < number:
                    await asyncio.sleep(0.01)
        other = await by(gate, "198.51.100.7")
        assert (await flood[0].response()).status == 503
        other.writer.close()


async def test_what_brings_a_credential_needs_no_place(
    world: World, start: Start, upstream: Upstream
) -> None:
    upstream.script = echoing()
    gate = await begin(world, start, most=1)
    waiting = await by(gate, "192.0.2.1")
    proven = await opened(gate, bearer(world.token(world.agent)), "X-Forwarded-For: 192.0.2.9")
    message = frame(auth(world.token(world.agent)))
    await waiting.send(message)
    await in_time(waiting.reader.readexactly(len(message) - 4))
    for client in (waiting, proven):
        client.writer.close()
