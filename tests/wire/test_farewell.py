"""Farewell of a connection: what its peer has not taken, as it is measured below TLS."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway.wire.farewell import untaken
from tests.support.at_once import connected
from tests.support.certificates import Authority
from tests.support.peers import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SIZE = 16 << 20


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():
            await asyncio.sleep(0.01)


async def test_the_untaken_measure_falls_with_every_byte_a_peer_takes_and_ends_at_0(tmp_path: Path) -> None:
    loop, authority = asyncio.get_running_loop(), Authority(tmp_path)
    made: asyncio.Future[asyncio.Transport] = loop.create_future()

    class Writer(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            made.set_result(transport)
            transport.write(b"x" * SIZE)

    server = await loop.create_server(Writer, "127.0.0.1", 0, ssl=authority.server("gateway.example"))
    address = server.sockets[0].getsockname()
    with await asyncio.to_thread(connected, address, authority.client()) as client:
        transport = await made
        await asyncio.sleep(0.3)  # the system's buffers fill
        taken = 0
        while taken < SIZE:
            before = untaken(transport)
            assert before
            enough = min(taken + (4 << 20), SIZE)
            while taken < enough:
                taken += len(await asyncio.to_thread(client.recv, 65_536))
            await until(lambda before=before: untaken(transport) < before)  # type: ignore[misc]
        await until(lambda: untaken(transport) == 0)
    server.close()
    transport.abort()
