"""Limits: everything that a client can send without end is bounded."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING

import pytest

from tests.support.admin import readings
from tests.support.calls import get, is_refusal, request
from tests.support.peers import PATIENCE, Client
from tests.support.processes import eventually

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.peers import Upstream
    from tests.support.worlds import Start


PIECE = 4096
MUCH = 8 << 20


async def flood(client: Client, begin: bytes, piece: bytes, *, most: int = MUCH) -> int:
    """Send `piece` after `begin`, until the gateway takes no more or `most` bytes are sent; return how many were."""
    sent = 0
    client.writer.write(begin)
    try:
        while sent < most:
            client.writer.write(piece)
            await asyncio.wait_for(client.writer.drain(), 2)
            sent += len(piece)
            await asyncio.sleep(0)
            if client.reader._buffer:  # type: ignore[attr-defined]  # noqa: SLF001 -- an answer is there: no need to go on
                break
    except (TimeoutError, ConnectionError):
        pass
    return sent


# -- heads ------------------------------------------------------------------------------------------------------


async def test_a_head_of_32_kib_is_the_most(client: Client, gateway: Gateway, upstream: Upstream) -> None:
    room = 32_768 - len(get("/health", "X-A: "))
    assert (await client.exchange(get("/health", f"X-A: {'a' * (room - 8)}"))).status == 200
    for lines in (
        (f"X-A: {'a' * 32_768}",),
        tuple(f"X-{n}: {'a' * 500}" for n in range(70)),
        (f"{'N' * 33_000}: a",),
    ):
        async with Client(gateway.address) as other:
            is_refusal(await other.exchange(get("/health", *lines)), 431)
    assert len(upstream.requests) == 1


async def test_100_fields_are_the_most(client: Client, upstream: Upstream) -> None:
    assert (await client.exchange(get("/health", *(f"X-{n}: a" for n in range(99))))).status == 200
    is_refusal(await client.exchange(get("/health", *(f"X-{n}: a" for n in range(100)))), 431)
    assert len(upstream.requests) == 1


async def test_a_target_of_8_kib_is_the_most(client: Client, upstream: Upstream) -> None:
    assert (await client.exchange(get("/" + "a" * 8191))).status == 200
    is_refusal(await client.exchange(get("/" + "a" * 8192)), 414)
    assert len(upstream.requests) == 1


async def test_the_limits_are_settings(start: Start, upstream: Upstream) -> None:
    gate = await start(limit={"head_bytes": 1024, "fields": 8, "target_bytes": 64, "body_bytes": 10})
    for status, raw in (
        (431, get("/health", f"X-A: {'a' * 1024}")),
        (431, get("/health", *(f"X-{n}: a" for n in range(8)))),
        (414, get("/" + "a" * 64)),
        (413, request("POST", "/health", body=b"x" * 11)),
        (413, request("POST", "/health", "Transfer-Encoding: chunked") + b"b\r\nhello world\r\n0\r\n\r\n"),
        (200, request("POST", "/health", body=b"x" * 10)),
    ):
        async with Client(gate.address) as client:
            assert (await client.exchange(raw)).status == status
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    ("begin", "piece", "status"),
    [
        (b"GET /", b"a" * PIECE, 414),
        (b"GET /?", b"a" * PIECE, 414),
        (b"GET / HTTP/1.1\r\nHost: gateway.test\r\n", b"a" * PIECE, 431),
        (b"GET / HTTP/1.1\r\nHost: gateway.test\r\nX-A: ", b"a" * PIECE, 431),
        (b"GET / HTTP/1.1\r\nHost: gateway.test\r\nX-A:", b" " * PIECE, 431),
        (b"GET / HTTP/1.1\r\nHost: gateway.test\r\n", b"X-A: a\r\n" * 512, 431),
        (b"\r\n", b"\r\n" * 2048, 431),
        (b"G", b"G" * PIECE, 501),
        (b"", b"\x00" * PIECE, 400),
    ],
)
async def test_a_head_without_end_is_ended(
    client: Client, upstream: Upstream, begin: bytes, piece: bytes, status: int
) -> None:
    sent = await flood(client, begin, piece)
    is_refusal(await client.response(), status)
    assert sent < MUCH
    assert upstream.seen == b""


# -- bodies -----------------------------------------------------------------------------------------------------

CHUNKED = ("Transfer-Encoding: chunked", "Content-Type: application/json")


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (b"1;", b"x" * PIECE),
        (b"1;x=", b"y" * PIECE),
        (b'1;x="', b"y" * PIECE),
        (b"0" * 10, b"0" * PIECE),
        (b"", b"1;xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n{\r\n" * 64),
    ],
)
async def test_the_framing_of_a_bounded_body_is_bounded_too(
    client: Client, upstream: Upstream, begin: bytes, piece: bytes
) -> None:
    """A chunk's size line carries bytes that no body counts."""
    sent = await flood(client, request("POST", "/api/auth/login", *CHUNKED) + begin, piece)
    assert sent < MUCH
    answer = await client.response()
    assert answer.status in (400, 413, 431)
    is_refusal(answer, answer.status)
    assert upstream.seen == b""


async def test_a_refused_body_is_not_read_on_for_ever(client: Client, upstream: Upstream) -> None:
    await client.send(request("POST", "/api/x", "Content-Length: 1000000000000"))
    is_refusal(await client.response(), 401)

    async def pour() -> None:
        while True:
            client.writer.write(b"x" * 65_536)
            await client.writer.drain()

    with pytest.raises(ConnectionError):
        await asyncio.wait_for(pour(), PATIENCE)
    assert upstream.seen == b""


# -- many at once -----------------------------------------------------------------------------------------------


async def test_pipelined_requests_wait_outside(client: Client, gateway: Gateway, upstream: Upstream) -> None:
    """While one is served, no more are taken in than one read brings."""
    release = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await release.wait()
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")

    upstream.script = slow
    sent = await flood(client, b"", get("/health") * 1000, most=64 << 20)
    assert sent < 64 << 20
    assert len(upstream.raw) == 1
    async with Client(gateway.admin_address) as admin:
        metrics = (await admin.exchange(get("/metrics"))).body
    assert b"gateway_requests_in_flight 1.0" in metrics
    release.set()
    for _ in range(10):
        assert (await client.response()).status == 204


async def test_clients_that_leave_at_once_leave_no_connection_behind(
    gateway: Gateway, upstream: Upstream
) -> None:
    """Each goes away at another moment of its request: before, while and after the upstream is connected to."""
    alive: set[asyncio.StreamWriter] = set()

    async def counted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        alive.add(writer)
        try:
            while await reader.read(65_536):
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        finally:
            alive.discard(writer)

    upstream.script = counted
    loop = asyncio.get_running_loop()
    for turn in range(600):
        client = socket.socket()
        client.setblocking(False)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing is a reset
        await loop.sock_connect(client, gateway.address)
        await loop.sock_sendall(client, get("/health"))
        for _ in range(turn % 12):
            await asyncio.sleep(0)
        client.close()
    found: dict[str, float] = {}

    async def nothing_is_left() -> bool:
        found.update(await readings(gateway))
        if found["gateway_requests_in_flight"] or found["gateway_connections"]:
            return False
        open_now, idle = (
            found[f'gateway_upstream_connections{one}{{upstream="upstream"}}'] for one in ("", "_idle")
        )
        return open_now == idle == len(alive)

    await asyncio.sleep(0.3)
    await eventually(nothing_is_left)


async def test_cookies_and_queries_are_bounded_by_the_head(client: Client, upstream: Upstream) -> None:
    assert (await client.exchange(get("/health?" + "a=1&" * 2000, "Cookie: " + "a=1; " * 4000))).status == 200
    is_refusal(await client.exchange(get("/health", "Cookie: " + "a=1; " * 8000)), 431)
    assert len(upstream.requests) == 1
