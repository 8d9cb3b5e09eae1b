"""Clients and upstreams as they are: what RFC 9110 and RFC 9112 let them send is read, and refused by its name."""

from __future__ import annotations

import asyncio
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.calls import is_refusal
from tests.support.peers import PATIENCE, Client
from tests.support.programs import program

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.app import Gateway
    from tests.support.peers import Upstream
    from tests.support.worlds import Start

HOST = b"Host: gateway.test\r\n"
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
TEXT = b"HTTP/2 is not spoken here, use HTTP/1.1"


def cut(raw: bytes, size: int) -> list[bytes]:
    return [raw[at : at + size] for at in range(0, len(raw), size)]


async def sent_in_pieces(client: Client, raw: bytes, size: int) -> None:
    """Send `raw` so that the gateway reads it in pieces."""
    for piece in cut(raw, size):
        await client.send(piece)
        await asyncio.sleep(0)


def answering_in_pieces(
    raw: bytes, size: int
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """An upstream that answers each request by `raw`, so that the gateway reads it in pieces."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            for piece in cut(raw, size):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)

    return answer


# -- offers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(
    ("line", "framed", "body"),
    [
        (b"GET /health HTTP/1.1\r\n", b"\r\n", b""),
        (b"POST /health HTTP/1.1\r\n", b"Content-Length: 5\r\n\r\nhello", b"hello"),
        (b"POST /health HTTP/1.1\r\n", CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"POST /health HTTP/1.1\r\n", CHUNKED + b"5; a=1\r\nhello\r\n0\r\n\r\n", b"hello"),
    ],
)
async def test_a_request_that_offers_h2c_goes_on_with_its_body_and_its_connection(
    client: Client, upstream: Upstream, line: bytes, framed: bytes, body: bytes, size: int
) -> None:
    for _ in range(2):
        await sent_in_pieces(client, line + HOST + H2C + framed, size)
        assert (await client.response()).status == 200
    for request in upstream.requests:
        assert request.body == body
        for name in ("Upgrade", "HTTP2-Settings", "Connection"):
            assert request.one(name) is None


async def test_curl_that_offers_http_2_is_served(gateway: Gateway, upstream: Upstream) -> None:
    del upstream
    url = f"http://{gateway.address[0]}:{gateway.address[1]}/health"
    arguments = [
        program("curl"),
        "-sS",
        "-m",
        "8",
        "--http2",
        "-d",
        "hello",
        "-w",
        "%{http_code} %{http_version}",
        url,
    ]
    done = await asyncio.to_thread(
        subprocess.run, arguments, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.stdout.endswith("200 1.1"), done


# -- HTTP/2 with prior knowledge -----------------------------------------------------------------------------------


def frames(raw: bytes) -> list[tuple[int, int, bytes]]:
    """The frames of HTTP/2 in `raw`: kind, stream, payload."""
    found = []
    while raw:
        size = int.from_bytes(raw[:3], "big")
        found.append((raw[3], int.from_bytes(raw[5:9], "big"), raw[9 : 9 + size]))
        assert len(raw) >= 9 + size
        raw = raw[9 + size :]
    return found


@pytest.mark.parametrize("size", [1, 18, 1000])
async def test_a_client_of_http_2_is_answered_in_frames(
    gateway: Gateway, upstream: Upstream, size: int
) -> None:
    request = b"\x00\x00\x04\x01\x05\x00\x00\x00\x03abcd"
    async with Client(gateway.address) as client:
        await sent_in_pieces(client, PREFACE + SETTINGS + request, size)
        settings, headers, body, goaway = frames(await client.closed())
    assert settings == (4, 0, b"")
    assert headers[:2] == (1, 3)
    assert b"505" in headers[2]
    assert body[:2] == (0, 3)
    assert TEXT in body[2]
    assert goaway == (7, 0, (3).to_bytes(4, "big") + bytes(4) + TEXT)
    assert upstream.seen == b""


async def test_a_client_of_http_2_that_asks_nothing_reads_which_version_is_required(gateway: Gateway) -> None:
    async with Client(gateway.address) as client:
        await client.send(PREFACE + SETTINGS)
        settings, goaway = frames(await client.closed())
    assert settings == (4, 0, b"")
    assert goaway == (7, 0, bytes(4) + (0xD).to_bytes(4, "big") + TEXT)


@pytest.mark.parametrize(
    "pieces",
    [
        [PREFACE[:16]],
        [PREFACE[:7], PREFACE[7:18]],
        [PREFACE[:9], PREFACE[9:20], PREFACE[20:]],
    ],
)
async def test_a_part_of_the_preface_waits_no_longer_than_a_whole_one(
    start: Start, pieces: list[bytes]
) -> None:
    long = 6 * PATIENCE
    gateway = await start(timeout={"head_seconds": long, "idle_seconds": long})
    async with Client(gateway.address) as client:
        for piece in pieces:
            await client.send(piece)
            await asyncio.sleep(0.01)
        settings, goaway = frames(await client.closed())
    assert settings == (4, 0, b"")
    assert goaway == (7, 0, bytes(4) + (0xD).to_bytes(4, "big") + TEXT)


async def test_a_preface_that_breaks_off_is_refused_at_once(start: Start) -> None:
    gateway = await start(timeout={"head_seconds": 6 * PATIENCE})
    async with Client(gateway.address) as client:
        await client.send(PREFACE[:18] + b"GET / HTTP/1.1\r\n\r\n")
        settings, goaway = frames(await client.closed())
    assert (settings[0], goaway[0]) == (4, 7)


async def test_http_2_behind_a_request_of_http_1_is_answered_in_http_1(client: Client) -> None:
    assert (await client.exchange(b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n")).status == 200
    await client.send(PREFACE[:16])
    is_refusal(await client.response(), 505)


async def test_curl_with_prior_knowledge_of_http_2_shows_why_not(gateway: Gateway) -> None:
    url = f"http://{gateway.address[0]}:{gateway.address[1]}/health"
    arguments = [
        program("curl"),
        "-sS",
        "-m",
        "8",
        "--http2-prior-knowledge",
        "-w",
        " %{http_code} %{http_version}",
        url,
    ]
    done = await asyncio.to_thread(
        subprocess.run, arguments, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert TEXT.decode() in done.stdout
    assert done.stdout.endswith(" 505 2")


# -- start lines ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 11, 1000])
@pytest.mark.parametrize(
    "line",
    [
        b"GET /health RTSP/1.0",
        b"\r\nPOST  /health  RTSP/1.0",
        b"SOURCE /health ICE/1.0",
        b"GET /health SIP/2.0",
    ],
)
async def test_another_protocol_is_refused_by_its_name(
    gateway: Gateway, upstream: Upstream, line: bytes, size: int
) -> None:
    again = b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n"
    for before in (b"", again):
        async with Client(gateway.address) as client:
            if before:
                assert (await client.exchange(before)).status == 200
            await sent_in_pieces(client, line + b"\r\n" + HOST + b"\r\n", size)
            answer = await client.response()
            is_refusal(answer, 400)
            assert answer.json()["message"] == "Malformed request: the protocol is not HTTP, use HTTP/1.1"
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("version", [b"1.2", b"1.9"])
async def test_a_later_minor_version_is_read_as_1_1(
    client: Client, upstream: Upstream, version: bytes
) -> None:
    for _ in range(2):
        answer = await client.exchange(b"GET /health HTTP/%b\r\n%b\r\n" % (version, HOST))
        assert answer.start.startswith(b"HTTP/1.1 200 ")
    assert upstream.requests[0].start == b"GET /health HTTP/1.1"


async def test_a_response_of_a_later_minor_version_is_read_as_1_1(client: Client, upstream: Upstream) -> None:
    async def later(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in range(2):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.3 200 OK\r\nX-Number: %d\r\nContent-Length: 2\r\n\r\nok" % number)

    upstream.script = later
    for number in range(2):
        answer = await client.exchange(b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n")
        assert (answer.start[:13], answer.one("X-Number")) == (b"HTTP/1.1 200 ", str(number))


async def test_a_request_without_host_gets_the_upstreams_and_one_with_keeps_its_own(
    client: Client, upstream: Upstream
) -> None:
    keep = b"Connection: keep-alive\r\n\r\n"
    for lines in (b"", HOST, b""):
        assert (await client.exchange(b"GET /health HTTP/1.0\r\n" + lines + keep)).status == 200
    here = f"127.0.0.1:{upstream.port}"
    assert [request.one("Host") for request in upstream.requests] == [here, "gateway.test", here]


@pytest.mark.parametrize("size", [1, 5, 1000])
@pytest.mark.parametrize(
    ("target", "forwarded"),
    [
        ("/health?q=José&n=%41", "/health?q=Jos%C3%A9&n=%41"),
        ("/health?é?é", "/health?%C3%A9?%C3%A9"),
        ("http://gateway.test/health?ü", "/health?%C3%BC"),
    ],
)
async def test_a_query_in_utf_8_goes_on_percent_encoded(
    client: Client, upstream: Upstream, target: str, forwarded: str, size: int
) -> None:
    await sent_in_pieces(client, b"GET %b HTTP/1.1\r\n%b\r\n" % (target.encode(), HOST), size)
    assert (await client.response()).status == 200
    assert upstream.requests[0].start == f"GET {forwarded} HTTP/1.1".encode()


@pytest.mark.parametrize("size", [3, 1000])
async def test_bytes_over_ascii_are_not_encoded_outside_of_a_query(
    gateway: Gateway, upstream: Upstream, size: int
) -> None:
    for raw in (
        "GET /é?q HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /health?q HTTP/1.1\r\né: a\r\nHost: a\r\n\r\n",
        "GET /health?q#é HTTP/1.1\r\nHost: a\r\n\r\n",
    ):
        async with Client(gateway.address) as client:
            await sent_in_pieces(client, raw.encode(), size)
            assert (await client.response()).status == 400, raw
    assert upstream.seen == b""


# -- chunk extensions ----------------------------------------------------------------------------------------------

EXTENDED = b'5; a=1\r\nhello\r\n6\t;\tb = " ; x"\r\n world\r\n0 ; end\r\n\r\n'


@pytest.mark.parametrize("size", [1, 3, 4096])
async def test_white_space_around_chunk_extensions_is_read(
    client: Client, upstream: Upstream, size: int
) -> None:
    for _ in range(2):
        await sent_in_pieces(client, b"POST /health HTTP/1.1\r\n" + HOST + CHUNKED + EXTENDED, size)
        assert (await client.response()).status == 200
    assert [request.body for request in upstream.requests] == [b"hello world"] * 2


@pytest.mark.parametrize("size", [1, 3, 60, 4096])
async def test_white_space_around_a_responses_chunk_extensions_is_read(
    client: Client, upstream: Upstream, size: int
) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    upstream.script = answering_in_pieces(early + b"HTTP/1.1 200 OK\r\n" + CHUNKED + EXTENDED, size)
    for _ in range(3):
        response = await client.exchange(b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n")
        assert (response.status, response.body) == (200, b"hello world")
    assert len(upstream.raw) == 1, "the connection is used again"


PADDED = b"5 \r\nhello\r\n000006\t \r\n world\r\n%b1  \r\n!\r\n0   \r\n\r\n" % (b"0" * 15)


@pytest.mark.parametrize("size", [1, 3, 60, 4096])
async def test_padded_sizes_of_a_responses_chunks_are_read(
    client: Client, upstream: Upstream, size: int
) -> None:
    upstream.script = answering_in_pieces(b"HTTP/1.1 200 OK\r\n" + CHUNKED + PADDED, size)
    for _ in range(3):
        response = await client.exchange(b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n")
        assert (response.status, response.body) == (200, b"hello world!")
    assert len(upstream.raw) == 1, "the connection is used again"


@pytest.mark.parametrize("line", [b" 5", b"5 5", b"5 ;", b"5\v", b"\t5", b"5 x", b"0x5 ", b"+5 ", b"5_0 "])
async def test_a_size_that_has_two_readings_breaks_the_answer_off(
    client: Client, upstream: Upstream, line: bytes
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"3\r\nabc\r\n" + line + b"\r\nhello\r\n0\r\n\r\n")
        await reader.read()

    upstream.script = answer
    await client.send(b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n")
    rest = await client.closed()
    assert b"hello" not in rest
    assert not rest.endswith(b"0\r\n\r\n") or b" 502 " in rest


# -- responses -----------------------------------------------------------------------------------------------------


async def test_426_keeps_its_upgrade_and_no_other_response_does(client: Client, upstream: Upstream) -> None:
    statuses = iter((b"426 Upgrade Required", b"200 OK"))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for status in statuses:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(
                b"HTTP/1.1 %b\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n"
                % status
            )

    upstream.script = answer
    first = await client.exchange(b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n")
    assert (first.status, first.one("Upgrade"), first.one("Connection")) == (426, "websocket", "Upgrade")
    second = await client.exchange(b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n")
    assert (second.status, second.one("Upgrade"), second.one("Connection")) == (200, None, None)


@pytest.mark.parametrize("status", [600, 799, 999])
async def test_a_status_of_no_class_is_passed_on_and_its_connection_used_again(
    client: Client, upstream: Upstream, status: int
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in range(3):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(
                b"HTTP/1.1 %d Ours\r\nX-Number: %d\r\nContent-Length: 2\r\n\r\nno" % (status, number)
            )

    upstream.script = answer
    for _ in range(3):
        response = await client.exchange(b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n")
        assert (response.start, response.body) == (b"HTTP/1.1 %d Ours" % status, b"no")
    assert len(upstream.raw) == 1


@pytest.mark.parametrize("interim", [b"", b"HTTP/1.1 103 a\x01b\r\nLink: </a>\r\n\r\n"])
async def test_control_bytes_of_a_reason_phrase_reach_nobody(
    client: Client, upstream: Upstream, interim: bytes
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(interim + b"HTTP/1.1 200 a\x01\x00b\tc\x7f\xe9\r\nContent-Length: 0\r\n\r\n")
        await reader.read()

    upstream.script = answer
    await client.send(b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n")
    if interim:
        assert (await client.response(interim=True)).start == b"HTTP/1.1 103 a b"
    assert (await client.response()).start == b"HTTP/1.1 200 a  b\tc \xe9"
