"""Upstreams that close behind their answers: what the socket already holds is looked at before it is given up."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.support.admin import admin
from tests.support.peers import PATIENCE, Client, read_body, read_head

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.app import Gateway
    from tests.support.peers import Upstream
    from tests.support.worlds import Start

PAIRS = 40
UPLOADS = 60
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"


def answering_once(
    served: list[bytes], keeps: int = 1
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """An upstream that closes behind its answer without announcing it; answer and FIN leave in one packet."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for left in reversed(range(keeps)):
            request = await read_head(reader)
            body = await read_body(reader, request, until_close=False)
            method = request.start.split(b" ")[0]
            served.append(method + b" " + body)
            if not left:
                made: socket.socket = writer.get_extra_info("socket")
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
            writer.write(OK % (2, b"" if method == b"HEAD" else b"ok"))
            await writer.drain()

    return serve


@pytest.mark.parametrize("first", [b"GET", b"HEAD"])
async def test_a_post_behind_an_answer_whose_upstream_has_closed_is_answered(
    start: Start, upstream: Upstream, first: bytes
) -> None:
    served: list[bytes] = []
    upstream.script = answering_once(served)
    gateway = await start(public=("/*",))
    statuses = []
    for number in range(PAIRS):
        body = b"%d" % number
        async with Client(gateway.address) as client:
            await client.send(
                first + b" / HTTP/1.1\r\nHost: e\r\n\r\n"
                b"POST / HTTP/1.1\r\nHost: e\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            one = await client.response(head_only=first == b"HEAD")
            statuses.append((one.status, (await client.response()).status))
    assert statuses == [(200, 200)] * PAIRS
    # Each once.
    assert served == [line for number in range(PAIRS) for line in (first + b" ", b"POST %d" % number)]


KEY = b"POST / HTTP/1.1\r\nHost: e\r\nIdempotency-Key: k\r\nContent-Length: 2\r\n\r\nhi"
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: e\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest.mark.parametrize(
    ("when", "second"),
    [
        ("off", b"GET / HTTP/1.1\r\nHost: e\r\n\r\n"),
        ("503", b"GET / HTTP/1.1\r\nHost: e\r\n\r\n"),
        ("503", KEY),
        ("reset", HANDSHAKE),
    ],
    ids=["off", "status", "status-with-key", "handshake"],
)
async def test_what_a_policy_does_not_repeat_after_a_closed_connection_is_not_put_on_one(
    start: Start, upstream: Upstream, when: str, second: bytes
) -> None:
    served: list[bytes] = []
    upstream.script = answering_once(served)
    gateway = await start(
        public=("/*",), upstream={"retry_when": (when,), "retry_repeat": ("idempotency-key",)}
    )
    statuses = []
    for _ in range(PAIRS):
        async with Client(gateway.address) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: e\r\n\r\n" + second)
            statuses.append(((await client.response()).status, (await client.response()).status))
    assert statuses == [(200, 200)] * PAIRS
    assert len(served) == 2 * PAIRS


async def test_a_body_that_outgrows_its_store_is_not_put_on_a_closed_connection(
    start: Start, upstream: Upstream
) -> None:
    served: list[bytes] = []
    upstream.script = answering_once(served)
    policy = {"retry_when": ("stale", "503"), "retry_repeat": ("idempotent",), "retry_body_bytes": 10}
    gateway = await start(public=("/*",), upstream=policy)
    put = b"PUT / HTTP/1.1\r\nHost: e\r\nTransfer-Encoding: chunked\r\n\r\n14\r\n%b\r\n0\r\n\r\n" % (
        b"x" * 20
    )
    statuses = []
    for _ in range(PAIRS):
        async with Client(gateway.address) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: e\r\n\r\n" + put)
            statuses.append(((await client.response()).status, (await client.response()).status))
    assert statuses == [(200, 200)] * PAIRS
    assert len(served) == 2 * PAIRS


async def test_a_post_that_waited_for_a_connection_is_not_put_on_a_closed_one(
    start: Start, upstream: Upstream
) -> None:
    served: list[bytes] = []
    upstream.script = answering_once(served)
    gateway = await start(public=("/*",), upstream={"connections": 1})

    async def post(number: int) -> int:
        body = b"%d" % number
        async with Client(gateway.address) as client:
            head = b"POST / HTTP/1.1\r\nHost: e\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
            return (await client.exchange(head)).status

    assert await asyncio.gather(*(post(number) for number in range(PAIRS))) == [200] * PAIRS
    assert sorted(served) == sorted(b"POST %d" % number for number in range(PAIRS))


def closing_later(
    served: list[int], keeps: int
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """An upstream that closes some time behind its last answer; `served` gets how many each connection was sent."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        place = len(served)
        served.append(0)
        for _ in range(keeps):
            request = await read_head(reader)
            await read_body(reader, request, until_close=False)
            served[place] += 1
            writer.write(OK % (2, b"ok"))
        await asyncio.sleep(IN_FLIGHT)  # as long as the close is on its way

    return serve


async def metrics_of(gateway: Gateway) -> bytes:
    return (await admin(gateway, "/metrics")).body


POST = b"POST / HTTP/1.1\r\nHost: e\r\nContent-Length: 5\r\n\r\nhello"
GET = b"GET / HTTP/1.1\r\nHost: e\r\n\r\n"
IN_FLIGHT = 0.03


async def statuses_of(client: Client, requests: list[bytes]) -> list[int]:
    await client.send(b"".join(requests))
    return [(await client.response()).status for _ in requests]


async def test_posts_behind_answers_whose_close_is_on_its_way_are_answered(
    start: Start, upstream: Upstream
) -> None:
    served: list[int] = []
    upstream.script = closing_later(served, keeps=1)
    gateway = await start(public=("/*",))
    for _ in range(5):
        async with Client(gateway.address) as client:
            assert await statuses_of(client, [POST] * 5) == [200] * 5
    assert served == [1] * 25, "each once, on a connection of its own"


async def test_an_upstream_that_closes_behind_a_number_of_answers_is_expected_to(
    start: Start, upstream: Upstream
) -> None:
    served: list[int] = []
    upstream.script = closing_later(served, keeps=3)
    gateway = await start(public=("/*",))
    async with Client(gateway.address) as client:
        assert await statuses_of(client, [GET] * 3) == [200] * 3
        async with asyncio.timeout(PATIENCE):
            while b'gateway_upstream_connections{upstream="upstream"} 0.0' not in await metrics_of(gateway):
                await asyncio.sleep(0.01)
        for _ in range(5):
            assert await statuses_of(client, [GET, GET, POST, POST]) == [200] * 4


async def test_an_upstream_that_keeps_connections_is_sent_posts_on_few(
    start: Start, upstream: Upstream
) -> None:
    gateway = await start(public=("/*",))
    async with Client(gateway.address) as client:
        assert await statuses_of(client, [GET, GET, *[POST] * 20]) == [200] * 22
    assert len(upstream.raw) == 1
    fresh = await start(public=("/*",))
    async with Client(fresh.address) as client:
        assert await statuses_of(client, [POST] * 60) == [200] * 60
    assert len(upstream.raw) < 40, "what is not known is found out by a few connections"


async def test_an_answer_before_the_end_of_an_upload_reaches_a_client_that_writes_before_it_reads(
    start: Start, upstream: Upstream
) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 9\r\n\r\ntoo large")
        await writer.drain()  # and close, with the body unread: the kernel resets the connection

    upstream.script = refuse
    gateway = await start(public=("/*",))
    answers = []
    for _ in range(UPLOADS):
        async with Client(gateway.address) as client:
            with suppress(ConnectionError):
                await client.send(
                    b"POST / HTTP/1.1\r\nHost: e\r\nContent-Length: 1048576\r\n\r\n" + b"x" * 1_048_576
                )
            answer = await client.response()
            answers.append((answer.status, answer.body))
    assert answers == [(413, b"too large")] * UPLOADS
