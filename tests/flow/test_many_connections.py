"""Many connections at once: what an idle one costs, and how many one address may have."""

from __future__ import annotations

import asyncio
import resource
import socket
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.peers import PATIENCE, Client, read_head
from tests.support.processes import serving

if TYPE_CHECKING:
    from tests.support.peers import Upstream
    from tests.support.worlds import Start

GET = b"GET / HTTP/1.1\r\nHost: e\r\nAccept: text/html\r\nUser-Agent: a browser of some length/1.0\r\n\r\n"
IDLE = 5000
KIB = 1024


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


async def test_5000_idle_connections_cost_at_most_20_kib_each(upstream: Upstream) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = IDLE + 500
    assert hard >= needed, f"this test needs {needed} open files; the hard limit here is {hard}"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))  # the gateway inherits it
    with ExitStack() as held:
        held.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        variables: dict[str, Any] = {"GATEWAY_LIMIT_CONNECTIONS_PER_ADDRESS": "0"}
        async with serving(upstream, **variables) as (process, address, _):

            def use(sock: socket.socket) -> None:
                sock.sendall(GET)
                piece = b""
                while not piece.endswith(b"}"):
                    piece = sock.recv(65536)
                    assert piece, "the gateway closed it"

            def open_all(number: int) -> list[socket.socket]:
                opened = []
                for _ in range(number):
                    sock = held.enter_context(socket.create_connection(address, timeout=PATIENCE))
                    use(sock)  # kept alive, and idle from here on
                    opened.append(sock)
                return opened

            await asyncio.to_thread(open_all, 100)
            before = resident_bytes(process.pid)
            idle = await asyncio.to_thread(open_all, IDLE)
            each = (resident_bytes(process.pid) - before) / IDLE
            assert each <= 20 * KIB, f"{each / KIB:.1f} KiB each"
            await asyncio.to_thread(use, idle[0])  # and they are still served


async def test_one_address_has_its_share_and_no_more(start: Start, upstream: Upstream) -> None:
    gateway = await start(limit={"connections_per_address": 2})
    async with Client(gateway.address) as one, Client(gateway.address) as two:
        assert (await one.exchange(GET)).status == 200
        assert (await two.exchange(GET)).status == 200
        async with Client(gateway.address) as three:
            refusal = await three.response()
            assert (refusal.status, refusal.one("Connection")) == (503, "close")
    async with Client(gateway.address) as four:  # they left, and are not counted any more
        assert (await four.exchange(GET)).status == 200


async def test_one_address_cannot_use_up_the_connections_of_all(
    start: Start,
) -> None:
    # Those too many stay for a moment, until they have read why; they count against nobody.
    gateway = await start(limit={"connections": 4, "connections_per_address": 2})
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(Client(gateway.address))
        for _ in range(6):
            refused = await stack.enter_async_context(Client(gateway.address))
            assert (await refused.response()).status == 503
        reader, writer = await asyncio.open_connection(*gateway.address, local_addr=("127.0.0.2", 0))
        writer.write(GET)
        assert (await read_head(reader)).status == 200
        writer.close()


async def test_a_trusted_proxy_may_have_any_number(start: Start) -> None:
    gateway = await start(limit={"connections_per_address": 1}, trusted_proxies=("127.0.0.0/8",))
    async with Client(gateway.address) as one, Client(gateway.address) as two:
        assert (await one.exchange(GET)).status == 200
        assert (await two.exchange(GET)).status == 200
