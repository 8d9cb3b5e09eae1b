"""Client connection: it reads requests, serves them one at a time, and writes the answers in order.

A request and its answer are an :class:`Inbound`. The connection queues each one when its head is complete, and serves
it by driving the coroutine that the listener's ``serve`` makes for it. Laws:

- Answers leave in the order of their requests, whatever arrives meanwhile.
- A request that violates HTTP/1.1 or a limit is served like any other, with ``fault`` set. The same code answers and
  records it, nothing of it is forwarded, and the connection closes after the answer.
- Reading stops in four cases: more requests wait than are parsed ahead; the client does not take its answers; a body is
  due that has no sink yet (so no body is read, beyond what arrived with the head, before the gateway has decided); the
  sink is full. Otherwise reading goes on, so that a client that leaves is noticed.
- Bytes behind an upgrade request that come before its 101 refuse it (RFC 6455 section 4.1).
- When the client goes away, :class:`ClientGone` is thrown into the coroutine at once.
- The connection is in one of the states of :mod:`~gateway.wire.downstream_states`, whose table says what may happen.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from gateway.wire.downstream_states import (
    ANSWERED,
    BEGIN,
    CLOSE,
    DOWNSTREAM,
    DROP,
    HEAD,
    IDLE,
    LINGER,
    LINGERING,
    LOST,
    NEW,
    OPENED,
    QUEUE,
    REFUSE,
    REFUSING,
    SERVE,
    SERVING,
    SWITCH,
    SWITCHED,
)
from gateway.wire.drive import Drive, report
from gateway.wire.faults import alone
from gateway.wire.framing import BAD_REQUEST
from gateway.wire.inbound import CLOSED, STALLED, ClientGone, ClientStalled, Inbound
from gateway.wire.messages import ProtocolError
from gateway.wire.request_parser import EARLY, RequestParser
from gateway.wire.write_buffer import WriteBuffer

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from gateway.wire.listener import Listener

REQUEST_TIMEOUT, UNAVAILABLE = 408, 503
LINGER_SECONDS: Final = 2.0
"""A refused client is read from until nothing came for so long: a reset would destroy the answer on its way."""
LONGEST_LINGER_SECONDS: Final = 30.0
LINGER_BYTES: Final = 64 << 20
"""Nor is it read from for longer in all, or for more bytes."""
_ANY_BYTES: Final = (1 << 62) - 1  # more than any buffer has, so that the first expiry sees progress


class _Serving(Drive):
    """Driver of the exchange that a connection serves."""

    __slots__ = ("_connection",)

    def __init__(self, coroutine: Coroutine[object, None, None], connection: DownstreamConnection) -> None:
        super().__init__(coroutine)
        self._connection = connection

    def ended(self, escaped: Exception | None) -> None:
        """Have the connection go on."""
        self._connection.served(escaped)


class DownstreamConnection:
    """Client connection as an asyncio protocol.

    It has the callbacks of ``asyncio.Protocol`` and does not inherit from it: compiled, a class without interpreted
    bases keeps its attributes in slots instead of a dictionary.

    Attributes:
        peer: The client's address as text; empty if the system does not know it.
        secured: Field lines about the client certificate of a TLS connection, none without one; None without TLS.
        network: The network that the address is counted with.
        deadline: The time at which ``expire`` is called; see :mod:`~gateway.wire.deadlines`.
    """

    def __init__(self, listener: Listener, peer: str = "") -> None:
        # Of the process: shared by all connections of the listener.
        self._listener = listener
        self._limits, self._deadlines = listener.limits, listener.deadlines
        # Of the connection.
        self._state: int = NEW
        self._write_buffer: WriteBuffer | None = None  # from OPENED to LOST
        self._queue: list[Inbound] = []  # a short list, which compiled code reads faster than a deque
        self._reader = RequestParser(self, listener.limits, self._queue, listener.templates)
        self._head_seconds = listener.limits.head_seconds
        self._stalled = False  # dropped because the client read nothing until the write deadline
        self._lingers_until, self._dropped = 0.0, 0
        self._full = self._paused = False  # flow control: written too much; reading is paused
        self._buffered = 0  # bytes that the client had not taken when its write deadline was set
        self.deadline: float | None = None
        self.peer, self.network = peer, ""
        self.secured: bytes | None = None
        # Of the request that is being served; None between requests.
        self._active: Inbound | None = None
        self._drive: Drive | None = None

    def __repr__(self) -> str:
        reading = ", reading paused" if self._paused else ""
        writing = ", client not taking" if self._full else ""
        return f"<client {self.peer or '?'} {self.state}, {len(self._queue)} queued{reading}{writing}>"

    @property
    def state(self) -> str:
        """The name of the connection's state."""
        return DOWNSTREAM.states[self._state]

    # -- asyncio's callbacks -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register the connection and its transport; refuse it if there are too many."""
        self._state = DOWNSTREAM.after(self._state, OPENED)
        self._write_buffer = WriteBuffer(self._listener.write_batch, cast("asyncio.Transport", transport))
        if not self.peer and isinstance(name := transport.get_extra_info("peername"), tuple):
            self.peer = str(name[0])
        self._deadlines.watched.add(self)
        self.deadline = self._deadlines.after(self._limits.idle_seconds)
        too_many = self._listener.enter(self, transport)
        if too_many is not None:
            self._break(ProtocolError(UNAVAILABLE, too_many))
            self._pump()
            if self._listener.crowded:
                self.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's signature
        """Unregister the connection, and throw ClientGone into the exchange that is being served."""
        switched = self._state == SWITCHED
        self._state = DOWNSTREAM.after(self._state, LOST)
        self._listener.leave(self)
        self._deadlines.watched.discard(self)
        self._write_buffer = None
        self._queue.clear()
        self._reader.close()
        if not switched:  # the tunnel's exchange hears of it from the tunnel
            self.throw(ClientStalled(STALLED) if self._stalled else ClientGone(CLOSED))

    def eof_received(self) -> bool:
        """Treat a client that half-closes as one that left, as nginx and Envoy do: the two look alike.

        Finished answers are still written.
        """
        self._state = DOWNSTREAM.after(self._state, DROP)
        if self._write_buffer is not None:
            self._buffered = self._write_buffer.buffered()
            self.deadline = self._deadlines.after(self._limits.write_seconds)
        return False

    def data_received(self, data: bytes) -> None:
        """Parse received bytes, then serve the requests they completed."""
        if self._state > SERVING:
            self._linger_on(len(data))
            return
        last = self._queue[-1] if self._queue else self._active
        if last is not None and last.head.upgrade:
            self._break(ProtocolError(BAD_REQUEST, EARLY), last)
            self._pump()
            return
        try:
            self._reader.read(data)
        except ProtocolError as fault:
            self._break(alone(fault))
        self._pump()
        if self._state == IDLE:
            if self._reader.in_head:  # neither more of a head nor empty lines gain time
                self._wait_for_the_next()
        elif self._state == HEAD and not self._reader.in_head:
            self._state = DOWNSTREAM.after(self._state, QUEUE)

    def _linger_on(self, count: int) -> None:
        """Read and drop bytes for some more time: a client that still sends has not seen its answer."""
        self._dropped += count
        if self._dropped > LINGER_BYTES:
            self.abort()
        elif (
            self._state == LINGERING and self._write_buffer is not None and not self._write_buffer.buffered()
        ):
            self.deadline = min(self._deadlines.after(LINGER_SECONDS), self._lingers_until)

    def pause_writing(self) -> None:
        """Pause the source of the answer: the client takes it more slowly than it comes."""
        self._full = True
        if self._write_buffer is not None:
            self._buffered = self._write_buffer.buffered()
        self.deadline = self._deadlines.after(self._limits.write_seconds)
        if self._active is not None and self._active.source is not None:
            self._active.source.pause()

    def resume_writing(self) -> None:
        """Resume the source of the answer: the client has caught up."""
        self._full = False
        if self._state >= LINGERING:
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
        full, left = self._full, self._write_buffer.buffered() if self._write_buffer is not None else 0
        if self._full and not full:
            return  # buffered() flushed, the transport called pause_writing(), and that set a write deadline
        if left and (full or self._state >= LINGERING or self._state == IDLE):
            if left < self._buffered:  # a client that took something is slow, not stalled
                self._buffered = left
                self.deadline = self._deadlines.after(self._limits.write_seconds)
            else:
                self._stalled = True
                self.abort()
        elif self._state >= LINGERING:
            self.abort()
        elif self._state == IDLE:
            self._listener.counts.idled += 1
            self.abort()
        elif self._state <= SERVING:
            self._break(ProtocolError(REQUEST_TIMEOUT, "the request did not arrive in time"))
            self._pump()

    # -- one exchange after the other --------------------------------------------------------------------------

    def _break(self, fault: ProtocolError, broken: Inbound | None = None) -> None:
        """Stop reading, and refuse `broken` or the request being read; `fault` is thrown into it if it is active."""
        self._state = DOWNSTREAM.after(self._state, REFUSE)
        inbound = broken or self._reader.current or Inbound(self)
        self._reader.current, self._reader.in_head = None, False
        inbound.fault = fault
        if inbound is self._active:
            self.throw(fault)
        elif inbound not in self._queue:
            self._queue.append(inbound)

    def throw(self, error: BaseException) -> None:
        """Raise `error` in the exchange that is being served, where it waits or at its next await."""
        if self._drive is not None:
            self._drive.throw(error)

    def _pump(self) -> None:
        """Serve the queued requests in turn, without recursion; parse on when the queue is empty."""
        while self._queue and self._active is None and self._state <= REFUSING and not self._full:
            self._state = DOWNSTREAM.after(self._state, SERVE)
            inbound = self._active = self._queue.pop(0)
            self.deadline = None
            drive = self._drive = _Serving(self._listener.serve(inbound), self)
            drive.start()
        if self._may_parse_on():
            # In a later turn of the loop: a client that sends thousands of requests at once must not delay the others.
            asyncio.get_running_loop().call_soon(self._parse_on)
        self.regulate()

    def _parse_on(self) -> None:
        if self._may_parse_on():
            self.data_received(b"")

    def _may_parse_on(self) -> bool:
        """True if unparsed bytes are waiting and nothing has to happen before they are parsed."""
        return bool(self._reader.held) and self._state <= SERVING and not (self._queue or self._full)

    def _wait_for_the_next(self) -> None:
        """Set the deadline for a request, or for the head that has begun; none while the client takes no answers."""
        seconds = self._limits.idle_seconds
        if self._reader.in_head:
            seconds = self._head_seconds
            if self._state == IDLE:
                self._state = DOWNSTREAM.after(self._state, BEGIN)
        if not self._full:
            self._buffered = _ANY_BYTES
            self.deadline = self._deadlines.after(seconds)

    def served(self, escaped: Exception | None) -> None:
        """Finish an exchange: serve the next one, or close."""
        inbound, self._active = self._active, None
        drive, self._drive = self._drive, None
        if escaped is not None:
            report("an exchange let an exception escape", escaped)
        if inbound is None or drive is None:
            return
        inbound.source = inbound.sink = None
        if self._write_buffer is None or self._state >= LINGERING:
            return
        if inbound.bare and inbound.aborted:
            self._state = DOWNSTREAM.after(self._state, DROP)
            self._write_buffer.reset()
        elif not inbound.answered or inbound.aborted:
            self.abort()
        elif inbound.closes or not inbound.complete:
            unread = not inbound.complete or self._state == REFUSING or self._paused or bool(self._queue)
            self._close(linger=unread and self._state != SWITCHED)
        elif self._listener.ended and not self._queue:
            self._close(linger=False)
        else:
            self._state = DOWNSTREAM.after(self._state, ANSWERED)
            self._wait_for_the_next()
            if drive.waited:  # else _pump() is running, and goes on
                self._pump()

    def regulate(self) -> None:
        """Pause or resume reading: the only place that decides this (see the laws above)."""
        active, buffer = self._active, self._write_buffer
        if buffer is None or self._state == SWITCHED:
            return
        if self._state >= LINGERING:
            pause = False
        elif self._reader.held or (self._queue and not self._queue[-1].complete):
            pause = True
        elif active is None or active.complete:
            pause = self._full
        else:
            pause = active.sink is None or active.held
        if pause is not self._paused and not buffer.is_closing():
            self._paused = pause
            if pause:
                buffer.transport.pause_reading()
            else:
                buffer.transport.resume_reading()
        if active is not None and self._state < LINGERING and not self._full:
            due = self._state == SERVING and not (active.complete or active.expecting or pause)
            latest = self._deadlines.after(self._limits.body_seconds) if due else None
            self.deadline = active.body_deadline(latest)

    def _close(self, *, linger: bool) -> None:
        """Write out the buffer and close; with `linger`, read and drop received bytes for a while first."""
        buffer = self._write_buffer
        self._queue.clear()
        if buffer is None:
            return
        self._buffered = buffer.buffered()
        if linger and buffer.transport.can_write_eof():
            self._state = DOWNSTREAM.after(self._state, LINGER)
            buffer.end()
            self._buffered = _ANY_BYTES
            self.deadline = self._deadlines.after(LINGER_SECONDS)
            self._lingers_until = self._deadlines.after(LONGEST_LINGER_SECONDS)
            self.regulate()
        else:
            self._state = DOWNSTREAM.after(self._state, CLOSE)
            buffer.close(self._deadlines)
            self.deadline = self._deadlines.after(self._limits.write_seconds)

    def close_if_idle(self) -> None:
        """Close the connection unless a request is being read or served."""
        if self._state == IDLE and not self._queue:
            self._close(linger=False)

    def abort(self) -> None:
        """Drop the connection at once; the client may still receive what was written before."""
        if self._write_buffer is not None:
            self._state = DOWNSTREAM.after(self._state, DROP)
            self._write_buffer.abort()

    def hasten(self, seconds: float) -> None:
        """Wait for no longer than `seconds` for the rest of the head that is being read."""
        self._head_seconds = seconds
        self.deadline = self._deadlines.after(seconds)

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
            ClientGone: the connection is closed already, or closing: the client has ended its side.
        """
        if self._write_buffer is None or self._state >= LINGERING:
            raise ClientGone(CLOSED)
        self._state = DOWNSTREAM.after(self._state, SWITCH)
        self._write_buffer.write(head)
        self.deadline = None
        return self._write_buffer.give_away()

    def write(self, piece: bytes) -> None:
        """Write bytes of the active exchange's answer."""
        if self._write_buffer is not None:
            self._write_buffer.write(piece)
