"""Client connection: it reads requests, serves them one at a time, and writes the answers in order.

A request and its answer are an :class:`Inbound`. The connection queues each one when its head is complete, and serves
it by driving the coroutine that the listener's ``serve`` makes for it. Laws:

- Answers leave in the order of their requests, whatever arrives meanwhile.
- A request that violates a law is served like any other, with ``fault`` set. The same code answers and records it,
  nothing of it is forwarded, and the connection closes after the answer.
- Reading stops in four cases: more requests wait than are parsed ahead; the client does not take its answers; a body is
  due that has no sink yet (so no body is read, beyond what arrived with the head, before the gateway has decided); the
  sink is full. Otherwise reading goes on, so that a client that leaves is noticed.
- Bytes behind an upgrade request that come before its 101 refuse it (RFC 6455 section 4.1).
- When the client goes away, :class:`ClientGone` is thrown into the coroutine at once.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from typing import TYPE_CHECKING, Final, cast

from gateway.wire.drive import Drive, report
from gateway.wire.framing import BAD_REQUEST
from gateway.wire.inbound import ClientGone, Inbound
from gateway.wire.messages import ProtocolError
from gateway.wire.request_parser import EARLY, RequestParser
from gateway.wire.write_buffer import WriteBuffer

if TYPE_CHECKING:
    from gateway.wire.listener import Listener

REQUEST_TIMEOUT, UNAVAILABLE = 408, 503
LINGER_SECONDS: Final = 2.0
"""After a refusal, received bytes are read and dropped for this long: a reset would destroy the answer on its way."""


class DownstreamConnection(asyncio.Protocol):
    """Client connection as an asyncio protocol.

    Attributes:
        peer: The client's address as text; empty if the system does not know it.
        deadline: The time at which ``expire`` is called; see :mod:`~gateway.wire.deadlines`.
        drive: The drive of the exchange that is being served; None between exchanges.
    """

    def __init__(self, listener: Listener, peer: str = "") -> None:
        self._listener = listener
        self._limits, self._deadlines = listener.limits, listener.deadlines
        self._outlet: WriteBuffer | None = None
        self._queue: deque[Inbound] = deque()
        self._reader = RequestParser(self, listener.limits, self._queue)
        self._active: Inbound | None = None
        self.drive: Drive | None = None
        self._pumping = self._broken = self._closing = self._switched = False
        self._paused = self._full = False
        self._buffered = 0
        self.deadline: float | None = None
        self.peer, self.network = peer, ""

    # -- asyncio's callbacks -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register the connection and its transport; refuse it if there are too many."""
        self._outlet = WriteBuffer(self._listener.outbox, cast("asyncio.Transport", transport))
        if not self.peer and isinstance(name := transport.get_extra_info("peername"), tuple):
            self.peer = str(name[0])
        self._deadlines.watched.add(self)
        self.deadline = self._deadlines.after(self._limits.idle_seconds)
        too_many = self._listener.enter(self)
        if too_many is not None:
            self._break(ProtocolError(UNAVAILABLE, too_many))
            self._pump()
            if self._listener.crowded:
                self.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's signature
        """Unregister the connection, and throw ClientGone into the exchange that is being served."""
        self._listener.leave(self)
        self._deadlines.watched.discard(self)
        self._outlet = None
        self._queue.clear()
        self._reader.close()
        if self.drive is not None and not self._switched:
            self.drive.throw(ClientGone("the client closed the connection"))

    def eof_received(self) -> bool:
        """Treat a client that half-closes as one that left, as nginx and Envoy do: the two look alike.

        Finished answers are still written.
        """
        if self._outlet is not None:
            self._outlet.flush()
        return False

    def data_received(self, data: bytes) -> None:
        """Parse received bytes, then serve the requests they completed."""
        if self._closing or self._broken:
            return  # bytes behind a refusal, or while closing, are dropped
        active = self._active
        last = self._queue[-1] if self._queue else active
        if last is not None and last.head.upgrade:
            self._break(ProtocolError(BAD_REQUEST, EARLY), last)
            self._pump()
            return
        rested = active is None and not (self._reader.in_head or self._full)
        try:
            self._reader.read(data)
        except ProtocolError as fault:
            self._break(fault)
        if rested and self._reader.in_head:  # neither more of a head nor empty lines gain time
            self.deadline = self._deadlines.after(self._reader.head_seconds)
        self._pump()

    def pause_writing(self) -> None:
        """Pause the source of the answer: the client takes it more slowly than it comes."""
        self._full = True
        if self._outlet is not None:
            self._buffered = self._outlet.buffered()
        self.deadline = self._deadlines.after(self._limits.write_seconds)
        if self._active is not None and self._active.source is not None:
            self._active.source.pause()

    def resume_writing(self) -> None:
        """Resume the source of the answer: the client has caught up."""
        self._full = False
        if self._closing:
            return
        if self._active is None:
            self._wait_for_the_next()
            self._pump()
        else:
            self.deadline = None
            if self._active.source is not None:
                self._active.source.resume()
            self.regulate()

    def expire(self) -> None:
        """Handle the passed deadline; the state of the connection determines which deadline it was."""
        full, left = self._full, self._outlet.buffered() if self._outlet is not None else 0
        if self._full and not full:
            return  # buffered() flushed, the transport called pause_writing(), and that set a write deadline
        if left and (full or self._closing):
            if left < self._buffered:  # a client that took something is slow, not stalled
                self._buffered = left
                self.deadline = self._deadlines.after(self._limits.write_seconds)
            else:
                self.abort()
        elif self._closing:
            self.abort()
        elif self._active is None and not self._reader.in_head:
            self._listener.idled += 1
            self.abort()
        else:
            self._break(ProtocolError(REQUEST_TIMEOUT, "the request did not arrive in time"))
            self._pump()

    # -- one exchange after the other --------------------------------------------------------------------------

    def _break(self, fault: ProtocolError, broken: Inbound | None = None) -> None:
        """Stop reading, and refuse `broken` or the request being read; `fault` is thrown into it if it is active."""
        self._broken = True
        inbound = broken or self._reader.current or Inbound(self)
        self._reader.current = None
        self._reader.in_head = False
        inbound.fault = fault
        if inbound is self._active:
            if self.drive is not None:
                self.drive.throw(fault)
        elif inbound not in self._queue:
            self._queue.append(inbound)

    def _pump(self) -> None:
        """Serve the queued requests in turn, without recursion; parse on when the queue is empty."""
        if self._pumping:
            return
        self._pumping = True
        while self._active is None and self._queue and not (self._closing or self._full):
            inbound = self._active = self._queue.popleft()
            self.deadline = None
            self.drive = Drive(self._listener.serve(inbound), self._served)
            self.drive.start()
        self._pumping = False
        if self._may_parse_on():
            # In a later turn of the loop: a client that sends thousands of requests at once must not delay the others.
            asyncio.get_running_loop().call_soon(self._parse_on)
        self.regulate()

    def _parse_on(self) -> None:
        if self._may_parse_on():
            self.data_received(b"")

    def _may_parse_on(self) -> bool:
        """True if unparsed bytes are waiting and nothing has to happen before they are parsed."""
        return bool(self._reader.held) and not (self._queue or self._full or self._broken or self._closing)

    def _wait_for_the_next(self) -> None:
        reader = self._reader
        seconds = reader.head_seconds if reader.in_head else self._limits.idle_seconds
        self.deadline = self._deadlines.after(seconds)

    def _served(self, escaped: Exception | None) -> None:
        """Finish an exchange: serve the next one, or close."""
        inbound, self._active, self.drive = self._active, None, None
        if inbound is None or self._outlet is None:
            return
        inbound.source = inbound.sink = None
        if escaped is not None:
            report("an exchange let an exception escape", escaped)
        if inbound.bare and inbound.aborted:
            self._outlet.reset()
        elif not inbound.answered or inbound.aborted:
            self.abort()
        elif inbound.closes or not inbound.complete:
            self._close(linger=not inbound.complete or self._broken or self._paused or bool(self._queue))
        elif self._listener.ended and not self._queue:
            self._close(linger=False)
        else:
            if not self._full:
                self._wait_for_the_next()
            if not self._pumping:
                self._pump()

    def regulate(self) -> None:
        """Pause or resume reading: the only place that decides this (see the laws above)."""
        active, outlet = self._active, self._outlet
        if outlet is None:
            return
        if self._closing:
            pause = False
        elif self._reader.held or (self._queue and not self._queue[-1].complete):
            pause = True
        elif active is None or active.complete:
            pause = self._full
        else:
            pause = active.sink is None or active.held
        if pause is not self._paused and not outlet.transport.is_closing():
            self._paused = pause
            if pause:
                outlet.transport.pause_reading()
            else:
                outlet.transport.resume_reading()
        if active is not None and not self._closing and not self._full:
            due = not (active.complete or active.expecting or pause)
            self.deadline = self._deadlines.after(self._limits.body_seconds) if due else None

    def _close(self, *, linger: bool) -> None:
        """Write out the buffer and close; with `linger`, read and drop received bytes for a while first."""
        outlet = self._outlet
        self._closing = True
        self._queue.clear()
        if outlet is None:
            return
        self._buffered = outlet.buffered()
        if linger and outlet.transport.can_write_eof():
            outlet.transport.write_eof()
            self._buffered = sys.maxsize  # larger than any buffer, so that the first expiry sees progress
            self.deadline = self._deadlines.after(LINGER_SECONDS)
            self.regulate()
        else:
            outlet.close()
            self.deadline = self._deadlines.after(self._limits.write_seconds)

    def close_if_idle(self) -> None:
        """Close the connection unless a request is being read or served."""
        if not (self._active or self._reader.current or self._queue) and self._outlet is not None:
            self._closing = True
            self._outlet.close()

    def abort(self) -> None:
        """Drop the connection at once; the client may still receive what was written before."""
        if self._outlet is not None:
            self._outlet.abort()

    @property
    def draining(self) -> bool:
        """True if connections are not kept alive any more."""
        return self._listener.draining

    @property
    def full(self) -> bool:
        """True if the transport's write buffer is full."""
        return self._full

    def switch(self, head: bytes) -> asyncio.Transport:
        """Write the 101's `head`, and return the transport for a tunnel.

        Raises:
            ClientGone: the connection is closed already.
        """
        if self._outlet is None:
            raise ClientGone("the client closed the connection")
        self._outlet.write(head)
        self._switched, self.deadline = True, None
        return self._outlet.give_away()

    def write(self, piece: bytes) -> None:
        """Write bytes of the active exchange's answer."""
        if self._outlet is not None:
            self._outlet.write(piece)
