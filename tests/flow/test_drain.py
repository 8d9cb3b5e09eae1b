"""SIGTERM: nothing new, everything begun is finished, exit 0. The gateway here is a process of its own."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from tests.support.calls import GET
from tests.support.peers import PATIENCE, Client, read_head
from tests.support.processes import serving

if TYPE_CHECKING:
    from tests.support.peers import Upstream


async def test_sigterm_finishes_what_is_in_flight_and_exits_0(upstream: Upstream) -> None:
    asked, release = asyncio.Event(), asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
        asked.set()
        await release.wait()
        writer.write(b"def")

    upstream.script = script
    async with serving(upstream) as (process, address, _), Client(address) as busy, Client(address) as idle:
        await busy.send(GET)
        await asked.wait()
        process.send_signal(signal.SIGTERM)
        assert await idle.closed() == b""
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    _, writer = await asyncio.open_connection(*address)
                except OSError:
                    break
                writer.close()
                await asyncio.sleep(0.02)
        assert process.returncode is None
        release.set()
        assert (await busy.response()).body == b"abcdef"
        assert await busy.closed() == b""
        assert await asyncio.wait_for(process.wait(), PATIENCE) == 0


async def test_a_request_begun_before_sigterm_is_told_to_close(upstream: Upstream) -> None:
    asked, release = asyncio.Event(), asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        asked.set()
        await release.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    upstream.script = script
    async with serving(upstream) as (process, address, _), Client(address) as client, Client(address) as idle:
        await client.send(GET)
        await asked.wait()
        process.send_signal(signal.SIGTERM)
        await idle.closed()  # it has heard the signal
        release.set()
        answer = await client.response()
        assert (answer.body, answer.one("Connection")) == (b"ok", "close")
        assert await asyncio.wait_for(process.wait(), PATIENCE) == 0


async def test_what_does_not_finish_in_time_is_dropped(upstream: Upstream) -> None:
    asked = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        asked.set()
        await reader.read()

    upstream.script = script
    async with (
        serving(upstream, GATEWAY_TIMEOUT_DRAIN_SECONDS="0.3") as (process, address, _),
        Client(address) as client,
    ):
        await client.send(GET)
        await asked.wait()
        process.send_signal(signal.SIGTERM)
        assert await client.closed() == b""
        assert await asyncio.wait_for(process.wait(), PATIENCE) == 0
