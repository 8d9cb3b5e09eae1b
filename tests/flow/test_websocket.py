"""WebSockets pass as they are: handshake checked at both ends, then bytes both ways until either side ends."""

from __future__ import annotations

import asyncio
import hashlib
import time
from typing import TYPE_CHECKING

import pytest
from aiohttp import ClientSession

from tests.support.calls import whatomate_token
from tests.support.peers import PATIENCE, Client, read_head
from tests.support.sockets import ASK, SWITCH, echoing

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World


async def test_the_handshake_passes_and_bytes_flow_both_ways(client: Client, upstream: Upstream) -> None:
    upstream.script = echoing(b"hello at once")
    await client.send(ASK)
    answer = await read_head(client.reader)
    assert (answer.status, answer.all("Connection"), answer.all("Upgrade")) == (
        101,
        ["Upgrade"],
        ["websocket"],
    )
    assert answer.one("Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert answer.one("Sec-WebSocket-Protocol") == "b"
    assert await client.reader.readexactly(13) == b"hello at once"
    for n in range(5):
        await client.send(b"%05d" % n)
        assert await asyncio.wait_for(client.reader.readexactly(5), PATIENCE) == b"%05d" % n
    asked = upstream.seen.split(b"\r\n\r\n")[0]
    for line in (
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        b"Sec-WebSocket-Protocol: a, b",
        b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
    ):
        assert asked.split(b"\r\n").count(line) == 1


FRAME = b"\x81\x05hello"
EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


@pytest.mark.parametrize("interim", [b"", EARLY_HINTS])
@pytest.mark.parametrize("cut", [1, 10, len(SWITCH) - 4, len(SWITCH) - 1, len(SWITCH)])
async def test_bytes_behind_a_101_are_the_sockets_however_it_is_cut(
    client: Client, upstream: Upstream, interim: bytes, cut: int
) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        for piece in (interim + SWITCH[:cut], SWITCH[cut:] + FRAME, FRAME):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)
        await reader.read()

    upstream.script = script
    await client.send(ASK)
    if interim:
        assert (await read_head(client.reader)).status == 103
    assert (await read_head(client.reader)).status == 101
    assert await asyncio.wait_for(client.reader.readexactly(14), PATIENCE) == FRAME + FRAME


async def test_an_interim_answer_that_is_cut_before_a_101_loses_nothing(
    client: Client, upstream: Upstream
) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        whole = EARLY_HINTS + SWITCH + FRAME
        for piece in (whole[:20], whole[20:]):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)
        await reader.read()

    upstream.script = script
    await client.send(ASK)
    assert (await read_head(client.reader)).status == 103
    assert (await read_head(client.reader)).status == 101
    assert await asyncio.wait_for(client.reader.readexactly(7), PATIENCE) == FRAME


async def test_half_close_passes_in_both_directions(client: Client, upstream: Upstream) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(SWITCH)
        everything = await reader.read()  # until the client's FIN
        writer.write(b"got " + everything)

    upstream.script = script
    await client.send(ASK)
    await read_head(client.reader)
    await client.send(b"all of it")
    client.writer.write_eof()
    assert await client.closed() == b"got all of it"


async def test_the_end_of_either_side_ends_the_other(gateway: Gateway, upstream: Upstream) -> None:
    ended = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(SWITCH)
        await reader.read()
        ended.set()

    upstream.script = script
    async with Client(gateway.address) as client:
        await client.send(ASK)
        await read_head(client.reader)
        client.writer.transport.abort()
    await asyncio.wait_for(ended.wait(), PATIENCE)

    async def leaving(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(SWITCH + b"\x88\x02\x03\xe8")  # a close frame, 1000

    upstream.script = leaving
    async with Client(gateway.address) as client:
        await client.send(ASK)
        await read_head(client.reader)
        client.writer.write_eof()
        assert await client.closed() == b"\x88\x02\x03\xe8"


async def test_large_messages_pass_whole_with_backpressure(gateway: Gateway, upstream: Upstream) -> None:
    upstream.script = echoing()
    block, blocks = bytes(range(256)) * 256, 512
    async with Client(gateway.address) as client:
        await client.send(ASK)
        await read_head(client.reader)

        async def push() -> None:
            for _ in range(blocks):
                await client.send(block)

        pushing = asyncio.create_task(push())
        digest, got = hashlib.blake2b(), 0
        while got < blocks * len(block):
            piece = await asyncio.wait_for(client.reader.read(1 << 20), PATIENCE)
            assert piece
            digest.update(piece)
            got += len(piece)
        await pushing
    expected = hashlib.blake2b()
    for _ in range(blocks):
        expected.update(block)
    assert digest.digest() == expected.digest()


async def test_a_tunnel_whose_reader_stalls_stalls_its_writer(gateway: Gateway, upstream: Upstream) -> None:
    written = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await read_head(reader)
        writer.write(SWITCH)
        while True:
            writer.write(bytes(1 << 18))
            await writer.drain()
            written += 1 << 18

    upstream.script = script
    async with Client(gateway.address) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport can
        await client.send(ASK)
        before = -1
        async with asyncio.timeout(PATIENCE):
            while written == 0 or written != before:
                before = written
                await asyncio.sleep(0.3)
    assert written < 64 << 20


async def test_a_client_that_does_not_wait_for_the_101_is_refused_and_its_bytes_go_nowhere(
    client: Client, upstream: Upstream
) -> None:
    asked = asyncio.Event()
    behind: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        asked.set()
        behind.append(await reader.read())

    upstream.script = script
    await client.send(ASK)
    await asked.wait()
    refusal = await client.exchange(b"eager")
    assert (refusal.status, refusal.one("Connection")) == (400, "close")
    assert await client.closed() == b""
    async with asyncio.timeout(PATIENCE):
        while not behind:
            await asyncio.sleep(0.01)
    assert behind == [b""]  # it saw the handshake, and the end


async def test_a_client_that_leaves_before_the_101_ends_the_handshake_at_once(
    client: Client, upstream: Upstream
) -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        asked.set()
        await reader.read()
        left.set()

    upstream.script = script
    await client.send(ASK)
    await asked.wait()
    client.writer.transport.abort()
    await asyncio.wait_for(left.wait(), PATIENCE)


async def test_bytes_behind_the_handshake_are_refused(client: Client, upstream: Upstream) -> None:
    assert (await client.exchange(ASK + b"frames already")).status == 400
    assert await client.closed() == b""
    assert upstream.seen == b""


@pytest.mark.parametrize(
    "raw",
    [
        ASK.replace(b"GET", b"POST"),
        ASK.replace(b"Host: e\r\n", b"Host: e\r\nContent-Length: 3\r\n") + b"abc",
        ASK.replace(b"Host: e\r\n", b"Host: e\r\nTransfer-Encoding: chunked\r\n") + b"0\r\n\r\n",
    ],
)
async def test_a_handshake_that_is_no_plain_get_is_refused(
    client: Client, upstream: Upstream, raw: bytes
) -> None:
    assert (await client.exchange(raw)).status == 400
    assert upstream.seen == b""


@pytest.mark.parametrize(
    "protocol", [b"h2c, websocket", b"websocket, h2c", b"websocket\r\nUpgrade: websocket"]
)
async def test_an_upgrade_to_websocket_and_something_else_is_501(
    client: Client, upstream: Upstream, protocol: bytes
) -> None:
    assert (await client.exchange(ASK.replace(b"Upgrade: WebSocket", b"Upgrade: " + protocol))).status == 501
    assert upstream.seen == b""


@pytest.mark.parametrize("protocol", [b"h2c", b"TLS/1.0", b"a, b\r\nUpgrade: c", b""])
async def test_an_offer_of_something_else_alone_is_dropped(
    client: Client, upstream: Upstream, protocol: bytes
) -> None:
    assert (await client.exchange(ASK.replace(b"Upgrade: WebSocket", b"Upgrade: " + protocol))).status == 200
    assert upstream.requests[0].all("Upgrade") == []


@pytest.mark.parametrize("offer", [b"websocket", b"h2c", b"websocket, h2c", b"websocket/13"])
@pytest.mark.parametrize(("keep", "answers"), [(b"upgrade", 1), (b"upgrade, keep-alive", 2)])
async def test_an_offer_in_http_1_0_is_ignored_whatever_it_is(
    client: Client, upstream: Upstream, offer: bytes, keep: bytes, answers: int
) -> None:
    raw = (
        b"POST /health HTTP/1.0\r\nHost: e\r\nUpgrade: %b\r\nConnection: %b\r\nContent-Length: 3\r\n\r\nabc"
        % (offer, keep)
    )
    await client.send(raw * 2)
    for _ in range(answers):
        assert (await client.response()).status == 200
    if answers == 1:
        assert await client.closed() == b""
    assert [request.body for request in upstream.requests] == [b"abc"] * answers
    for request in upstream.requests:
        assert (request.one("Upgrade"), request.one("Connection")) == (None, None)


async def test_an_upgrade_that_connection_does_not_name_is_no_upgrade(
    client: Client, upstream: Upstream
) -> None:
    raw = ASK.replace(b"x , uPgRaDe", b"x")
    assert (await client.exchange(raw)).status == 200
    assert upstream.requests[0].one("Upgrade") is None


@pytest.mark.parametrize(
    "raw",
    [
        SWITCH.replace(b"Upgrade: websocket\r\n", b""),
        SWITCH.replace(b"Upgrade: websocket", b"Upgrade: h2c"),
        SWITCH.replace(b"Connection: upgrade\r\n", b""),
    ],
)
async def test_a_101_that_does_not_switch_to_websocket_is_502(
    client: Client, upstream: Upstream, raw: bytes
) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(raw)
        await reader.read()

    upstream.script = script
    assert (await client.exchange(ASK)).status == 502


async def test_an_answer_other_than_101_is_an_ordinary_response(client: Client, upstream: Upstream) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nContent-Length: 4\r\n\r\nnope")
        assert await reader.read() == b""

    upstream.script = script
    await client.send(ASK)
    answer = await client.response()
    assert (answer.status, answer.body) == (426, b"nope")
    assert (answer.all("Connection"), answer.one("Upgrade")) == (["Upgrade", "close"], "websocket")
    await client.send(b"these bytes are for no tunnel")
    assert await client.closed() == b""


async def test_a_tunnel_in_which_nothing_moves_is_closed(start: Start, upstream: Upstream) -> None:
    upstream.script = echoing()
    gateway = await start(timeout={"tunnel_seconds": 0.5})
    async with Client(gateway.address) as client:
        await client.send(ASK)
        await read_head(client.reader)
        for _ in range(4):  # what moves keeps it open, beyond any total of the limit
            await asyncio.sleep(0.25)
            await client.send(b"ping")
            assert await client.reader.readexactly(4) == b"ping"
        assert await client.closed() == b""


async def test_a_handshake_without_a_credential_goes_nowhere_on_a_protected_path(
    client: Client, upstream: Upstream
) -> None:
    for path in (b"/ws/x", b"/api/ws", b"/api/auth/ws"):
        raw = ASK.replace(b"/chat", path)
        async with Client(client.address) as one:  # the same gateway
            assert (await one.exchange(raw)).status == 401
    assert upstream.seen == b""


async def test_a_real_client_and_a_real_server_talk_through_it(
    start: Start, sockets: tuple[int, asyncio.Queue[int | None]]
) -> None:
    there, codes = sockets
    gateway = await start(upstream={"url": f"http://127.0.0.1:{there}"})
    host, port = gateway.address
    async with (
        ClientSession() as session,
        session.ws_connect(
            f"http://{host}:{port}/chat", protocols=("chat",), compress=15, max_msg_size=0
        ) as socket,
    ):
        assert (socket.protocol, socket.compress) == ("chat", 15)
        await socket.send_str("hello")
        assert (await socket.receive()).data == "olleh"
        large = bytes(range(256)) * 40_000
        await socket.send_bytes(large)
        assert (await socket.receive()).data == large
        await socket.close(code=4000)
        assert await asyncio.wait_for(codes.get(), PATIENCE) == 4000


@pytest.fixture
async def open_world(world: World, start: Start, upstream: Upstream) -> tuple[World, Gateway]:
    upstream.script = echoing()
    return world, await start(world.url)


def asking(query: str, *lines: str) -> bytes:
    raw = ASK.replace(b"/chat", b"/ws" + query.encode())
    return raw.replace(b"Host: e\r\n", b"Host: e\r\n" + b"".join(line.encode() + b"\r\n" for line in lines))


def ticket_of(world: World) -> str:
    return world.tokens.issue_ticket(user_id=world.agent, organization_id=world.home, now=time.time())


async def test_a_ticket_opens_the_socket_and_says_who_it_is(
    open_world: tuple[World, Gateway], upstream: Upstream
) -> None:
    world, gateway = open_world
    ticket = ticket_of(world)
    async with Client(gateway.address) as client:
        await client.send(asking(f"?a=1&token={ticket}"))
        assert (await read_head(client.reader)).status == 101
    seen = upstream.seen.decode()
    assert seen.startswith(f"GET /ws?a=1&token={ticket} HTTP/1.1\r\n")  # the upstream checks it again
    assert f"X-User-ID: {world.agent}\r\n" in seen
    assert "X-Auth-Method: ws\r\n" in seen


async def test_a_token_in_a_query_is_a_credential_nowhere_else(
    open_world: tuple[World, Gateway], upstream: Upstream
) -> None:
    world, gateway = open_world
    for path in ("/api/contacts", "/ws/x", "/api/ws"):
        for token in (ticket_of(world), world.token(world.agent)):
            async with Client(gateway.address) as client:
                raw = f"GET {path}?token={token} HTTP/1.1\r\nHost: e\r\n\r\n".encode()
                assert (await client.exchange(raw)).status == 401
    assert upstream.seen == b""


async def test_what_opens_no_socket_opens_none_from_the_query(
    open_world: tuple[World, Gateway], upstream: Upstream
) -> None:
    world, gateway = open_world
    access = world.token(world.agent)
    for query, lines, status in (
        (f"?token={whatomate_token(world.agent, world.home, jti='x')}", (), 401),
        (f"?token={access}&token={access}", (), 400),
        ("?token=", (), 401),
        ("?token=nonsense", (), 401),
        (f"?token={ticket_of(world)}&token={ticket_of(world)}", (), 400),
        (f"?token={ticket_of(world)}&%74oken={ticket_of(world)}", (), 400),
        (f"?token={ticket_of(world)}", (f"Authorization: Bearer {access}",), 400),
        ("", (f"Authorization: Bearer {ticket_of(world)}",), 401),
    ):
        async with Client(gateway.address) as client:
            assert (await client.exchange(asking(query, *lines))).status == status, (query[:12], lines)
    assert upstream.seen == b""


async def test_a_header_credential_opens_the_socket_as_well(
    open_world: tuple[World, Gateway], upstream: Upstream
) -> None:
    world, gateway = open_world
    async with Client(gateway.address) as client:
        await client.send(asking("", f"Authorization: Bearer {world.token(world.agent)}"))
        assert (await read_head(client.reader)).status == 101
    assert b"X-Auth-Method: jwt\r\n" in upstream.seen
