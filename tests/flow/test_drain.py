"""SIGTERM: nothing new, everything begun is finished, exit 0. The gateway here is a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tests.flow.conftest import NOWHERE, SECRET
from tests.flow.peers import PATIENCE, Client, read_head

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator

    from tests.flow.peers import Upstream

STARTING = 60
"""Seconds a process of its own may take to start, on a machine that is busy."""

GET = b"GET / HTTP/1.1\r\nHost: e\r\n\r\n"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        assert isinstance(port, int)
        return port


@asynccontextmanager
async def serving(
    upstream: Upstream, *arguments: str, **variables: str
) -> AsyncIterator[tuple[Process, tuple[str, int], tuple[str, int]]]:
    """Run a gateway as a process; yields it, its address and its admin address."""
    port, admin = (
        int(variables[name].rpartition(":")[2]) if name in variables else free_port()
        for name in ("GATEWAY_LISTEN", "GATEWAY_ADMIN_LISTEN")
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway",
        "serve",
        *arguments,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(sys.path),
            "GATEWAY_LISTEN": f"127.0.0.1:{port}",
            "GATEWAY_ADMIN_LISTEN": f"127.0.0.1:{admin}",
            "GATEWAY_ADMIN_HOSTS": "gateway.test",
            "GATEWAY_DATABASE_URL": NOWHERE,
            "GATEWAY_JWT_SECRET": SECRET,
            "GATEWAY_UPSTREAM_URL": f"http://127.0.0.1:{upstream.port}",
            "GATEWAY_TIMEOUT_DRAIN_DELAY_SECONDS": "0",
            **variables,
        },
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(STARTING):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    assert process.returncode is None, "the gateway did not start"
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    break
        yield process, ("127.0.0.1", port), ("127.0.0.1", admin)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


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
