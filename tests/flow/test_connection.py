"""The client's connection: one parse whatever the packets, answers in order, and an end that both sides know."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.support.calls import request
from tests.support.peers import Client, read_head

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.peers import Upstream
    from tests.support.worlds import Start

POST = (
    b"POST /form?q=1 HTTP/1.1\r\nHost: example.test\r\nX-Empty:\r\nX-Spaced:  a b \r\n"
    b"Transfer-Encoding: chunked\r\n\r\n5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nX-Trailer: t\r\n\r\n"
)
GET = b"GET /%d HTTP/1.1\r\nHost: example.test\r\n\r\n"


def told(message: object) -> object:
    """Return what the upstream received, without what differs from request to request."""
    assert isinstance(message, dict)
    volatile = {"X-Request-ID", "traceparent"}
    return [
        message["start"],
        [line for line in message["headers"] if line[0] not in volatile],
        message["body"],
    ]


async def test_a_request_split_at_every_byte_boundary_parses_the_same(gateway: Gateway) -> None:
    async with Client(gateway.address) as whole:
        expected = told((await whole.exchange(POST)).json())
    async with Client(gateway.address) as client:
        for cut in range(1, len(POST)):
            await client.send(POST[:cut])
            await asyncio.sleep(0)
            await client.send(POST[cut:])
            assert told((await client.response()).json()) == expected, f"cut at {cut}"


async def test_a_request_sent_byte_by_byte_parses_the_same(gateway: Gateway) -> None:
    async with Client(gateway.address) as whole:
        expected = told((await whole.exchange(POST)).json())
    async with Client(gateway.address) as client:
        for byte in POST:
            await client.send(bytes([byte]))
            await asyncio.sleep(0.0002)
        assert told((await client.response()).json()) == expected


async def test_pipelined_requests_are_answered_in_order(client: Client, upstream: Upstream) -> None:
    await client.send(b"".join(GET % n for n in range(50)))
    for n in range(50):
        assert (await client.response()).json()["start"] == f"GET /{n} HTTP/1.1"
    assert len(upstream.requests) == 50


async def test_pipelined_refusals_do_not_overtake_answers(client: Client) -> None:
    await client.send(GET % 1 + b"GET /api/secret HTTP/1.1\r\nHost: example.test\r\n\r\n" + GET % 2)
    assert [(await client.response()).status for _ in range(3)] == [200, 401, 200]


async def test_a_thousand_pipelined_refusals_do_not_recurse(client: Client) -> None:
    await client.send(b"GET /api HTTP/1.1\r\nHost: e\r\n\r\n" * 1000)
    for _ in range(1000):
        assert (await client.response()).status == 401


async def test_a_pipelined_malformed_request_is_refused_after_the_good_one_is_answered(
    client: Client,
) -> None:
    await client.send(GET % 1 + b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + GET % 3)
    assert (await client.response()).status == 200
    refusal = await client.response()
    assert (refusal.status, refusal.one("Connection")) == (400, "close")
    assert await client.closed() == b""


async def test_connections_are_kept_alive_on_both_sides(client: Client, upstream: Upstream) -> None:
    for n in range(5):
        assert (await client.exchange(GET % n)).one("Connection") is None
    assert len(upstream.raw) == 1


async def test_connection_close_is_honoured(client: Client) -> None:
    answer = await client.exchange(b"GET / HTTP/1.1\r\nHost: e\r\nConnection: close\r\n\r\n")
    assert (answer.status, answer.one("Connection")) == (200, "close")
    assert await client.closed() == b""


async def test_an_http_1_0_client_is_answered_and_closed(client: Client, upstream: Upstream) -> None:
    answer = await client.exchange(b"GET / HTTP/1.0\r\n\r\n")
    assert (answer.status, answer.one("Connection"), answer.one("Transfer-Encoding")) == (200, "close", None)
    assert await client.closed() == b""
    assert upstream.requests[0].start == b"GET / HTTP/1.1"
    assert upstream.requests[0].one("Host") == f"127.0.0.1:{upstream.port}"


async def test_an_http_1_0_client_may_ask_to_keep_its_connection(client: Client) -> None:
    for _ in range(2):
        answer = await client.exchange(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert (answer.status, answer.one("Connection")) == (200, "keep-alive")


@pytest.mark.parametrize("options", [b"keep-alive, close", b"close, keep-alive"])
async def test_close_is_the_stronger_option(client: Client, options: bytes) -> None:
    for version in (b"1.0", b"1.1"):
        async with Client(client.address) as one:  # another to the same gateway
            raw = b"GET / HTTP/%b\r\nHost: e\r\nConnection: %b\r\n\r\n" % (version, options)
            assert (await one.exchange(raw)).one("Connection") == "close"
            assert await one.closed() == b""


@pytest.mark.parametrize("expectation", [b"100-continue", b"anything"])
async def test_an_expectation_of_a_1_0_client_means_nothing(
    client: Client, upstream: Upstream, expectation: bytes
) -> None:
    raw = b"POST / HTTP/1.0\r\nContent-Length: 2\r\nExpect: %b\r\n\r\nhi" % expectation
    assert (await client.exchange(raw)).status == 200  # RFC 9110 section 10.1.1
    assert upstream.requests[0].all("Expect") == []
    assert upstream.requests[0].body == b"hi"


async def test_a_1_0_client_that_expects_and_sends_no_body_is_late_itself(
    start: Start, upstream: Upstream
) -> None:
    gateway = await start(timeout={"body_seconds": 0.3}, upstream={"head_timeout_seconds": 30})
    async with Client(gateway.address) as client:
        await client.send(b"POST / HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert (await client.response()).status == 408


@pytest.mark.parametrize("options", [b"expect", b"close, Expect", b"EXPECT,host"])
async def test_a_connection_field_does_not_take_the_expectation_away(
    client: Client, upstream: Upstream, options: bytes
) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        assert head.one("Expect") == "100-continue"
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await reader.readexactly(2) == b"hi"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()

    upstream.script = script
    await client.send(
        b"POST / HTTP/1.1\r\nHost: e\r\nConnection: %b\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        % options
    )
    assert (await client.response(interim=True)).status == 100
    assert (await client.exchange(b"hi")).body == b"ok"


async def test_an_http_1_0_client_gets_a_streamed_body_delimited_by_the_close(
    client: Client, upstream: Upstream
) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n"
        )

    upstream.script = script
    await client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    answer = await read_head(client.reader)
    assert (answer.one("Transfer-Encoding"), answer.one("Connection")) == (None, "close")
    assert await client.closed() == b"abcdef"


@pytest.mark.parametrize("method", [b"PUT", b"PATCH", b"DELETE", b"POST"])
async def test_a_body_arrives_whole_with_its_length(
    client: Client, upstream: Upstream, method: bytes
) -> None:
    body = bytes(range(256)) * 512
    head = b"%b /x HTTP/1.1\r\nHost: e\r\nContent-Length: %d\r\n\r\n" % (method, len(body))
    assert (await client.exchange(head + body)).status == 200
    assert upstream.requests[0].body == body
    assert upstream.requests[0].one("Content-Length") == str(len(body))


async def test_a_chunked_body_arrives_whole_and_chunked(client: Client, upstream: Upstream) -> None:
    assert (await client.exchange(POST)).status == 200
    assert upstream.requests[0].body == b"hello world"
    assert upstream.requests[0].one("Transfer-Encoding") == "chunked"
    assert upstream.requests[0].one("Content-Length") is None


async def test_a_post_without_a_body_says_so_upstream(client: Client, upstream: Upstream) -> None:
    assert (await client.exchange(b"POST / HTTP/1.1\r\nHost: e\r\nContent-Length: 0\r\n\r\n")).status == 200
    assert upstream.requests[0].one("Content-Length") == "0"


async def test_head_keeps_the_length_and_has_no_body(client: Client, upstream: Upstream) -> None:
    for _ in range(2):  # the second shows that the upstream connection is still in step
        await client.send(b"HEAD / HTTP/1.1\r\nHost: e\r\n\r\n")
        answer = await client.response(head_only=True)
        assert answer.status == 200
        assert int(answer.one("Content-Length") or 0) > 0
    assert (await client.exchange(GET % 1)).status == 200
    assert len(upstream.raw) == 1


async def test_head_of_a_refused_path_has_no_body(client: Client) -> None:
    await client.send(b"HEAD /api/x HTTP/1.1\r\nHost: e\r\n\r\n")
    answer = await client.response(head_only=True)
    assert (answer.status, int(answer.one("Content-Length") or 0) > 0) == (401, True)
    assert (await client.exchange(GET % 1)).status == 200


@pytest.mark.parametrize(
    ("raw", "length"),
    [
        (b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n", None),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\nETag: x\r\n\r\n", "500"),
    ],
)
async def test_a_status_without_a_body_has_none_and_the_connection_goes_on(
    client: Client, upstream: Upstream, raw: bytes, length: str | None
) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_head(reader)
            writer.write(raw)

    upstream.script = script
    for _ in range(2):
        answer = await client.exchange(GET % 1)
        assert answer.start == raw.split(b"\r\n")[0]
        assert answer.one("Content-Length") == length
    assert len(upstream.raw) == 1


async def test_interim_responses_are_relayed_before_the_final_one(client: Client, upstream: Upstream) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    upstream.script = script
    await client.send(GET % 1)
    hints = await client.response(interim=True)
    assert (hints.status, hints.one("Link")) == (103, "</a.css>")
    assert (await client.response(interim=True)).status == 102
    assert (await client.response()).body == b"ok"


async def test_an_expectation_is_the_upstreams_to_meet(client: Client, upstream: Upstream) -> None:
    await client.send(b"POST / HTTP/1.1\r\nHost: e\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    assert (await client.response(interim=True)).status == 100
    await client.send(b"hello")
    assert (await client.response()).json()["body"] == "hello"
    assert upstream.requests[0].one("Expect") == "100-continue"


async def test_no_continue_is_sent_before_the_permit(client: Client, upstream: Upstream) -> None:
    await client.send(b"POST /api/x HTTP/1.1\r\nHost: e\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    refusal = await client.response(interim=True)
    assert (refusal.status, refusal.one("Connection")) == (401, "close")
    assert await client.closed() == b""
    assert upstream.seen == b""


async def test_an_unknown_expectation_is_417(client: Client, upstream: Upstream) -> None:
    assert (await client.exchange(b"POST / HTTP/1.1\r\nHost: e\r\nExpect: wonders\r\n\r\n")).status == 417
    assert upstream.seen == b""


async def test_a_refused_body_is_read_away_so_that_the_answer_arrives(
    client: Client, upstream: Upstream
) -> None:
    await client.send(
        b"POST /api/x HTTP/1.1\r\nHost: e\r\nContent-Length: 8000000\r\n\r\n" + b"z" * 3_000_000
    )
    assert (await client.response()).status == 401
    assert upstream.seen == b""


@pytest.mark.parametrize("target", [b"*", b"http://e"])
async def test_options_of_the_server_are_the_gateways_own(
    client: Client, upstream: Upstream, target: bytes
) -> None:
    answer = await client.exchange(b"OPTIONS %b HTTP/1.1\r\nHost: e\r\n\r\n" % target)
    assert answer.status == 204
    assert "GET" in (answer.one("Allow") or "")
    assert upstream.seen == b""


async def test_an_options_request_that_may_pass_no_further_proxy_is_answered_here(
    client: Client, upstream: Upstream
) -> None:
    answer = await client.exchange(request("OPTIONS", "/health", "Max-Forwards: 0"))
    assert (answer.status, "GET" in (answer.one("Allow") or "")) == (204, True)
    assert upstream.seen == b""


@pytest.mark.parametrize(
    ("came", "goes"),
    [
        *(("1", "0"), ("10", "9"), ("007", "6"), ("999999999999", "999999999998")),
        *(("-1", "-1"), ("ten", "ten"), ("1, 2", "1, 2"), ("", ""), ("9" * 40, "9" * 40)),
    ],
)
async def test_max_forwards_is_counted_down(client: Client, upstream: Upstream, came: str, goes: str) -> None:
    lines = (f"max-forwards: {came}", "X-Max-Forwards: 5", "X-Note: Max-Forwards: 5")
    for method in ("OPTIONS", "OPTIONS", "GET"):  # the second one's lines are known
        assert (await client.exchange(request(method, "/health", *lines))).status == 200
        seen = upstream.requests.pop()
        assert seen.all("max-forwards") == [goes]
        assert (seen.one("X-Max-Forwards"), seen.one("X-Note")) == ("5", "Max-Forwards: 5")


async def test_an_absolute_form_is_forwarded_as_its_path(client: Client, upstream: Upstream) -> None:
    await client.exchange(b"GET http://E:80/a?b HTTP/1.1\r\nHost: e:80\r\n\r\n")
    assert upstream.requests[0].start == b"GET /a?b HTTP/1.1"
    refusal = await client.exchange(b"GET http://other/a HTTP/1.1\r\nHost: e\r\n\r\n")
    assert refusal.status == 400


async def test_a_slow_head_is_408(start: Start, upstream: Upstream) -> None:
    gateway = await start(timeout={"head_seconds": 0.3})
    async with Client(gateway.address) as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: e\r\n")
        for _ in range(3):  # trickling wins no time
            await asyncio.sleep(0.1)
            await client.send(b"X-A: b\r\n")
        assert (await client.response()).status == 408
        assert await client.closed() == b""
    assert upstream.seen == b""


async def test_a_slow_body_is_408_and_leaves_no_upstream_connection(start: Start, upstream: Upstream) -> None:
    gateway = await start(timeout={"body_seconds": 0.3})
    async with Client(gateway.address) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: e\r\nContent-Length: 10\r\n\r\nabc")
        assert (await client.response()).status == 408
        assert await client.closed() == b""
    assert upstream.requests == []
    assert b"abc" in upstream.seen


async def test_an_idle_connection_is_closed_without_a_word(start: Start) -> None:
    gateway = await start(timeout={"idle_seconds": 0.3})
    async with Client(gateway.address) as fresh, Client(gateway.address) as used:
        assert (await used.exchange(GET % 1)).status == 200
        assert await fresh.closed() == b""
        assert await used.closed() == b""


async def test_a_slow_answer_outlives_every_client_deadline(start: Start, upstream: Upstream) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await reader.readexactly(3)
        await asyncio.sleep(1.2)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    upstream.script = script
    gateway = await start(timeout={"head_seconds": 0.3, "idle_seconds": 0.3, "body_seconds": 0.3})
    async with Client(gateway.address) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: e\r\nContent-Length: 3\r\n\r\n")
        await client.send(b"abc")
        assert (await client.response()).body == b"ok"


async def test_one_connection_too_many_is_503(start: Start, upstream: Upstream) -> None:
    gateway = await start(limit={"connections": 2})
    async with Client(gateway.address) as one, Client(gateway.address) as two:
        assert (await one.exchange(GET % 1)).status == 200
        assert (await two.exchange(GET % 2)).status == 200
        async with Client(gateway.address) as three:
            assert (await three.response()).status == 503
            assert await three.closed() == b""
        assert (await one.exchange(GET % 3)).status == 200
    assert len(upstream.requests) == 3
