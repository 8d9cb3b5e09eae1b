"""HTTP server of the admin listener: it reads a request whole, checks the right to ask, and answers with one page.

It is the wire of the public listener with a few paths behind it, so that a gateway at rest needs no other HTTP server.
Laws:

- The client's right to ask is checked before the path is looked up (:mod:`gateway.admin_access`).
- A request body is at most ``MOST_BODY`` bytes; a larger one is 413.
- A client has ``ClientLimits`` as a public one has; no setting changes them, for probes and scrapes are few. Where the
  process may open few files, fewer connections are taken.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from gateway.addresses import UnixFile, bind
from gateway.draining import Drain
from gateway.faults import INTERNAL, ContentTooLarge, MethodNotAllowed, NotFound
from gateway.proxy.clock import http_date
from gateway.proxy.places import whole
from gateway.proxy.refusals import refuse
from gateway.proxy.target import parse_target
from gateway.wire.descriptors import RESERVE, descriptor_limit
from gateway.wire.drive import offload
from gateway.wire.farewell import END_SECONDS
from gateway.wire.inbound import ClientGone
from gateway.wire.limits import ClientLimits
from gateway.wire.listener import Listener
from gateway.wire.messages import BodyKind
from gateway.wire.proxy_protocol import UNIX

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Awaitable, Callable, Mapping

    from gateway.admin_access import Access
    from gateway.wire.deadlines import Deadlines
    from gateway.wire.inbound import Inbound
    from gateway.wire.messages import RequestHead
    from gateway.wire.write_buffer import WriteBatch

JSON: Final = "application/json"
TEXT: Final = "text/plain; charset=utf-8"
MOST_BODY: Final = 1_048_576
CLOSING_SECONDS: Final = 2.0
"""How long a request that is being answered may delay the end."""
HANDSHAKE_SECONDS: Final = 10.0
LIMITS: Final = ClientLimits(
    head_bytes=65_536,
    fields=200,
    target_bytes=8_192,
    connections=1_024,
    connections_per_address=128,
    head_seconds=10.0,
    idle_seconds=120.0,
    body_seconds=30.0,
    write_seconds=30.0,
)
"""A scraper that asks every minute keeps its connection."""
_SHARE: Final = 64
"""The part of the process's descriptors that connections may take, beyond half of the reserve: one in so many."""

log = structlog.get_logger()


class Asked(NamedTuple):
    """Request to the admin listener, whole.

    Attributes:
        head: Its head.
        body: Its body, empty if it has none.
    """

    head: RequestHead
    body: bytes

    def field(self, name: bytes) -> str:
        """Return the first value of a field, `name` in lower case; empty if there is none."""
        return self.head.first.get(name, b"").decode("latin-1")

    @property
    def is_json(self) -> bool:
        """True if the body is declared as JSON, which no page of another origin can send without a preflight."""
        return self.field(b"content-type").partition(";")[0].strip().lower() == JSON


class Page(NamedTuple):
    """Answer of the admin listener.

    Attributes:
        body: Its body.
        media: The value of Content-Type.
        status: HTTP status.
        headers: Further field lines.
    """

    body: bytes
    media: str = JSON
    status: int = 200
    headers: Mapping[str, str] = MappingProxyType({})


class AdminServer:
    """Server of one admin listener.

    Attributes:
        listener: The state that its connections share.
        address: Host and port of its first TCP socket; empty and 0 without one.
    """

    def __init__(
        self,
        pages: Mapping[tuple[str, str], Callable[[Asked], Awaitable[Page]]],
        access: Access | None,
        deadlines: Deadlines,
        write_batch: WriteBatch,
    ) -> None:
        """Answer `pages` by method and path, GET for HEAD too; `access` of None lets every request pass."""
        self._pages = pages
        self._access = access
        self._servers: list[asyncio.Server] = []
        self._adopting: set[asyncio.Task[object]] = set()
        self._is_closed = False
        self.address = ("", 0)
        limits = fitted(descriptor_limit())
        self.listener = Listener(self._serve, limits, deadlines, write_batch, exempt=lambda _: False)

    async def open(self, listen: str, tls: ssl.SSLContext | None = None) -> None:
        """Listen on ``host:port``, the value of GATEWAY_ADMIN_LISTEN; by TLS with a context.

        Raises:
            CannotListen: the system refuses the address.
        """
        loop = asyncio.get_running_loop()
        bound = bind("GATEWAY_ADMIN_LISTEN", listen, UnixFile())
        host, port = bound[0].getsockname()[:2]
        self.address = (str(host), int(port))
        for one in bound:
            server = await loop.create_server(
                self.listener.protocol,
                sock=one,
                ssl=tls,
                ssl_handshake_timeout=None if tls is None else HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=None if tls is None else END_SECONDS,
            )
            self._servers.append(server)

    def adopt(self, connection: socket.socket) -> None:
        """Serve a connection that the parent of workers has made; once the server is closed, close it."""
        if self._is_closed:
            connection.close()
            return
        loop = asyncio.get_running_loop()
        adopting = loop.create_task(
            loop.connect_accepted_socket(lambda: self.listener.protocol(UNIX), connection)
        )
        self._adopting.add(adopting)
        adopting.add_done_callback(self._adopting.discard)

    async def close(self) -> None:
        """Stop accepting, give answers under way a moment to end, and drop the rest."""
        drain = Drain(self.listener, sockets=tuple, streams=tuple, drain_seconds=CLOSING_SECONDS)
        await drain.finish(self._close_servers)

    def _close_servers(self) -> None:
        self._is_closed = True
        for server in self._servers:
            server.close()

    async def _serve(self, inbound: Inbound) -> None:
        """Answer one request (driven, as those of the public listener are)."""
        try:
            page = await self._page(inbound)
        except ClientGone:
            return
        except Exception as error:  # noqa: BLE001 -- whatever it is, the client gets an answer
            page = self._refusal(inbound, error)
        inbound.sink = None
        inbound.answer(
            _start(page),
            BodyKind.LENGTH,
            len(page.body),
            pieces=[] if inbound.head.method == b"HEAD" else [page.body],
            complete=True,
        )

    async def _page(self, inbound: Inbound) -> Page:
        head = inbound.head
        if inbound.fault is not None:
            raise inbound.fault
        path = parse_target(head).path
        if self._access is not None:
            self._access.check(head, path)
        method = head.method.decode("ascii")
        answer = self._pages.get(("GET" if method == "HEAD" else method, path))
        if answer is None:
            allowed = sorted(known for known, other in self._pages if other == path)
            if not allowed:
                raise NotFound("There is no such page here")
            raise MethodNotAllowed(", ".join(["HEAD", *allowed] if "GET" in allowed else allowed))
        inbound.limit = MOST_BODY
        if max(head.length, inbound.received) > MOST_BODY:
            raise ContentTooLarge(f"Request body larger than {MOST_BODY} bytes")
        if not inbound.complete:
            await whole(inbound)
        return await offload(_answered(answer, Asked(head, b"".join(inbound.take()))))

    def _refusal(self, inbound: Inbound, error: Exception) -> Page:
        fault = refuse(error)
        if fault is INTERNAL:
            log.error("admin_request_failed", exc_info=error)
        if self._access is not None:
            self._access.refused(fault, inbound.head, inbound.connection.peer)
        return Page(fault.body(), JSON, fault.status, dict(fault.headers))


def fitted(descriptors: int | None) -> ClientLimits:
    """Return the limits of a process with so many descriptors at most; None for no bound.

    Where they are few, connections get half of the reserve, and refused ones that linger a quarter: the rest is for the
    database, or for what the parent of workers asks them by.
    """
    if descriptors is None:
        return LIMITS
    connections = min(LIMITS.connections, max(RESERVE // 2, descriptors // _SHARE))
    return replace(LIMITS, connections=connections, refused=min(LIMITS.refused, connections // 2))


async def _answered(answer: Callable[[Asked], Awaitable[Page]], asked: Asked) -> Page:
    """Return the page; a coroutine, as a Task needs one."""
    return await answer(asked)


def _start(page: Page) -> bytes:
    """Return status line and field lines."""
    lines = [
        f"HTTP/1.1 {page.status} {HTTPStatus(page.status).phrase}",
        f"Content-Type: {page.media}",
        f"Date: {http_date().decode('ascii')}",
        *(f"{name}: {value}" for name, value in page.headers.items()),
    ]
    return "\r\n".join([*lines, ""]).encode("ascii")
