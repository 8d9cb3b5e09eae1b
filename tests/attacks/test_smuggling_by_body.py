"""A request within a request: in its body, in its chunks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.support.calls import is_refusal
from tests.support.peers import Client

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.peers import Upstream

INNER = b"GET /smuggled HTTP/1.1\r\nHost: gateway.test\r\n\r\n"
HEAD = b"POST /health HTTP/1.1\r\nHost: gateway.test\r\n"


def chunked(coding: bytes = b"chunked", *more: bytes) -> bytes:
    return HEAD + b"".join(line + b"\r\n" for line in (b"Transfer-Encoding: " + coding, *more)) + b"\r\n"


def length(value: bytes, *more: bytes) -> bytes:
    return HEAD + b"".join(line + b"\r\n" for line in (b"Content-Length: " + value, *more)) + b"\r\n"


CHUNK_TRICKS = {
    "no size": b"\r\nabc\r\n0\r\n\r\n",
    "negative": b"-1\r\na\r\n0\r\n\r\n",
    "negative, larger than its line": b"-6\r\nabc\r\n0\r\n\r\n",
    "negative and large": b"-ffff\r\nabc\r\n0\r\n\r\n",
    "minus nought": b"-0\r\nabc\r\n0\r\n\r\n",
    "0x": b"0x3\r\nabc\r\n0\r\n\r\n",
    "plus": b"+3\r\nabc\r\n0\r\n\r\n",
    "space": b"3 \r\nabc\r\n0\r\n\r\n",
    "space before": b" 3\r\nabc\r\n0\r\n\r\n",
    "too large to count": b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "wraps to 3": b"10000000000000003\r\nabc\r\n0\r\n\r\n",
    "underscore": b"1_0\r\nabc\r\n0\r\n\r\n",
    "too short": b"2\r\nabc\r\n0\r\n\r\n",
    "too long": b"4\r\nabc\r\n0\r\n\r\n",
    "LF after the size": b"3\nabc\r\n0\r\n\r\n",
    "CR after the size": b"3\rabc\r\n0\r\n\r\n",
    "LF after the body": b"3\r\nabc\n0\r\n\r\n",
    "nothing after the body": b"3\r\nabc0\r\n\r\n",
    "LF in an extension": b"3;a\nb\r\nabc\r\n0\r\n\r\n",
    "CR in an extension": b"3;a\rb\r\nabc\r\n0\r\n\r\n",
    "NUL in an extension": b"3;a\x00\r\nabc\r\n0\r\n\r\n",
    "extension of no token": b"3;\x01\r\nabc\r\n0\r\n\r\n",
    "LF ends the trailers": b"3\r\nabc\r\n0\r\n\n",
    "a request for a chunk": INNER,
}


@pytest.mark.parametrize("what", CHUNK_TRICKS)
async def test_a_chunk_that_is_none_ends_the_connection_and_hides_nothing(
    gateway: Gateway, upstream: Upstream, what: str
) -> None:
    async with Client(gateway.address) as client:
        await client.send(chunked() + CHUNK_TRICKS[what] + INNER)
        is_refusal(await client.response(), 400)
        client.writer.write_eof()
        assert await client.closed() == b""
    await asyncio.sleep(0)
    assert b"smuggled" not in upstream.seen
    assert all(told.start.split()[1] == b"/health" for told in upstream.requests)


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (length(b"%d" % len(INNER)) + INNER, INNER),
        (chunked() + b"%x\r\n%b\r\n0\r\n\r\n" % (len(INNER), INNER), INNER),
        (chunked(b"CHUNKED") + b'%X;ext=1;q="a"\r\n%b\r\n000\r\n\r\n' % (len(INNER), INNER), INNER),
        (length(b"0%d" % len(INNER)) + INNER, INNER),
    ],
)
async def test_a_request_in_a_body_is_a_body(
    client: Client, upstream: Upstream, raw: bytes, body: bytes
) -> None:
    await client.send(raw + HEAD + b"\r\n")
    assert (await client.response()).status == 200
    assert (await client.response()).status == 200
    assert [told.start for told in upstream.requests] == [b"POST /health HTTP/1.1"] * 2
    assert upstream.requests[0].body == body


async def test_a_body_that_a_method_does_not_expect_is_still_a_body(
    client: Client, upstream: Upstream
) -> None:
    for method in (b"GET", b"DELETE", b"OPTIONS"):
        raw = length(b"%d" % len(INNER)).replace(b"POST", method) + INNER
        assert (await client.exchange(raw)).status == 200
    assert [told.body for told in upstream.requests] == [INNER] * 3


@pytest.mark.parametrize(
    ("target", "status"), [(b"/api/x", 401), (b"/health/../x", 400), (b"/api/auth/nope", 401)]
)
async def test_the_body_of_a_refused_request_is_no_request(
    gateway: Gateway, upstream: Upstream, target: bytes, status: int
) -> None:
    size = len(INNER)
    for framed in (
        length(b"%d" % size) + INNER,  # whole: the connection may go on behind it
        length(b"%d" % (size * 9)) + INNER,  # more is announced than comes
        chunked() + b"%x\r\n%b\r\n" % (size, INNER),
        chunked() + b"%x\r\n%b\r\n0\r\n\r\n" % (size, INNER),
    ):
        async with Client(gateway.address) as client:
            await client.send(framed.replace(b"/health", target, 1))
            is_refusal(await client.response(), status)
            client.writer.write_eof()
            assert await client.closed() == b""
    assert upstream.seen == b""
