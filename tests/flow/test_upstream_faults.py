"""Faults of upstreams are answered as a gateway does: 502, 503, 504, and never a second POST."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.observe.scraping import reads
from tests.support.peers import PATIENCE, Client, in_time, read_body, read_head

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.app import Gateway
    from tests.support.peers import Upstream
    from tests.support.worlds import Start

    Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

GET = b"GET / HTTP/1.1\r\nHost: e\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: e\r\nContent-Length: 2\r\n\r\nhi"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SIZE = 8 << 20


def replying(*answers: bytes) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for raw in answers:
            await read_head(reader)
            writer.write(raw)
            await writer.drain()
        await reader.read()

    return script


async def test_an_upstream_that_is_not_there_is_502(start: Start) -> None:
    gateway = await start(upstream={"url": "http://127.0.0.1:1"})
    async with Client(gateway.address) as client:
        for _ in range(2):  # and the client's connection is none the worse
            answer = await client.exchange(GET)
            assert (answer.status, answer.json()["status"]) == (502, "error")


async def test_an_upstream_that_does_not_answer_is_504(start: Start, upstream: Upstream) -> None:
    upstream.script = replying(b"")
    gateway = await start(upstream={"head_timeout_seconds": 0.3})
    async with Client(gateway.address) as client:
        assert (await client.exchange(GET)).status == 504


async def arrives(upstream: Upstream, number: int = 1) -> None:
    """Wait until so many requests have come to the upstream."""
    async with asyncio.timeout(PATIENCE):
        while upstream.seen.count(GET[:6]) < number:
            await asyncio.sleep(0.01)


def trickling(first: bytes, again: bytes, last: bytes = b"", times: int = 1_000) -> Script:
    """Answer with `first`, then `again` so many times, one each 50 ms, and `last`."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        with suppress(ConnectionError):
            for raw in (first, *[again] * times, last):
                writer.write(raw)
                await writer.drain()
                await asyncio.sleep(0.05)
        await reader.read()

    return script


@pytest.mark.parametrize(
    "script",
    [
        trickling(b"HTTP/1.1 200 OK\r\nX: ", b"a"),
        trickling(b"", b"HTTP/1.1 102 Processing\r\n\r\n", OK, times=31),
        trickling(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nX: ", b"a"),
    ],
    ids=["a head", "interim responses", "both"],
)
async def test_an_upstream_that_trickles_its_head_is_504(
    start: Start, upstream: Upstream, script: Script
) -> None:
    upstream.script = script
    gateway = await start(upstream={"head_timeout_seconds": 0.5})
    async with Client(gateway.address) as client:
        await client.send(GET)
        answer = await read_head(client.reader)
        while answer.status < 200:
            answer = await read_head(client.reader)
        assert answer.status == 504


@pytest.mark.parametrize(
    ("framing", "again"),
    [(b"5;", b"a"), (b"0\r\nX: ", b"a"), (b"0\r\n", b"X: y\r\n")],
    ids=["an extension", "a trailer", "trailers"],
)
async def test_an_upstream_that_trickles_framing_breaks_the_answer_off(
    start: Start, upstream: Upstream, framing: bytes, again: bytes
) -> None:
    upstream.script = trickling(CHUNKED + b"5\r\nhello\r\n" + framing, again)
    gateway = await start(upstream={"body_timeout_seconds": 0.5})
    async with Client(gateway.address) as client:
        await client.send(GET)
        assert (await read_head(client.reader)).status == 200
        assert await client.closed() == b"5\r\nhello\r\n"


async def test_an_upstream_that_trickles_its_body_is_heard_to_the_end(
    start: Start, upstream: Upstream
) -> None:
    upstream.script = trickling(CHUNKED, b"1\r\na\r\n", b"0\r\n\r\n", times=20)
    gateway = await start(upstream={"head_timeout_seconds": 0.5, "body_timeout_seconds": 0.5})
    async with Client(gateway.address) as client:
        assert (await client.exchange(GET)).body == 20 * b"a"


async def test_a_client_that_waits_for_100_is_not_late_behind_another_interim_response(
    start: Start, upstream: Upstream
) -> None:
    upstream.script = replying(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    gateway = await start(upstream={"head_timeout_seconds": 0.3}, timeout={"body_seconds": 0.3})
    async with Client(gateway.address) as client:
        await client.send(b"PUT / HTTP/1.1\r\nHost: e\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert (await read_head(client.reader)).status == 103
        assert (await read_head(client.reader)).status == 504


async def test_an_upstream_that_stalls_in_its_body_breaks_the_answer_off(
    start: Start, upstream: Upstream
) -> None:
    upstream.script = replying(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
    gateway = await start(upstream={"body_timeout_seconds": 0.3})
    async with Client(gateway.address) as client:
        await client.send(GET)
        assert (await read_head(client.reader)).status == 200
        assert await client.closed() == b"abc"


@pytest.mark.parametrize(
    "raw",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 300_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : 1\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX: 1\x002\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX\xe9: 1\r\nContent-Length: 2\r\n\r\nok",
        b"ICE/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"RTSP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        *(
            b"HTTP/1.1 %b X\r\n\r\n" % status + OK
            for status in (b"000", b"099", b"20", b"1000", b"-99", b"6x0")
        ),
        b"HTTP/1.1 104 X\r\nContent-Length: 5\r\n\r\nhello" + OK,
        b"HTTP/1.1 100 X\r\nContent-Length: 5\r\n\r\nhello" + OK,
        b"HTTP/1.1 199 X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + OK,
        b"HTTP/1.1 103 X\r\nA: b\r\n\r\n" * 33 + OK,
    ],
    ids=lambda raw: raw[:40].decode("latin-1"),
)
async def test_a_malformed_response_is_502_and_its_connection_is_closed(
    client: Client, upstream: Upstream, raw: bytes
) -> None:
    upstream.script = replying(raw)
    await client.send(GET * 2)  # nothing of what the first one met may be an answer to the second
    assert (await client.response()).status == 502
    assert (await client.response()).status == 502
    upstream.script = replying(OK)
    assert (await client.exchange(GET)).body == b"ok"
    assert len(upstream.raw) == 3


async def test_a_malformed_chunk_breaks_the_answer_off(client: Client, upstream: Upstream) -> None:
    upstream.script = replying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n")
    await client.send(GET)
    assert (await read_head(client.reader)).status == 200
    assert not (await client.closed()).endswith(b"0\r\n\r\n")


async def test_a_response_cut_short_is_not_passed_off_as_whole(client: Client, upstream: Upstream) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")

    upstream.script = script
    await client.send(GET)
    assert (await read_head(client.reader)).status == 200
    assert await client.closed() == b"3\r\nabc\r\n"


async def test_a_body_that_ends_by_closing_is_whole(client: Client, upstream: Upstream) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nabc")
        await asyncio.sleep(0.05)
        writer.write(b"def")

    upstream.script = script
    for _ in range(2):
        answer = await client.exchange(GET)
        assert (answer.one("Transfer-Encoding"), answer.body) == ("chunked", b"abcdef")
    assert len(upstream.raw) == 2


async def test_an_http_1_0_upstream_is_understood(client: Client, upstream: Upstream) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")

    upstream.script = script
    for _ in range(2):
        assert (await client.exchange(GET)).body == b"ok"


async def test_bytes_behind_a_response_are_never_the_next_ones(client: Client, upstream: Upstream) -> None:
    upstream.script = replying(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    for _ in range(3):
        assert (await client.exchange(GET)).body == b"ok"
    assert len(upstream.raw) == 3


async def test_bytes_on_an_idle_connection_are_never_an_answer(client: Client, upstream: Upstream) -> None:
    dropped = asyncio.Semaphore(0)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(OK)
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        try:
            await reader.read()
        finally:
            dropped.release()

    upstream.script = script
    for _ in range(2):
        assert (await client.exchange(GET)).body == b"ok"
        await in_time(dropped.acquire())
    assert len(upstream.raw) == 2


@pytest.mark.parametrize(("raw", "status"), [(GET, 200), (POST, 502)])
async def test_only_a_replayable_request_is_sent_again_when_a_reused_connection_was_dead(
    client: Client, upstream: Upstream, raw: bytes, status: int
) -> None:
    served = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        served += 1
        for _ in range(2):  # it keeps its connections, by all that can be seen
            await read_head(reader)
            writer.write(OK)
            await writer.drain()
        if served == 1:
            await reader.readuntil(b"\r\n\r\n")  # the third request on this connection is met with silence
            return
        await reader.read()

    upstream.script = script
    for _ in range(2):
        assert (await client.exchange(GET)).status == 200
    assert (await client.exchange(raw)).status == status
    assert served == (2 if status == 200 else 1)


async def test_a_fresh_connection_that_dies_is_not_tried_again(client: Client, upstream: Upstream) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)

    upstream.script = script
    assert (await client.exchange(GET)).status == 502
    assert len(upstream.raw) == 1


async def test_an_early_answer_is_relayed_and_its_connection_not_reused(
    client: Client, upstream: Upstream
) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno!")
        await writer.drain()
        await reader.read()

    upstream.script = script
    await client.send(b"POST / HTTP/1.1\r\nHost: e\r\nContent-Length: 5000000\r\n\r\n" + b"z" * 1000)
    answer = await client.response()
    assert (answer.status, answer.body) == (413, b"no!")
    await client.closed()
    async with Client(client.address) as another:  # the same gateway
        await another.send(GET)
        assert (await another.response()).status == 413
    assert len(upstream.raw) == 2


async def test_a_client_that_leaves_cancels_the_upstream_request_at_once(
    gateway: Gateway, upstream: Upstream
) -> None:
    left = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        assert await reader.read() == b""
        left.set()

    upstream.script = script
    async with Client(gateway.address) as client:
        await client.send(GET)
        await arrives(upstream)
    await in_time(left.wait())


async def test_requests_beyond_the_pool_wait_in_line_and_beyond_the_line_are_503(
    start: Start, upstream: Upstream
) -> None:
    release = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_head(reader)
            await release.wait()
            writer.write(OK)

    upstream.script = script
    gateway = await start(upstream={"connections": 2, "pending": 1, "connect_timeout_seconds": PATIENCE})
    clients = [Client(gateway.address) for _ in range(4)]
    for client in clients:
        await client.__aenter__()
    try:
        for client in clients[:2]:
            await client.send(GET)
        await arrives(upstream, 2)
        await clients[2].send(GET)
        await reads(gateway, "gateway_upstream_waiting", 1)
        refused = await clients[3].exchange(GET)
        assert (refused.status, refused.one("Retry-After")) == (503, "1")
        release.set()
        assert [(await client.response()).status for client in clients[:3]] == [200, 200, 200]
        assert len(upstream.raw) == 2
    finally:
        for client in clients:
            await client.__aexit__(None, None, None)


async def test_a_request_that_waits_too_long_for_a_connection_is_503(
    start: Start, upstream: Upstream
) -> None:
    upstream.script = replying(b"")
    gateway = await start(
        upstream={"connections": 1, "pending": 5, "connect_timeout_seconds": 0.3},
        timeout={"drain_seconds": 0.1},
    )
    async with Client(gateway.address) as first, Client(gateway.address) as second:
        await first.send(GET)
        await arrives(upstream)
        assert (await second.exchange(GET)).status == 503


@pytest.mark.parametrize(
    ("raw", "line", "asked"),
    [
        (b"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", b"HTTP/1.1 204 No", GET),
        (b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n", b"HTTP/1.1 204 No", GET),
        (b"HTTP/1.1 304 Not\r\nTransfer-Encoding: chunked\r\n\r\n", b"HTTP/1.1 304 Not", GET),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK",
            GET.replace(b"GET", b"HEAD"),
        ),
    ],
)
async def test_what_has_no_body_has_none_whatever_its_fields_say(
    client: Client, upstream: Upstream, raw: bytes, line: bytes, asked: bytes
) -> None:
    upstream.script = replying(raw, OK)  # RFC 9112 section 6.3, rule 1
    await client.send(asked)
    answer = await client.response(head_only=True)
    assert (answer.start, answer.all("Content-Length"), answer.all("Transfer-Encoding")) == (line, [], [])
    assert (await client.exchange(GET)).body == b"ok"


async def test_trailers_of_a_response_are_dropped(client: Client, upstream: Upstream) -> None:
    upstream.script = replying(
        b"HTTP/1.1 200 OK\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n",
        OK,
    )
    await client.send(GET)
    head = await read_head(client.reader)
    assert head.all("Trailer") == []
    assert await client.reader.readexactly(len(b"2\r\nok\r\n0\r\n\r\n")) == b"2\r\nok\r\n0\r\n\r\n"
    assert (await client.exchange(GET)).status == 200


async def test_trailers_without_end_are_a_malformed_response(client: Client, upstream: Upstream) -> None:
    taken = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: ")
        with suppress(ConnectionError):
            while taken < 64 << 20:
                writer.write(b"a" * 65_536)
                await writer.drain()
                taken += 65_536

    upstream.script = script
    await client.send(GET)
    assert b"\r\n2\r\nok\r\n" in await client.closed()
    assert taken < 16 << 20  # what lies in the kernel's buffers, not all there is


async def test_interim_responses_keep_their_connections_fields_to_themselves(
    client: Client, upstream: Upstream
) -> None:
    upstream.script = replying(b"HTTP/1.1 103 Hints\r\nConnection: X-Hop\r\nX-Hop: 1\r\nLink: a\r\n\r\n" + OK)
    await client.send(GET)
    interim = await client.response(interim=True)
    assert (interim.status, interim.one("Link"), interim.all("X-Hop")) == (103, "a", [])
    assert (await client.response()).body == b"ok"


async def test_no_interim_response_reaches_a_1_0_client(client: Client, upstream: Upstream) -> None:
    upstream.script = replying(b"HTTP/1.1 103 Hints\r\nLink: a\r\n\r\n" + OK)
    await client.send(b"GET / HTTP/1.0\r\n\r\n")
    assert (await client.response(interim=True)).status == 200


async def test_an_answer_broken_off_is_no_end_to_a_client_that_waits_for_the_close(
    gateway: Gateway, upstream: Upstream
) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await writer.drain()
        await asyncio.sleep(0.1)  # and closes, in the midst

    upstream.script = script
    async with Client(gateway.address) as client:
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(client.reader.read(), PATIENCE)


UPLOAD = b"POST / HTTP/1.1\r\nHost: e\r\nContent-Length: 10\r\n\r\nabc"


async def test_an_answer_before_the_upload_has_ended_says_that_it_is_the_last(
    client: Client, upstream: Upstream
) -> None:
    upstream.script = replying(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
    answer = await client.exchange(UPLOAD)
    assert (answer.status, answer.one("Connection")) == (413, "close")
    assert await client.closed() == b""


async def test_a_client_that_stalls_in_its_upload_is_not_the_upstreams_fault(
    start: Start, upstream: Upstream
) -> None:
    gateway = await start(timeout={"body_seconds": 5}, upstream={"head_timeout_seconds": 0.3})
    async with Client(gateway.address) as client:
        await client.send(UPLOAD)
        await asyncio.sleep(1)
        assert (await client.exchange(b"defghij")).status == 200
    gateway = await start(timeout={"body_seconds": 0.3})
    async with Client(gateway.address) as client:
        assert (await client.exchange(UPLOAD)).status == 408


async def test_a_client_that_waits_to_be_told_to_send_owes_nothing_yet(
    start: Start, upstream: Upstream
) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await asyncio.sleep(1)
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await reader.readexactly(2) == b"hi"
        writer.write(OK)
        await writer.drain()

    upstream.script = script
    gateway = await start(timeout={"body_seconds": 0.3})
    expecting = b"POST / HTTP/1.1\r\nHost: e\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    async with Client(gateway.address) as client:
        await client.send(expecting)
        assert (await client.response(interim=True)).status == 100
        assert (await client.exchange(b"hi")).body == b"ok"
        await client.send(expecting)
        assert (await client.response(interim=True)).status == 100
        assert (await client.response()).status == 408  # told so, and sends nothing


async def test_an_upstream_that_never_says_whether_it_wants_the_body_is_504(
    start: Start, upstream: Upstream
) -> None:
    upstream.script = replying(b"")
    gateway = await start(upstream={"head_timeout_seconds": 0.3})
    async with Client(gateway.address) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: e\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert (await client.response()).status == 504


async def test_a_slow_reader_is_not_the_upstreams_silence(start: Start, upstream: Upstream) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
        for _ in range(SIZE // 65_536):
            writer.write(b"x" * 65_536)
            await writer.drain()

    upstream.script = script
    gateway = await start(upstream={"body_timeout_seconds": 0.4})
    async with Client(gateway.address) as client:
        await client.send(GET)
        head = await read_head(client.reader)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport of sockets has it
        await asyncio.sleep(1.5)
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert head.status == 200
        assert len(await asyncio.wait_for(client.reader.readexactly(SIZE), PATIENCE)) == SIZE


async def test_a_stream_outlives_its_idle_deadline_while_it_flows(start: Start, upstream: Upstream) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for number in range(10):
            writer.write(b"data: %d\n\n" % number)
            await writer.drain()
            await asyncio.sleep(0.2)

    upstream.script = script
    gateway = await start(
        upstream={"body_timeout_seconds": 0.6, "head_timeout_seconds": 0.6},
        timeout={"idle_seconds": 0.6, "body_seconds": 0.6, "write_seconds": 0.6},
    )
    async with Client(gateway.address) as client:
        assert (await client.exchange(GET)).body.count(b"data: ") == 10


REFUSAL = (
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 26\r\n\r\nError when parsing request"
)


async def _refuse_early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """As fasthttp at its body limit: answer at once, and close with the rest of the body unread."""
    await read_head(reader)
    writer.write(REFUSAL)
    await writer.drain()
    writer.close()


@pytest.mark.parametrize("size", [1 << 20, 5 << 20, 100 << 20], ids=["1MiB", "5MiB", "100MiB"])
@pytest.mark.parametrize("paced", [True, False], ids=["paced", "fast"])
@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "length"])
async def test_an_upload_over_the_upstreams_limit_is_answered_as_the_upstream_did(
    start: Start, upstream: Upstream, size: int, paced: bool, chunked: bool
) -> None:
    upstream.script = _refuse_early
    gateway = await start()
    piece = b"x" * 65_536
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % size
    async with Client(gateway.address) as client:

        async def upload() -> None:
            with suppress(ConnectionError):
                await client.send(b"POST /upload HTTP/1.1\r\nHost: e\r\n%b\r\n\r\n" % framing)
                for _ in range(size // len(piece)):
                    await client.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
                    if paced:
                        await asyncio.sleep(0)
                if chunked:
                    await client.send(b"0\r\n\r\n")

        sending = asyncio.create_task(upload())
        answer = await client.response()
        sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending
    assert (answer.status, answer.body) == (400, b"Error when parsing request")


async def test_an_answer_that_comes_in_pieces_before_the_upload_ended_announces_that_the_connection_closes(
    start: Start, upstream: Upstream
) -> None:
    headed, ended = asyncio.Event(), asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 413 Too Large\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntoo\r\n")
        await headed.wait()
        writer.write(b"6\r\n large\r\n0\r\n\r\n")
        await ended.wait()

    upstream.script = script
    gateway = await start()
    async with Client(gateway.address) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: e\r\nContent-Length: 10\r\n\r\nhello")
        head = await read_head(client.reader)
        headed.set()
        head.body = await read_body(client.reader, head, until_close=False)
        assert (head.status, head.body) == (413, b"too large")
        assert head.one("Connection") == "close", "a client would send its next request here, and lose it"
        await client.send(b"world")
        assert await client.closed() == b""
        ended.set()


@pytest.mark.parametrize("size", [b"-6", b"-ffff", b"+6", b"0x6", b"1_0"])
@pytest.mark.parametrize("cut", [0, 1, 3])
async def test_a_chunk_size_that_is_none_breaks_its_answer_off_and_harms_no_other(
    start: Start, upstream: Upstream, size: bytes, cut: int
) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await read_head(reader)
        if b"/good" in asked.start:
            writer.write(OK)
            return
        body = size + b"\r\nhello\r\n0\r\n\r\n"
        writer.write(head + body[:cut])
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(body[cut:])
        await reader.read()

    upstream.script = script
    gateway = await start()
    async with Client(gateway.address) as client:
        await client.send(GET)
        answered = await client.closed()
        assert b"hello" not in answered
        assert not answered.endswith(b"0\r\n\r\n")
    async with Client(gateway.address) as client:
        assert (await client.exchange(GET.replace(b" / ", b" /good "))).status == 200


async def test_a_client_that_left_unseen_is_let_go_with_its_answer(start: Start, upstream: Upstream) -> None:
    await upstream.__aexit__(None, None, None)
    gateway = await start(public=("/*",), upstream={"wait_seconds": 0.5})
    async with Client(gateway.address) as client:
        # Its body is not read while the upstream is away, and so its end is not noticed.
        await client.send(b"POST / HTTP/1.1\r\nHost: e\r\nContent-Length: 9\r\n\r\nhi")
        await reads(gateway, "gateway_upstream_awaiting", 1)
    await reads(gateway, "gateway_connections_closed_total", 1)
