"""The client's connection: parse requests, keep limits and deadlines, write answers in order.

One request and its answer are an :class:`Inbound`. The connection reads heads into inbounds, queues them, and serves
one at a time by driving the coroutine that ``serve`` makes for it. Laws:

- Answers leave in the order of their requests, whatever arrives meanwhile.
- A request that breaks a law is served like any other, with ``fault`` set: it is answered and recorded by the same
  code, nothing of it goes further, and the connection closes behind it.
- Reading stops while a request waits its turn, while a body is due that nobody takes yet (so no body is read, beyond
  what arrived with the head, before the gateway has decided), and while whoever takes it is full.
- A client that goes away is thrown into the coroutine at once, as :class:`ClientGone`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

import httptools

from gateway.wire.drive import Drive
from gateway.wire.framing import BAD_REQUEST, VERSION_NOT_SUPPORTED, check_request
from gateway.wire.inbound import ClientGone, Inbound
from gateway.wire.messages import ProtocolError, RequestHead

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from gateway.wire.deadlines import Deadlines

REQUEST_TIMEOUT: Final = 408
CONTENT_TOO_LARGE: Final = 413
URI_TOO_LONG: Final = 414
FIELDS_TOO_LARGE: Final = 431
UNAVAILABLE: Final = 503
LINGER_SECONDS: Final = 2.0
"""How long, after a refusal, what the client still sends is read and dropped: a reset must not eat the answer."""


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """What one client connection may do; sizes in bytes, times in seconds."""

    head_bytes: int
    fields: int
    target_bytes: int
    connections: int
    head_seconds: float
    idle_seconds: float
    body_seconds: float
    write_seconds: float


@dataclass(slots=True)
class Listener:
    """What the connections of one listening socket share.

    Attributes:
        serve: Makes the coroutine that serves a request.
        open: The connections that are open.
        draining: No connection is kept alive any more.
    """

    serve: Callable[[Inbound], Coroutine[object, None, None]]
    limits: ClientLimits
    deadlines: Deadlines
    open: set[DownstreamConnection]
    draining: bool = False

    def protocol(self) -> DownstreamConnection:
        """Make the protocol of a new connection (asyncio's protocol factory)."""
        return DownstreamConnection(self)

    def drain(self) -> None:
        """Close idle connections now and every other one after the answer it is at."""
        self.draining = True
        for connection in list(self.open):
            connection.close_if_idle()

    def abort(self) -> None:
        """Drop every connection."""
        for connection in list(self.open):
            connection.abort()


class DownstreamConnection(asyncio.Protocol):
    """One client's connection.

    Attributes:
        peer: The client's address as text; empty when the system does not tell.
        notes: What the gateway keeps for the life of the connection (its forwarded fields, as bytes).
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._limits = listener.limits
        self._deadlines = listener.deadlines
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._reading: Inbound | None = None
        self._in_head = False
        self._head_size = 0
        self._queue: deque[Inbound] = deque()
        self._active: Inbound | None = None
        self._drive: Drive | None = None
        self._pumping = False
        self._broken = False
        self._closing = False
        self._switched = False
        self._paused = False
        self._full = False
        self._buffered = 0
        self.deadline: float | None = None
        self.peer = ""
        self.notes: bytes | None = None

    # -- asyncio's side --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, with a transport."""
        self._transport = cast("asyncio.Transport", transport)
        name = transport.get_extra_info("peername")
        self.peer = str(name[0]) if isinstance(name, tuple) else ""
        self._listener.open.add(self)
        self._deadlines.watched.add(self)
        self.deadline = self._deadlines.after(self._limits.idle_seconds)
        if len(self._listener.open) > self._limits.connections:
            self._break(ProtocolError(UNAVAILABLE, "too many connections"))
            self._pump()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's signature
        """End: whoever serves this client is told that it is gone."""
        self._listener.open.discard(self)
        self._deadlines.watched.discard(self)
        self._transport = None
        self._queue.clear()
        self._parser = None  # parser and protocol refer to each other
        if self._drive is not None and not self._switched:
            self._drive.throw(ClientGone("the client closed the connection"))

    def eof_received(self) -> bool:
        """Take a client that half-closes for one that left, as nginx and Envoy do.

        The two look alike, and work for a client that is gone is work taken from one that is not.
        """
        return False

    def data_received(self, data: bytes) -> None:
        """Parse, then serve what that completed."""
        if self._closing or self._broken or self._parser is None:
            return  # what comes behind a refusal, or while closing, is dropped
        if self._in_head or self._reading is None:
            self._head_size += len(data)
        if self._active is None and not self._in_head:  # the first bytes of a head; later ones win no time
            self.deadline = self._deadlines.after(self._limits.head_seconds)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as switching:
            if (
                len(data) > switching.args[0] and self._queue
            ):  # RFC 6455 section 4.1: first the 101, then the frames
                self._queue[-1].fault = ProtocolError(BAD_REQUEST, "bytes behind an upgrade request")
        except httptools.HttpParserError as error:
            self._break(_refusal(error))
        else:
            if self._head_size > self._limits.head_bytes and (self._in_head or self._reading is None):
                self._break(ProtocolError(FIELDS_TOO_LARGE, "request head too large"))
        self._pump()

    def pause_writing(self) -> None:
        """The client takes its answer more slowly than it comes."""
        self._full = True
        if self._transport is not None:
            self._buffered = self._transport.get_write_buffer_size()
        self.deadline = self._deadlines.after(self._limits.write_seconds)
        if self._active is not None and self._active.source is not None:
            self._active.source.pause()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._full = False
        self.deadline = None
        if self._active is not None:
            if self._active.source is not None:
                self._active.source.resume()
            self._regulate()

    def expire(self) -> None:
        """The deadline has passed; what for follows from where the connection is."""
        if self._full and self._transport is not None:
            left = self._transport.get_write_buffer_size()
            if left < self._buffered:  # slow is not stalled
                self._buffered = left
                self.deadline = self._deadlines.after(self._limits.write_seconds)
            else:
                self.abort()
        elif self._closing or (self._active is None and not self._in_head):
            self.abort()
        else:
            self._break(ProtocolError(REQUEST_TIMEOUT, "the request did not arrive in time"))
            self._pump()

    # -- llhttp's side ---------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins."""
        self._reading = Inbound(self)
        self._in_head = True

    def on_url(self, part: bytes) -> None:
        """Part of the request target."""
        if self._reading is not None:
            head = self._reading.head
            head.target += part
            if len(head.target) > self._limits.target_bytes:
                raise ProtocolError(URI_TOO_LONG, "request target too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field line; after the head, a trailer, which is dropped (section 6.5.1) but counted."""
        inbound = self._reading
        if inbound is None:
            return
        inbound.size += len(name) + len(value) + 4
        inbound.lines += 1
        if inbound.lines > self._limits.fields:
            raise ProtocolError(FIELDS_TOO_LARGE, "too many field lines")
        if inbound.size > self._limits.head_bytes:
            raise ProtocolError(FIELDS_TOO_LARGE, "request head too large")
        if self._in_head:
            inbound.head.fields.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """A head is complete: apply the laws, and queue the request."""
        inbound, parser = self._reading, self._parser
        if inbound is None or parser is None:
            return
        self._in_head = False
        self._head_size = 0
        head: RequestHead = inbound.head
        head.method = parser.get_method()
        version = parser.get_http_version()
        if version == "1.0":
            head.minor = 0
        elif version != "1.1":
            raise ProtocolError(VERSION_NOT_SUPPORTED, "HTTP version not supported")
        head.upgrade = parser.should_upgrade()
        head.keep_alive = parser.should_keep_alive()
        head.index()
        check_request(head)
        self._queue.append(inbound)

    def on_body(self, piece: bytes) -> None:
        """A piece of a request's body."""
        if self._reading is not None:
            self._reading.received_body(piece)

    def on_message_complete(self) -> None:
        """A request has ended, by its framing."""
        if self._reading is not None:
            self._reading.received_end()
            self._reading = None

    # -- turn by turn ----------------------------------------------------------------------------------------

    def _break(self, fault: ProtocolError) -> None:
        """Read nothing more. The request being read is refused; if it is being served already, it is told."""
        self._broken = True
        inbound, self._reading = self._reading, None
        self._in_head = False
        if inbound is not None and inbound is self._active:
            inbound.fault = fault
            if self._drive is not None:
                self._drive.throw(fault)
            return
        if inbound is None:
            inbound = Inbound(self)
        inbound.fault = fault
        if inbound not in self._queue:
            self._queue.append(inbound)

    def _pump(self) -> None:
        """Serve what is queued, one after the other, without recursion."""
        if self._pumping:
            return
        self._pumping = True
        while self._active is None and self._queue and not self._closing:
            inbound = self._active = self._queue.popleft()
            self.deadline = None
            self._drive = Drive(self._listener.serve(inbound), self._served)
            self._drive.start()
        self._pumping = False
        self._regulate()

    def _served(self, escaped: Exception | None) -> None:
        """The exchange has ended: go on with the next, or close."""
        inbound, self._active, self._drive = self._active, None, None
        if inbound is None or self._transport is None:
            return
        inbound.source = inbound.sink = None
        if escaped is not None:
            asyncio.get_running_loop().call_exception_handler(
                {"message": "an exchange let an exception escape", "exception": escaped}
            )
        if not inbound.answered or inbound.aborted:
            self.abort()
        elif inbound.closes or not inbound.complete:
            self._close(linger=not inbound.complete or self._broken or self._paused or bool(self._queue))
        elif self._listener.draining and not self._queue:
            self._close(linger=False)
        else:
            self._head_size = 0
            self.deadline = self._deadlines.after(
                self._limits.head_seconds if self._in_head else self._limits.idle_seconds
            )
            self._pump()

    def _regulate(self) -> None:
        """Read, or not: the one place that decides (see the laws above)."""
        active, transport = self._active, self._transport
        if transport is None or transport.is_closing():
            return
        if self._closing or active is None:
            pause = False
        elif self._queue:
            pause = True
        else:
            # After an upgrade request, the client's bytes are for the tunnel, which begins with the 101.
            pause = active.head.upgrade or (not active.complete and (active.sink is None or active.held))
        if pause != self._paused:
            self._paused = pause
            if pause:
                transport.pause_reading()
            else:
                transport.resume_reading()
        if active is not None and not self._closing and not self._full:
            due = not active.complete and not pause
            self.deadline = self._deadlines.after(self._limits.body_seconds) if due else None

    def regulate(self) -> None:
        """Reconsider reading after an inbound has changed."""
        self._regulate()

    def _close(self, *, linger: bool) -> None:
        transport = self._transport
        self._closing = True
        self._queue.clear()
        if transport is None:
            return
        if linger and transport.can_write_eof():
            transport.write_eof()
            self.deadline = self._deadlines.after(LINGER_SECONDS)
            self._regulate()
        else:
            transport.close()
            self.deadline = self._deadlines.after(self._limits.write_seconds)

    def close_if_idle(self) -> None:
        """Close unless a request is being read or served."""
        if self._active is None and not self._in_head and not self._queue and self._transport is not None:
            self._closing = True
            self._transport.close()

    def abort(self) -> None:
        """Drop the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    # -- the active inbound's side ---------------------------------------------------------------------------

    @property
    def draining(self) -> bool:
        """No connection is kept alive any more."""
        return self._listener.draining

    @property
    def full(self) -> bool:
        """The client takes its answer more slowly than it comes."""
        return self._full

    def switch(self, head: bytes) -> asyncio.Transport:
        """Write the 101's `head` and give the transport away, to a tunnel.

        Raises:
            ClientGone: it is gone already.
        """
        if self._transport is None:
            raise ClientGone("the client closed the connection")
        self._transport.write(head)
        self._switched = True
        self.deadline = None
        return self._transport

    def write(self, piece: bytes) -> None:
        """Write bytes of the active inbound's answer."""
        if self._transport is not None:
            self._transport.write(piece)


def _refusal(error: httptools.HttpParserError) -> ProtocolError:
    """Tell what a parser's complaint means to the client."""
    context = error.__context__
    if isinstance(context, ProtocolError):
        return context
    if isinstance(error, httptools.HttpParserCallbackError):
        raise context or error
    if "PRI/Upgrade" in str(error):
        return ProtocolError(VERSION_NOT_SUPPORTED, "HTTP/2 is not supported")
    return ProtocolError(BAD_REQUEST, f"malformed request: {error}")
