"""Bodies and sockets of many tiny pieces: they pass whole, and others are served between their pieces."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from gateway.wire.chunk_lines import MOST
from gateway.wire.ends import TURN_BYTES
from tests.support.peers import PATIENCE, Client, next_request, read_head
from tests.support.sockets import ASK, SWITCH

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.app import Gateway
    from tests.support.peers import Upstream

NUMBER = 40_000
HEAD = b"POST /big HTTP/1.1\r\nHost: e\r\nTransfer-Encoding: chunked\r\n\r\n"
GET = b"GET /small HTTP/1.1\r\nHost: e\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ANSWER = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"
TURNS = 40
"""Turns of the loop within which a request is answered, whatever else goes on."""
BUFFERED = 100_000
"""Chunks that were parsed before and are on their way to the upstream, in the buffers of the two sockets."""


def tiny(number: int, extension: bytes = b"") -> bytes:
    return b"".join(b"1%b\r\n%c\r\n" % (extension, 97 + n % 26) for n in range(number))


@pytest.mark.parametrize("extension", [b"", b" ; a=b"])
async def test_a_body_of_tiny_chunks_arrives_whole_and_so_does_what_follows_it(
    client: Client, upstream: Upstream, extension: bytes
) -> None:
    answer = await client.exchange(HEAD + tiny(NUMBER, extension) + LAST + GET)
    assert answer.status == 200
    assert upstream.requests[0].body == bytes(97 + n % 26 for n in range(NUMBER))
    assert (await client.response()).status == 200
    assert upstream.requests[1].start == b"GET /small HTTP/1.1"


@pytest.mark.parametrize("extension", [b"", b" ; a=b"])
@pytest.mark.parametrize("number", [MOST - 1, MOST, MOST + 1, 5 * MOST, NUMBER])
async def test_an_answer_of_tiny_chunks_arrives_whole_and_its_connection_goes_on(
    client: Client, upstream: Upstream, extension: bytes, number: int
) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await next_request(reader) is not None:
            writer.write(ANSWER + tiny(number, extension) + LAST)
            await writer.drain()

    upstream.script = script
    for _ in range(2):
        answer = await client.exchange(GET)
        assert answer.body == bytes(97 + n % 26 for n in range(number))
    assert upstream.connections == 1


async def flood_of(flood: Client, piece: bytes) -> None:
    """Send a piece again and again, until nobody takes it any more."""
    with suppress(ConnectionError):
        while True:
            await flood.send(piece)


async def is_served_between(
    gateway: Gateway, flood: Client, piece: bytes, taken: Taken, *, most: int
) -> None:
    """While a flood goes on, each of a few others is answered before the upstream has taken `most` more of it."""
    sending = asyncio.create_task(flood_of(flood, piece))
    async with asyncio.timeout(PATIENCE):
        while taken.number < taken.enough:
            await asyncio.sleep(0)
    for _ in range(5):
        async with Client(gateway.address) as other:
            before = taken.number
            assert (await other.exchange(GET)).status == 200
            assert taken.number - before <= most
    sending.cancel()


class Taken:
    """Upstream's script: it answers what is small, and counts what it takes of anything else.

    Attributes:
        number: Chunks, or bytes, that were taken so far.
        enough: Of how many on the flood is known to flow.
    """

    def __init__(self, answer: bytes, count: Callable[[bytes], int], enough: int) -> None:
        """A large request is given `answer`; `count` says how much there is in what was read."""
        self.number = 0
        self.enough = enough
        self._answer = answer
        self._count = count

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"/small" in (await read_head(reader)).start:
            writer.write(OK)
            await writer.drain()
            return
        writer.write(self._answer)
        while piece := await reader.read(1 << 20):
            self.number += self._count(piece)


async def test_a_flood_of_tiny_chunks_keeps_nobody_waiting(gateway: Gateway, upstream: Upstream) -> None:
    upstream.script = taken = Taken(b"", lambda piece: piece.count(b"\r\n") // 2, 10 * MOST)
    async with Client(gateway.address) as flood:
        await flood.send(HEAD)
        await is_served_between(gateway, flood, tiny(4 * NUMBER), taken, most=TURNS * MOST + BUFFERED)


async def test_a_flood_through_a_socket_is_read_by_turns(gateway: Gateway, upstream: Upstream) -> None:
    upstream.script = taken = Taken(SWITCH, len, 10 * TURN_BYTES)
    async with Client(gateway.address) as flood:
        await flood.send(ASK)
        assert (await read_head(flood.reader)).status == 101
        pings = b"\x89\x80abcd" * 100_000
        await is_served_between(gateway, flood, pings, taken, most=TURNS * 4 * TURN_BYTES)
