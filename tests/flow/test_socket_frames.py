"""The Close frames that the gateway writes itself, held to the byte."""

from __future__ import annotations

import asyncio
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from tests.support.calls import bearer
from tests.support.peers import PATIENCE, Client, read_head
from tests.support.sockets import ASK, SWITCH

if TYPE_CHECKING:
    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World


def text(content: bytes) -> bytes:
    """An unmasked text frame."""
    head = struct.pack("!BBH", 0x81, 126, len(content)) if len(content) > 125 else bytes((0x81, len(content)))
    return head + content


CLOSE_4401 = b"\x88\x12" + (4401).to_bytes(2, "big") + b"account disabled"


class Raw:
    """A socket by hand: what the upstream sends and receives is up to the test."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self.received = b""
        self.ended = asyncio.Event()

    async def script(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        self.writer = writer
        writer.write(SWITCH)
        self.ready.set()
        with suppress(ConnectionError):
            while piece := await reader.read(65536):
                self.received += piece
        self.ended.set()


async def raw_socket(world: World, start: Start, upstream: Upstream) -> tuple[Client, Raw]:
    raw = Raw()
    upstream.script = raw.script
    gate = await start(world.url, timeout={"drain_seconds": 0.1})
    client = await Client(gate.address).__aenter__()
    line = f"Host: e\r\n{bearer(world.token(world.agent))}\r\n".encode()
    await client.send(ASK.replace(b"/chat", b"/api/ws").replace(b"Host: e\r\n", line))
    assert (await read_head(client.reader)).status == 101
    await asyncio.wait_for(raw.ready.wait(), PATIENCE)
    return client, raw


async def disable(world: World) -> None:
    await world.sql("UPDATE users SET is_active = false WHERE id = $1", world.agent)


def unmasked(frame: bytes) -> bytes:
    key, payload = frame[2:6], frame[6:]
    return bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))


async def test_both_sides_get_one_close_frame_and_nothing_behind_it(
    world: World, start: Start, upstream: Upstream
) -> None:
    client, raw = await raw_socket(world, start, upstream)
    raw.writer.write(text(b"before"))
    assert await client.reader.readexactly(8) == text(b"before")
    await disable(world)
    assert await client.reader.readexactly(len(CLOSE_4401)) == CLOSE_4401
    raw.writer.write(text(b"after"))
    await client.send(b"\x81\x85abcd12345")  # a frame that crossed ours
    await client.send(b"\x88\x80abcd")  # the answer
    assert await client.closed() == b""
    await asyncio.wait_for(raw.ended.wait(), PATIENCE)
    assert raw.received[:2] == b"\x88\x82"
    assert unmasked(raw.received) == (1001).to_bytes(2, "big")
    client.writer.close()


async def test_a_frame_under_way_comes_whole_before_the_close(
    world: World, start: Start, upstream: Upstream
) -> None:
    client, raw = await raw_socket(world, start, upstream)
    message = text(b"x" * 5000)
    raw.writer.write(message[:2000])
    assert await client.reader.readexactly(2000) == message[:2000]
    await disable(world)
    async with asyncio.timeout(PATIENCE):
        while not raw.received:  # the upstream's Close, since nothing is under way to it
            await asyncio.sleep(0.01)
    raw.writer.write(message[2000:] + text(b"not this"))
    assert await client.reader.readexactly(len(message) - 2000) == message[2000:]
    assert await client.reader.readexactly(len(CLOSE_4401)) == CLOSE_4401
    await client.send(b"\x88\x80abcd")
    assert await client.closed() == b""
    client.writer.close()


async def test_a_frame_that_does_not_end_is_dropped(world: World, start: Start, upstream: Upstream) -> None:
    client, raw = await raw_socket(world, start, upstream)
    raw.writer.write(text(b"x" * 5000)[:2000])
    await client.reader.readexactly(2000)
    await disable(world)
    assert await client.closed() == b""
    await asyncio.wait_for(raw.ended.wait(), PATIENCE)
    client.writer.close()


async def test_the_upstream_gets_its_close_at_the_end_of_the_clients_frame(
    world: World, start: Start, upstream: Upstream
) -> None:
    client, raw = await raw_socket(world, start, upstream)
    frame = b"\x81\xfe\x01\x2cabcd" + b"y" * 300
    await client.send(frame[:100])
    await disable(world)
    assert await client.reader.readexactly(len(CLOSE_4401)) == CLOSE_4401
    await client.send(frame[100:] + b"\x88\x80abcd")
    assert await client.closed() == b""
    await asyncio.wait_for(raw.ended.wait(), PATIENCE)
    assert raw.received[: len(frame)] == frame
    assert unmasked(raw.received[len(frame) :]) == (1001).to_bytes(2, "big")
    client.writer.close()


async def test_a_client_that_does_not_answer_is_hung_up_on(
    world: World, start: Start, upstream: Upstream
) -> None:
    client, raw = await raw_socket(world, start, upstream)
    await disable(world)
    assert await client.closed() == CLOSE_4401
    await asyncio.wait_for(raw.ended.wait(), PATIENCE)
    client.writer.close()


async def test_a_client_that_does_not_read_is_dropped(world: World, start: Start, upstream: Upstream) -> None:
    client, raw = await raw_socket(world, start, upstream)
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport can
    frame, written = b"\x82\x7f" + (1 << 20).to_bytes(8, "big") + bytes(1 << 20), 0
    while True:
        raw.writer.write(frame)
        try:
            await asyncio.wait_for(raw.writer.drain(), 0.5)
        except TimeoutError:
            break
        written += 1
        assert written < 500
    await disable(world)
    await asyncio.wait_for(raw.ended.wait(), PATIENCE)
    client.writer.transport.abort()


async def test_a_socket_that_is_closing_already_gets_no_second_close(
    world: World, start: Start, upstream: Upstream
) -> None:
    client, raw = await raw_socket(world, start, upstream)
    raw.writer.write(b"\x88\x02\x03\xe8")
    assert await client.reader.readexactly(4) == b"\x88\x02\x03\xe8"
    await disable(world)
    assert await client.closed() == b""
    client.writer.close()
