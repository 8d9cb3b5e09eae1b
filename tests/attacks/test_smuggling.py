"""A request within a request: whatever two parsers could frame in two ways reaches nobody."""

from __future__ import annotations

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


def plain(*lines: bytes, start: bytes = b"GET /health HTTP/1.1") -> bytes:
    return b"\r\n".join([start, *lines, b"", b""])


HOST = b"Host: gateway.test"

REFUSED: dict[str, tuple[int, bytes]] = {
    # two framings
    "CL and TE": (400, length(b"4", b"Transfer-Encoding: chunked") + b"0\r\n\r\n"),
    "TE and CL": (400, chunked(b"chunked", b"Content-Length: 4") + b"0\r\n\r\n"),
    "CL 0 and TE": (400, length(b"0", b"Transfer-Encoding: chunked") + b"0\r\n\r\n"),
    "two CL, equal": (400, length(b"4", b"Content-Length: 4") + b"four"),
    "two CL, different": (400, length(b"4", b"content-length: 40") + b"four"),
    "two TE": (400, chunked(b"chunked", b"Transfer-Encoding: chunked") + b"0\r\n\r\n"),
    "TE chunked and identity": (400, chunked(b"chunked", b"Transfer-Encoding: identity") + b"0\r\n\r\n"),
    # lengths that are none
    **{
        f"CL {value!r}": (400, length(value) + b"four")
        for value in (
            *(
                b"4, 4",
                b"4,5",
                b"+4",
                b"-4",
                b"0x4",
                b"4 4",
                b"4;",
                b"4.0",
                b"4e0",
                b"",
                b"four",
                b"1_0",
                b"\xb2",
            ),
            *(b"99999999999999999999", b"18446744073709551620", b"\x004", b"4\x00"),
        )
    },
    # codings that are not chunked, last and once
    **{
        f"TE {value!r}": (400, chunked(value) + b"0\r\n\r\n")
        for value in (
            *(
                b"chunked, identity",
                b"chunked,",
                b"",
                b"\x0bchunked",
                b"chunked\x00",
                b"chunked, gzip",
                b"ch\xfcnked",
            ),
            *(b"chunked, chunked", b"chunked,chunked"),
        )
    },
    **{
        f"TE {value!r}": (501, chunked(value) + b"0\r\n\r\n")  # section 6.1: a coding that is not understood
        for value in (
            *(
                b"xchunked",
                b"chunkedx",
                b"identity",
                b'"chunked"',
                b"gzip",
                b"chunked chunked",
                b"chunked;q=1",
            ),
            *(b"gzip, chunked", b"identity, chunked", b", chunked", b"x,chunked"),
        )
    },
    "TE in HTTP/1.0": (400, chunked().replace(b"HTTP/1.1", b"HTTP/1.0") + b"0\r\n\r\n"),
    # field lines
    "space before the colon": (400, plain(HOST, b"Transfer-Encoding : chunked")),
    "tab before the colon": (400, plain(HOST, b"Content-Length\t: 4")),
    "space before the name": (400, plain(b" " + HOST)),
    "obs-fold": (400, plain(HOST, b"X-A: one", b" two")),
    "obs-fold of TE": (400, plain(HOST, b"Transfer-Encoding:", b"\tchunked")),
    "empty name": (400, plain(HOST, b": value")),
    "no colon": (400, plain(HOST, b"nonsense")),
    "no token": (400, plain(HOST, b"X(A): 1")),
    "quoted name": (400, plain(HOST, b'"X-A": 1')),
    "name beyond ASCII": (400, plain(HOST, b"X-\xe9: 1")),
    "NUL in a name": (400, plain(HOST, b"X\x00A: 1")),
    "NUL in a value": (400, plain(HOST, b"X-A: 1\x002")),
    "control in a value": (400, plain(HOST, b"X-A: 1\x082")),
    "DEL in a value": (400, plain(HOST, b"X-A: 1\x7f2")),
    "bare CR in a value": (400, plain(HOST, b"X-A: 1\rTransfer-Encoding: chunked")),
    "bare CR after a line": (400, plain(HOST, b"X-A: 1\r")),
    "bare LF ends a line": (400, plain(HOST + b"\nX-A: 1")),
    "bare LF everywhere": (400, plain(HOST).replace(b"\r\n", b"\n")),
    "LF ends the head": (400, b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n\n"),
    "LF after the start line": (400, plain(HOST).replace(b"1.1\r\n", b"1.1\n")),
    # Host
    "no Host": (400, plain(b"X-A: 1")),
    "no Host and no fields": (400, plain()),
    "two Hosts": (400, plain(HOST, b"Host: other.test")),
    "two equal Hosts": (400, plain(HOST, b"hOST: gateway.test")),
    **{
        f"Host {value!r}": (400, plain(b"Host: " + value))
        for value in (
            *(
                b"",
                b"a b",
                b"a, b",
                b"a/b",
                b"a@b",
                b"http://a",
                b"a?b",
                b"a#b",
                b"a\\b",
                b"a:b",
                b"a:1:2",
                b"a:",
            ),
            *(
                b"\xe9.test",
                b"a\tb",
                b"[::1",
                b"::1",
                b"[::1]x",
                b"a%00b",
                b"a;b",
                b"<a>",
                b"a:123456",
                b"'",
                b"*",
            ),
        )
    },
    # what decides is said once, in ASCII
    "two Expect": (400, plain(HOST, b"Expect: 100-continue", b"Expect: 100-continue")),
    **{
        f"non-ASCII {name!r}": (400, plain(HOST, name + b": \xe9"))
        for name in (b"Connection", b"Expect", b"Upgrade", b"Transfer-Encoding")
    },
    # start lines
    "HTTP/0.9": (505, b"GET /health\r\n\r\n"),
    "HTTP/0.9 by name": (505, plain(HOST, start=b"GET /health HTTP/0.9")),
    "HTTP/2.0": (505, plain(HOST, start=b"GET /health HTTP/2.0")),
    "HTTP/3.0": (505, plain(HOST, start=b"GET /health HTTP/3.0")),
    **{
        f"start {start!r}": (400, plain(HOST, start=start))
        for start in (
            *(
                b"GET /health HTTP/11",
                b"GET /health HTTP/1.1 x",
                b"GET /health http/1.1",
            ),
            *(
                b"GET /health HTTP/1",
                b"GET /health XTTP/1.1",
                b"GET\t/health HTTP/1.1",
            ),
            *(
                b"NONSENSE /health",
                b"NONSENSE /he alth HTTP/1.1",
                b"NON(SENSE /health HTTP/1.1",
                b"GET /he alth HTTP/1.1",
                b"G\x00T /health HTTP/1.1",
                b"GET  HTTP/1.1",
            ),
            *(
                b"GET /h\x00 HTTP/1.1",
                b"GET /h\x7f HTTP/1.1",
                b"GET /h\xe9 HTTP/1.1",
                b" GET /health HTTP/1.1",
            ),
            *(
                b"\x16\x03\x01\x02\x00\x01\x00",
                b"GET /h\xe9?q HTTP/1.1",
                b"GET /health?q HTTP/1.\xff",
                b"/health",
            ),
        )
    },
    # switching protocols
    "CONNECT": (501, plain(HOST, start=b"CONNECT gateway.test:443 HTTP/1.1")),
    "TRACE": (501, plain(HOST, start=b"TRACE /health HTTP/1.1")),
    **{
        f"of another protocol: {start!r}": (400, plain(HOST, start=start))
        for start in (
            *(
                b"GET /health RTSP/1.0",
                b"POST /health RTSP/1.1",
                b"GET  /health  RTSP/1.1",
                b"OPTIONS * RTSP/1.0",
            ),
            *(b"DESCRIBE /health RTSP/1.0", b"SETUP /health RTSP/1.0", b"PUT /health RTSP/1.0"),
            *(b"SOURCE /health ICE/1.0", b"GET /health ICE/1.0", b"GET /health RTSP/2.0"),
            *(b"GET /health HTTPS/1.1", b"GET /health SIP/2.0", b"GET /health HTCPCP/1.0"),
        )
    },
    "of HTTP/2": (505, plain(HOST, start=b"PRI * HTTP/2.0")),
    "of HTTP/2, with a path": (505, plain(HOST, start=b"PRI /health HTTP/2.0")),
    "of HTTP/2, in HTTP/1.1": (501, plain(HOST, start=b"PRI /health HTTP/1.1")),
    "of HTTP/2, behind an empty line": (505, b"\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "CONNECT of a path": (501, plain(HOST, start=b"CONNECT /health HTTP/1.1")),
    **{
        f"unknown method: {start!r}": (501, plain(HOST, start=start))
        for start in (
            *(
                b"FOO /health HTTP/1.1",
                b"BREW /pot HTTP/1.1",
                b"get /health HTTP/1.1",
                b"GETX /health HTTP/1.1",
                b"PLAY /health HTTP/1.1",  # RTSP's, which llhttp knows
                b"DESCRIBE /health HTTP/1.1",
            ),
            *(b"!#$ /health HTTP/1.1", b"%b /health HTTP/1.1" % (b"A" * 200), b"FOO * HTTP/1.0"),
        )
    },
    **{
        f"upgrade to {offer!r}": (501, plain(HOST, b"Connection: upgrade", b"Upgrade: " + offer))
        for offer in (b"websocket, h2c", b"h2c, websocket", b"WebSocket/13", b"h2c\r\nUpgrade: websocket")
    },
    "size of a chunk with white space behind it": (400, chunked() + b"5 \r\nhello\r\n0\r\n\r\n"),
    "size of a chunk in two parts": (400, chunked() + b"1 0;a\r\n"),
    "quoted line end in an extension": (400, chunked() + b'5; a="\r\n"\r\nhello\r\n0\r\n\r\n'),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_is_ambiguous_is_refused_and_the_connection_closed(
    gateway: Gateway, upstream: Upstream, what: str
) -> None:
    status, raw = REFUSED[what]
    async with Client(gateway.address) as client:
        await client.send(raw + INNER)
        answer = await client.response()
        is_refusal(answer, status)
        assert answer.one("Connection") == "close"
        client.writer.write_eof()
        assert await client.closed() == b""  # what came behind got no answer
    assert upstream.seen == b""


@pytest.mark.parametrize(
    "raw",
    [
        plain(HOST, b"Connection: upgrade", b"Upgrade: websocket"),
        plain(HOST, b"Connection: upgrade", b"Upgrade: websocket", b"Upgrade: h2c"),
        plain(HOST, b"Connection: upgrade", b"Upgrade: websocket, h2c"),
        plain(HOST, b"Connection: upgrade", b"Upgrade: websocket", start=b"GET /api/x HTTP/1.1"),
        length(b"%d" % len(INNER), b"Connection: upgrade", b"Upgrade: websocket"),
        chunked(b"chunked", b"Connection: upgrade", b"Upgrade: websocket"),
    ],
)
async def test_bytes_behind_an_upgrade_are_nobodys_request(
    gateway: Gateway, upstream: Upstream, raw: bytes
) -> None:
    async with Client(gateway.address) as client:
        await client.send(raw + INNER)
        answer = await client.response()
        assert answer.status in (400, 401, 501)
        is_refusal(answer, answer.status)
        client.writer.write_eof()
        assert await client.closed() == b""
    assert upstream.seen == b""


async def test_offers_of_other_protocols_are_dropped_with_all_that_belongs_to_them(
    client: Client, upstream: Upstream
) -> None:
    """The bytes behind such a request are the next one, as if nothing was offered (RFC 9110 section 7.8)."""
    offer = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk")
    await client.send(plain(HOST, *offer) + INNER)
    assert (await client.response()).status == 200
    assert (await client.response()).status == 200
    assert [request.start for request in upstream.requests] == [
        b"GET /health HTTP/1.1",
        b"GET /smuggled HTTP/1.1",
    ]
    for name in ("Upgrade", "HTTP2-Settings", "Connection"):
        assert upstream.requests[0].one(name) is None


async def test_an_upgrade_that_is_not_asked_for_in_connection_is_no_upgrade(
    client: Client, upstream: Upstream
) -> None:
    assert (await client.exchange(plain(HOST, b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"))).status == 200
    assert upstream.requests[0].one("Upgrade") is None


SLICE = 4096
"""Bytes that are parsed at once; an edge where a head might end."""


@pytest.mark.parametrize("size", [SLICE - 1, SLICE, SLICE + 1])
@pytest.mark.parametrize("behind", [b"frames already", INNER])
async def test_bytes_behind_an_upgrade_are_refused_wherever_its_head_ends(
    gateway: Gateway, upstream: Upstream, size: int, behind: bytes
) -> None:
    head = plain(HOST, b"Connection: upgrade", b"Upgrade: websocket", b"X-Pad: ")
    raw = head[:-4] + b"a" * (size - len(head)) + head[-4:]
    assert len(raw) == size
    async with Client(gateway.address) as client:
        is_refusal(await client.exchange(raw + behind), 400)
        assert await client.closed() == b""
    assert upstream.seen == b""


@pytest.mark.parametrize("line", [b"GET  /health HTTP/1.1", b"GET /health  HTTP/1.1"])
async def test_more_than_one_space_in_a_start_line_is_one_for_the_upstream(
    client: Client, upstream: Upstream, line: bytes
) -> None:
    # RFC 9112 section 3 lets a recipient read on word boundaries; what is sent on is written anew.
    assert (await client.exchange(plain(HOST, start=line))).status == 200
    assert upstream.requests[0].start == b"GET /health HTTP/1.1"
