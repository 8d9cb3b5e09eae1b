"""WebSockets by hand, from both sides: handshakes, frames of a client, and what the upstream sees of them."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from aiohttp import WSMsgType, web

from tests.support.peers import PATIENCE, Client, in_time, read_head

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.app import Gateway
    from tests.support.peers import Message, Upstream

ASK = (
    b"GET /chat HTTP/1.1\r\nHost: e\r\nConnection: keep-alive\r\nCONNECTION: x , uPgRaDe\r\nUpgrade: WebSocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: a, b\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
)


SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: b\r\n\r\n"
)


Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def echoing(first: bytes = b"") -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(SWITCH + first)
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()

    return script


TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
FAILED = (1008, "authentication failed")
KEY = b"\x37\xfa\x21\x3d"


def frame(
    payload: bytes,
    opcode: int = TEXT,
    *,
    final: bool = True,
    masked: bool = True,
    flags: int = 0,
    key: bytes = KEY,
) -> bytes:
    """A frame as RFC 6455 section 5.2 draws it; a client's is masked."""
    size, mask = len(payload), 0x80 if masked else 0
    if size < 126:
        length = struct.pack("!B", mask | size)
    elif size < 65_536:
        length = struct.pack("!BH", mask | 126, size)
    else:
        length = struct.pack("!BQ", mask | 127, size)
    head = bytes([(0x80 if final else 0) | flags | opcode]) + length
    if not masked:
        return head + payload
    return head + key + bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))


def auth(token: str) -> bytes:
    """Return the first message of Whatomate's client."""
    return json.dumps({"type": "auth", "payload": {"token": token}}, separators=(",", ":")).encode()


class Far:
    """An upstream that switches protocols, keeps what it received behind that, and says what a test has it say."""

    def __init__(self, greeting: bytes = b"") -> None:
        self.received = b""
        self.ended, self.ready = asyncio.Event(), asyncio.Event()
        self._greeting = greeting
        self._moved = asyncio.Event()

    async def script(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        self.writer = writer
        writer.write(SWITCH + self._greeting)
        self.ready.set()
        with suppress(ConnectionError):
            while piece := await reader.read(65536):
                self.received += piece
                self._moved.set()
        self.ended.set()

    async def has(self, wanted: bytes) -> None:
        """Wait until it has received just that."""
        async with asyncio.timeout(PATIENCE):
            while len(self.received) < len(wanted):
                self._moved.clear()
                await self._moved.wait()
        assert self.received == wanted


async def knock(gateway: Gateway, *lines: str, target: str = "/ws") -> tuple[Client, Message]:
    """Shake hands, without a credential unless the lines or the target hold one."""
    client = await Client(gateway.address).__aenter__()
    raw = ASK.replace(b"/chat", target.encode())
    head = b"Host: e\r\n" + b"".join(line.encode() + b"\r\n" for line in lines)
    await client.send(raw.replace(b"Host: e\r\n", head))
    return client, await read_head(client.reader)


async def opened(gateway: Gateway, *lines: str, target: str = "/ws") -> Client:
    client, answer = await knock(gateway, *lines, target=target)
    assert answer.status == 101, answer.start
    return client


async def rest_of(client: Client) -> bytes:
    """Return the bytes that come until the connection ends."""
    rest = await client.closed()
    client.writer.close()
    return rest


async def closed_by(client: Client) -> tuple[int, str]:
    """With which code and words the gateway closes; then answer, and see the connection end."""
    head = await in_time(client.reader.readexactly(2))
    assert head[0] == 0x88, head
    payload = await in_time(client.reader.readexactly(head[1]))
    with suppress(ConnectionError):
        await client.send(frame(payload[:2], CLOSE))
    assert await rest_of(client) == b""
    return int.from_bytes(payload[:2], "big"), payload[2:].decode()


def unmasked(one: bytes) -> bytes:
    """The payload of a short masked frame."""
    key, payload = one[2:6], one[6:]
    return bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))


async def saw_only_the_end(far: Far) -> None:
    """Of a socket that was refused, the upstream sees Close 1001 and nothing else."""
    await in_time(far.ended.wait())
    assert far.received[:2] == b"\x88\x82", far.received
    assert unmasked(far.received) == (1001).to_bytes(2, "big")


async def status_of_ticket(gateway: Gateway, ticket: str) -> int:
    """The status of a handshake with the ticket."""
    async with Client(gateway.address) as client:
        await client.send(ASK.replace(b"/chat", f"/ws?token={ticket}".encode()))
        return (await read_head(client.reader)).status


@pytest.fixture
def far(upstream: Upstream) -> Far:
    one = Far()
    upstream.script = one.script
    return one


@pytest.fixture
async def sockets() -> AsyncIterator[tuple[int, asyncio.Queue[int | None]]]:
    """A real WebSocket server, by a real library; yields its port, and the codes its clients close with."""
    codes = asyncio.Queue[int | None]()

    async def chat(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=("chat",), compress=True, max_msg_size=0)
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await socket.send_str(message.data[::-1])
            elif message.type is WSMsgType.BINARY:
                await socket.send_bytes(message.data)
        codes.put_nowait(socket.close_code)
        return socket

    application = web.Application()
    application.router.add_get("/chat", chat)
    application.router.add_get("/ws", chat)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield runner.addresses[0][1], codes
    await runner.cleanup()
