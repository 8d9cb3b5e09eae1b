"""Answers that one network takes slowly, until every connection to the upstream is held."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest

from tests.support.admin import count, metrics
from tests.support.calls import ask, get
from tests.support.peers import next_request

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.peers import Upstream
    from tests.support.worlds import Start

POOL = 16
LARGE = 8 << 20
"""More than the buffers between upstream and client hold."""


class LargeAnswers:
    """Script of an upstream whose answers at /large are large, and all others small."""

    def __init__(self) -> None:
        self._writers: list[asyncio.StreamWriter] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (request := await next_request(reader)) is not None:
            is_large = b"/large" in request.start
            size = LARGE if is_large else 2
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
            if is_large:
                self._writers.append(writer)
            await writer.drain()

    async def are_held(self, number: int) -> None:
        """Wait until so many large answers have begun, and nothing moves in them."""
        before: list[int] = []
        still = 0
        async with asyncio.timeout(60):
            while still < 20 or len(before) < number:
                await asyncio.sleep(0.01)
                left = [writer.transport.get_write_buffer_size() for writer in self._writers]
                still = still + 1 if left == before else 0
                before = left


def begin_to_take(gate: Gateway, client: str) -> socket.socket:
    """Ask for a large answer, and take nothing of it."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    one.connect(gate.address)
    one.sendall(f"GET /large HTTP/1.1\r\nHost: e\r\nX-Forwarded-For: {client}\r\n\r\n".encode())
    one.setblocking(False)
    return one


def is_reset(one: socket.socket) -> bool:
    try:
        while one.recv(1 << 20):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    return True


SLOW, OTHER = "192.0.2.1", "198.51.100.7"


async def begin(start: Start, upstream: Upstream, **bounds: float) -> tuple[Gateway, LargeAnswers]:
    upstream.script = answers = LargeAnswers()
    settings = {"connections": POOL, "connect_timeout_seconds": 30, **bounds}
    return await start(upstream=settings, trusted_proxies=["127.0.0.1/32"]), answers


@pytest.mark.parametrize("bounds", [{}, {"deadline_seconds": 60}])
async def test_an_answer_that_is_not_taken_gives_way_to_a_request_that_waits(
    start: Start, upstream: Upstream, bounds: dict[str, float]
) -> None:
    gate, answers = await begin(start, upstream, **bounds)
    with ExitStack() as stack:
        slow = [stack.enter_context(closing(begin_to_take(gate, SLOW))) for _ in range(POOL)]
        await answers.are_held(POOL)
        for _ in range(3):
            assert (await ask(gate, get("/small", f"X-Forwarded-For: {OTHER}"))).status == 200
        assert sum(map(is_reset, slow)) == 1
        drops = (await metrics(gate))["gateway_drops"]
        assert count(drops, status="499", reason="displaced") == 1


@pytest.mark.parametrize("bound", ["requests", "endpoint_requests"])
async def test_an_answer_that_is_not_taken_gives_way_in_the_breakers_bounds(
    start: Start, upstream: Upstream, bound: str
) -> None:
    """The request that found none is refused, and the next one finds a place."""
    gate, answers = await begin(start, upstream, **{f"breaker_{bound}": 8})
    with ExitStack() as stack:
        slow = [stack.enter_context(closing(begin_to_take(gate, SLOW))) for _ in range(8)]
        await answers.are_held(8)
        refused, served = [
            (await ask(gate, get("/small", f"X-Forwarded-For: {OTHER}"))).status for _ in range(2)
        ]
        assert (refused, served) == (503, 200)
        assert sum(map(is_reset, slow)) == 1


async def test_answers_are_taken_slowly_while_there_is_room(start: Start, upstream: Upstream) -> None:
    gate, answers = await begin(start, upstream)
    with ExitStack() as stack:
        slow = [stack.enter_context(closing(begin_to_take(gate, SLOW))) for _ in range(POOL - 1)]
        await answers.are_held(POOL - 1)
        for _ in range(3):
            assert (await ask(gate, get("/small"))).status == 200
        assert not any(map(is_reset, slow))


async def test_no_answer_gives_way_of_a_network_within_its_share(start: Start, upstream: Upstream) -> None:
    gate, answers = await begin(start, upstream, pending=0)
    with ExitStack() as stack:
        networks = [f"192.0.2.{number // 2}" for number in range(POOL)]
        slow = [stack.enter_context(closing(begin_to_take(gate, one))) for one in networks]
        await answers.are_held(POOL)
        assert (await ask(gate, get("/small", f"X-Forwarded-For: {OTHER}"))).status == 503
        assert not any(map(is_reset, slow))
