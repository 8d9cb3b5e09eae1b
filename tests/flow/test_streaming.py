"""Bodies flow: at once, both ways, and in constant memory. The gateway measured is a process of its own."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.peers import PATIENCE, Client, read_head
from tests.support.processes import serving

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.peers import Upstream

GIB = 1 << 30
MIB = 1 << 20
BLOCK = bytes(range(256)) * 1024
"""256 KiB."""


def peak_bytes(pid: int) -> int:
    """The most memory the process has had resident so far."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


async def test_server_sent_events_flow_at_once(client: Client, upstream: Upstream) -> None:
    go = asyncio.Queue[bytes]()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        while event := await go.get():
            writer.write(b"%x\r\n%b\r\n" % (len(event), event))
        writer.write(b"0\r\n\r\n")

    upstream.script = script
    await client.send(b"GET /events HTTP/1.1\r\nHost: e\r\n\r\n")
    assert (await read_head(client.reader)).status == 200
    for n in range(20):
        event = b"data: %d\n\n" % n
        # The next is not sent before this one has arrived: nothing can be waiting to fill up.
        go.put_nowait(event)
        expected = b"%x\r\n%b\r\n" % (len(event), event)
        assert await asyncio.wait_for(client.reader.readexactly(len(expected)), PATIENCE) == expected
    go.put_nowait(b"")
    assert await asyncio.wait_for(client.reader.readexactly(5), PATIENCE) == b"0\r\n\r\n"


async def test_an_upload_flows_at_once(client: Client, upstream: Upstream) -> None:
    arrived = asyncio.Queue[bytes]()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        for _ in range(10):
            arrived.put_nowait(await reader.readexactly(4))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    upstream.script = script
    await client.send(b"POST / HTTP/1.1\r\nHost: e\r\nContent-Length: 40\r\n\r\n")
    for n in range(10):
        await client.send(b"%04d" % n)
        assert await asyncio.wait_for(arrived.get(), PATIENCE) == b"%04d" % n
    assert (await client.response()).status == 200


async def test_both_bodies_may_flow_at_the_same_time(client: Client, upstream: Upstream) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n")
        for _ in range(10):
            writer.write(await reader.readexactly(4))

    upstream.script = script
    await client.send(b"POST / HTTP/1.1\r\nHost: e\r\nContent-Length: 40\r\n\r\n")
    assert (await read_head(client.reader)).status == 200
    for n in range(10):
        await client.send(b"%04d" % n)
        assert await asyncio.wait_for(client.reader.readexactly(4), PATIENCE) == b"%04d" % n


async def test_a_stalled_reader_stalls_the_upstream(gateway: Gateway, upstream: Upstream) -> None:
    written = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % GIB)
        while True:
            writer.write(BLOCK)
            await writer.drain()
            written += len(BLOCK)

    upstream.script = script
    async with Client(gateway.address) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport can
        await client.send(b"GET / HTTP/1.1\r\nHost: e\r\n\r\n")
        before = -1
        async with asyncio.timeout(PATIENCE):
            while written == 0 or written != before:  # until nothing moves any more
                before = written
                await asyncio.sleep(0.3)
        assert written < 64 * MIB  # what the sockets' buffers hold, and no more


async def test_a_stalled_upstream_stalls_the_upload(gateway: Gateway, upstream: Upstream) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport can
        await asyncio.sleep(3600)

    upstream.script = script
    sent = 0
    async with Client(gateway.address) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: e\r\nContent-Length: %d\r\n\r\n" % GIB)

        async def push() -> None:
            nonlocal sent
            while True:
                await client.send(BLOCK)
                sent += len(BLOCK)

        pushing = asyncio.create_task(push())
        before = -1
        async with asyncio.timeout(PATIENCE):
            while sent == 0 or sent != before:
                before = sent
                await asyncio.sleep(0.3)
        pushing.cancel()
        client.writer.transport.abort()  # what is still to be sent will never be
        assert sent < 64 * MIB


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_gibibyte_down_grows_the_gateway_by_less_than_16_mib(
    upstream: Upstream, framing: str
) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            size = int((await read_head(reader)).start.split(b"/")[1].split()[0])
            if framing == "length":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            else:
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(size // len(BLOCK)):
                writer.write(BLOCK if framing == "length" else b"%x\r\n%b\r\n" % (len(BLOCK), BLOCK))
                await writer.drain()
            if framing == "chunked":
                writer.write(b"0\r\n\r\n")

    upstream.script = script
    async with serving(upstream) as (process, address, _):

        def download(size: int) -> int:
            got = 0
            with socket.create_connection(address, timeout=60) as sock:
                sock.sendall(b"GET /%d HTTP/1.1\r\nHost: e\r\nConnection: close\r\n\r\n" % size)
                while piece := sock.recv(MIB):
                    got += len(piece)
            return got

        assert await asyncio.to_thread(download, 32 * MIB) >= 32 * MIB  # buffers reach their size
        before = peak_bytes(process.pid)
        assert await asyncio.to_thread(download, GIB) >= GIB
        assert peak_bytes(process.pid) - before < 16 * MIB


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_gibibyte_up_grows_the_gateway_by_less_than_16_mib(upstream: Upstream, framing: str) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        message = await read_head(reader)
        size, got, digest = int(message.start.split(b"/")[1].split()[0]), 0, hashlib.blake2b()
        while got < size:
            if framing == "length":
                piece = await reader.read(MIB)
            else:
                length = int(await reader.readuntil(b"\r\n"), 16)
                piece = (await reader.readexactly(length + 2))[:-2]
            got += len(piece)
            digest.update(piece)
        body = digest.hexdigest().encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    upstream.script = script
    async with serving(upstream) as (process, address, _):

        def upload(size: int) -> bytes:
            digest = hashlib.blake2b()
            with socket.create_connection(address, timeout=60) as sock:
                head = b"POST /%d HTTP/1.1\r\nHost: e\r\nConnection: close\r\n" % size
                chunked = framing == "chunked"
                length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % size
                sock.sendall(head + length + b"\r\n\r\n")
                for _ in range(size // len(BLOCK)):
                    sock.sendall(b"%x\r\n%b\r\n" % (len(BLOCK), BLOCK) if chunked else BLOCK)
                    digest.update(BLOCK)
                if chunked:
                    sock.sendall(b"0\r\n\r\n")
                answer = b""
                while piece := sock.recv(MIB):
                    answer += piece
            assert answer.endswith(digest.hexdigest().encode()), "the body changed on its way"
            return answer

        await asyncio.to_thread(upload, 32 * MIB)
        before = peak_bytes(process.pid)
        await asyncio.to_thread(upload, GIB)
        assert peak_bytes(process.pid) - before < 16 * MIB
