"""Outbound HTTP client, before servers that answer as they like."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from authcore.outbound import OutboundFailed, OutboundOutcome, OutboundRequest
from gateway.outbound.client import OutboundClient
from tests.support.peers import PATIENCE, Upstream, read_head

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LOOPBACK = frozenset({"127.0.0.1", "localhost"})
SECONDS = 10


def client(*, most_bytes: int = 1000, seconds: float = SECONDS) -> OutboundClient:
    return OutboundClient(lambda _: True, timeout_seconds=seconds, most_bytes=most_bytes)


def answering(raw: bytes) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(raw)
        await writer.drain()

    return script


async def failure(one: OutboundClient, request: OutboundRequest) -> OutboundFailed:
    with pytest.raises(OutboundFailed) as caught:
        async with asyncio.timeout(3 * PATIENCE):
            await one.send(request)
    return caught.value


async def test_a_request_is_sent_as_it_is_and_its_response_returned(upstream: Upstream) -> None:
    one = client()
    request = OutboundRequest(
        url=f"http://127.0.0.1:{upstream.port}/a%2Fb?c=d%26e",
        hosts=LOOPBACK,
        method="POST",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        body=b"code=1",
    )
    response = await one.send(request)
    assert response.status == 200
    (seen,) = upstream.requests
    assert seen.start == b"POST /a%2Fb?c=d%26e HTTP/1.1"
    assert seen.body == b"code=1"
    assert seen.one("Accept") == "application/json"
    assert seen.one("Accept-Encoding") == "identity"
    assert seen.one("User-Agent") == "whatomate-gateway"
    assert seen.one("Cookie") is None
    assert one.outcomes["ok"] == 1


async def test_a_redirect_is_a_response_and_nothing_is_sent_where_it_leads(upstream: Upstream) -> None:
    async with Upstream() as elsewhere:
        target = f"http://127.0.0.1:{elsewhere.port}/"
        raw = f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n"
        upstream.script = answering(raw.encode())
        request = OutboundRequest(url=f"http://127.0.0.1:{upstream.port}/", hosts=LOOPBACK)
        assert (await client().send(request)).status == 302
        assert elsewhere.raw == []


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 1001\r\n\r\n" + b"a" * 1001,
        b"Connection: close\r\n\r\n" + b"a" * 5000,
        b"Transfer-Encoding: chunked\r\n\r\n" + b"3e9\r\n" + b"a" * 1001 + b"\r\n0\r\n\r\n",
    ],
)
async def test_a_response_over_the_limit_is_given_up(upstream: Upstream, framing: bytes) -> None:
    upstream.script = answering(b"HTTP/1.1 200 OK\r\n" + framing)
    one = client()
    request = OutboundRequest(url=f"http://127.0.0.1:{upstream.port}/", hosts=LOOPBACK)
    assert (await failure(one, request)).outcome is OutboundOutcome.SIZE
    assert one.outcomes["size"] == 1


async def test_a_server_that_is_silent_or_slow_is_given_up_in_time(upstream: Upstream) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n")
        while True:
            writer.write(b"a")
            await writer.drain()
            await asyncio.sleep(0.05)

    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    request = OutboundRequest(url=f"http://127.0.0.1:{upstream.port}/", hosts=LOOPBACK)
    for script in (silent, drip):
        upstream.script = script
        assert (await failure(client(seconds=0.3), request)).outcome is OutboundOutcome.TIMEOUT


@pytest.mark.parametrize(
    "raw", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", b"HTTP/1.1 200"]
)
async def test_what_is_no_whole_response_is_a_failure(upstream: Upstream, raw: bytes) -> None:
    upstream.script = answering(raw)
    request = OutboundRequest(url=f"http://127.0.0.1:{upstream.port}/", hosts=LOOPBACK)
    assert (await failure(client(), request)).outcome is OutboundOutcome.FAILED


async def test_the_lifetime_of_a_response_is_read(upstream: Upstream) -> None:
    upstream.script = answering(
        b"HTTP/1.1 200 OK\r\nCache-Control: public, max-age=77\r\nContent-Length: 2\r\n\r\n{}"
    )
    request = OutboundRequest(url=f"http://127.0.0.1:{upstream.port}/", hosts=LOOPBACK)
    response = await client().send(request)
    assert (response.body, response.max_age_seconds) == (b"{}", 77.0)
