"""Both ends of a gateway under test: a client that sends the bytes it is told, an upstream that keeps what it saw."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, TypeVar

from tests.support.ports import free_port

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable
    from pathlib import Path
    from types import TracebackType

T = TypeVar("T")

PATIENCE = 30
"""Seconds after which a test gives up on a peer; no assertion depends on it."""


@dataclass
class Message:
    """A parsed message: the start line, the field lines as sent, the body without its framing."""

    start: bytes
    lines: list[tuple[bytes, bytes]]
    body: bytes = b""

    @classmethod
    def of_head(cls, raw: bytes) -> Self:
        start, *lines = raw[:-4].split(b"\r\n")
        return cls(
            start, [(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
        )

    @property
    def status(self) -> int:
        return int(self.start.split(b" ")[1])

    def all(self, name: str) -> list[str]:
        return [value.decode() for key, value in self.lines if key.lower() == name.lower().encode()]

    def one(self, name: str) -> str | None:
        values = self.all(name)
        assert len(values) <= 1, f"{name} occurs {len(values)} times"
        return values[0] if values else None

    def json(self) -> dict[str, Any]:
        parsed = json.loads(self.body)
        assert isinstance(parsed, dict)
        return parsed


async def in_time(awaited: Awaitable[T]) -> T:
    """Await within PATIENCE. Unlike Python 3.11's ``wait_for`` it loses no cancellation that comes with the result."""
    async with asyncio.timeout(PATIENCE):
        return await awaited


async def read_head(reader: asyncio.StreamReader) -> Message:
    return Message.of_head(await in_time(reader.readuntil(b"\r\n\r\n")))


async def read_body(reader: asyncio.StreamReader, message: Message, *, until_close: bool) -> bytes:
    if message.one("Transfer-Encoding") == "chunked":
        body = b""
        while True:
            size = int(await in_time(reader.readuntil(b"\r\n")), 16)
            piece = await in_time(reader.readexactly(size + 2))
            if size == 0:
                return body
            body += piece[:-2]
    length = message.one("Content-Length")
    if length is not None:
        return await in_time(reader.readexactly(int(length)))
    return await in_time(reader.read()) if until_close else b""


class Client:
    """A raw connection to the gateway.

    Attributes:
        address: Where the gateway listens.
    """

    def __init__(
        self, address: tuple[str, int], tls: ssl.SSLContext | None = None, name: str = "gateway.example"
    ) -> None:
        """With `tls` it speaks TLS, and asks for `name`."""
        self.address = address
        self._tls: dict[str, Any] = {} if tls is None else {"ssl": tls, "server_hostname": name}

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection(*self.address, limit=1 << 24, **self._tls)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.close()
        with suppress(ConnectionError):  # the gateway was first
            await self.writer.wait_closed()

    async def send(self, raw: bytes) -> None:
        self.writer.write(raw)
        await self.writer.drain()

    async def response(self, *, head_only: bool = False, interim: bool = False) -> Message:
        """Read the next final response; with `interim`, the next of any kind."""
        while True:
            message = await read_head(self.reader)
            if interim or message.status >= 200:
                break
        if not head_only and message.status not in (204, 304) and message.status >= 200:
            message.body = await read_body(self.reader, message, until_close=True)
        return message

    async def exchange(self, raw: bytes) -> Message:
        await self.send(raw)
        return await self.response()

    async def closed(self) -> bytes:
        """Wait for the gateway to close; return what came before."""
        try:
            return await in_time(self.reader.read())
        except ConnectionError:
            return b""


class UnixClient(Client):
    """A raw connection to the gateway by a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__(("", 0))
        self._path = path

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_unix_connection(str(self._path), limit=1 << 24)
        return self


@dataclass
class Upstream:
    """An upstream that keeps every byte it received and every request it could read.

    Attributes:
        script: Serves a connection instead of the echo, when set.
        raw: All bytes received, by connection, in order.
        requests: The requests read by the echo.
        tls: Makes it speak TLS, when set.
        port: Where it listens, again if it closes and comes back; a free one if it is 0.
        path: It listens on this Unix socket instead, when set.
    """

    script: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]] | None = None
    raw: list[bytearray] = field(default_factory=list)
    requests: list[Message] = field(default_factory=list)
    port: int = 0
    tls: ssl.SSLContext | None = None
    host: str = "127.0.0.1"
    path: Path | None = None
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        if self.path is not None:
            self._server = await asyncio.start_unix_server(self._accept, self.path, limit=1 << 24)
            return self
        self.port = self.port or free_port()
        self._server = await asyncio.start_server(
            self._accept, self.host, self.port, limit=1 << 24, ssl=self.tls
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def connections(self) -> int:
        """The number of connections that are open."""
        return len(self._tasks)

    @property
    def seen(self) -> bytes:
        return b"".join(bytes(one) for one in self.raw)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        copy = bytearray()
        self.raw.append(copy)
        tap = _Tap(reader, copy)
        try:
            await (self.script or self._echo)(tap, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the gateway went away, which is its right
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            message = await next_request(reader)
            if message is None:
                return
            if (message.one("Expect") or "").lower() == "100-continue":
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            message.body = await read_body(reader, message, until_close=False)
            self.requests.append(message)
            body = json.dumps(
                {
                    "start": message.start.decode("latin-1"),
                    "headers": [[k.decode("latin-1"), v.decode("latin-1")] for k, v in message.lines],
                    "body": message.body.decode("latin-1"),
                }
            ).encode()
            length = b"Content-Length: %d\r\n\r\n" % len(body)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + length)
            if not message.start.startswith(b"HEAD "):
                writer.write(body)
            await writer.drain()


async def next_request(reader: asyncio.StreamReader) -> Message | None:
    """Read the next head, however long the connection rests before it; None at its end."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    return Message.of_head(raw)


class _Tap(asyncio.StreamReader):
    """A reader that keeps a copy of what is read through it."""

    def __init__(self, inner: asyncio.StreamReader, copy: bytearray) -> None:
        super().__init__(limit=1 << 24)
        self._inner = inner
        self._copy = copy

    async def read(self, n: int = -1) -> bytes:
        got = await self._inner.read(n)
        self._copy += got
        return got

    async def readexactly(self, n: int) -> bytes:
        try:
            got = await self._inner.readexactly(n)
        except asyncio.IncompleteReadError as error:
            self._copy += error.partial
            raise
        self._copy += got
        return got

    async def readuntil(self, separator: bytes = b"\n") -> bytes:  # type: ignore[override]  # one form is enough
        try:
            got = await self._inner.readuntil(separator)
        except asyncio.IncompleteReadError as error:
            self._copy += error.partial
            raise
        self._copy += got
        return got
