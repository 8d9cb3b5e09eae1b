"""The client's connection: requests in, answers out, in order.

A request and its answer are an :class:`Inbound`. The connection queues them as its reader completes their heads, and
serves one at a time by driving the coroutine that the listener's ``serve`` makes for it. Laws:

- Answers leave in the order of their requests, whatever arrives meanwhile.
- A request that breaks a law is served like any other, with ``fault`` set: it is answered and recorded by the same
  code, nothing of it goes further, and the connection closes behind it.
- Reading stops while more requests wait than are parsed ahead, while the client does not take its answers, while a
  body is due that nobody takes yet (so no body is read, beyond what arrived with the head, before the gateway has
  decided), and while whoever takes it is full. Else it goes on, to notice a client that leaves.
- What comes behind a request to upgrade, before its 101, refuses it (RFC 6455 section 4.1).
- A client that goes away is thrown into the coroutine at once, as :class:`ClientGone`.
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
from gateway.wire.outbox import Outlet
from gateway.wire.reading import EARLY, RequestReader

if TYPE_CHECKING:
    from gateway.wire.listener import Listener

REQUEST_TIMEOUT, UNAVAILABLE = 408, 503
LINGER_SECONDS: Final = 2.0
"""How long, after a refusal, what the client still sends is read and dropped: a reset must not eat the answer."""


class DownstreamConnection(asyncio.Protocol):
    """One client's connection.

    Attributes:
        peer: The client's address as text; empty when the system does not tell.
        deadline: See :mod:`~gateway.wire.deadlines`.
        drive: Runs the exchange that is being served, while one is.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._limits, self._deadlines = listener.limits, listener.deadlines
        self._outlet: Outlet | None = None
        self._queue: deque[Inbound] = deque()
        self._reader = RequestReader(self, listener.limits, self._queue)
        self._active: Inbound | None = None
        self.drive: Drive | None = None
        self._pumping = self._broken = self._closing = self._switched = False
        self._paused = self._full = False
        self._buffered = 0
        self.deadline: float | None = None
        self.peer = ""

    # -- asyncio's side ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, with a transport."""
        self._outlet = Outlet(self._listener.outbox, cast("asyncio.Transport", transport))
        name = transport.get_extra_info("peername")
        self.peer = str(name[0]) if isinstance(name, tuple) else ""
        self._deadlines.watched.add(self)
        self.deadline = self._deadlines.after(self._limits.idle_seconds)
        too_many = self._listener.enter(self)
        if too_many is not None:
            self._break(ProtocolError(UNAVAILABLE, too_many))
            self._pump()
            if self._listener.crowded:
                self.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's signature
        """End: whoever serves this client is told that it is gone."""
        self._listener.leave(self)
        self._deadlines.watched.discard(self)
        self._outlet = None
        self._queue.clear()
        self._reader.close()
        if self.drive is not None and not self._switched:
            self.drive.throw(ClientGone("the client closed the connection"))

    def eof_received(self) -> bool:
        """Take a client that half-closes for one that left, as nginx and Envoy do: the two look alike.

        What is finished it may have.
        """
        if self._outlet is not None:
            self._outlet.flush()
        return False

    def data_received(self, data: bytes) -> None:
        """Read, then serve what that completed."""
        if self._closing or self._broken:
            return  # what comes behind a refusal, or while closing, is dropped
        active = self._active
        last = self._queue[-1] if self._queue else active
        if last is not None and last.head.upgrade:
            self._break(ProtocolError(BAD_REQUEST, EARLY), last)
            self._pump()
            return
        if active is None and not (self._reader.in_head or self._full):  # later bytes of a head win no time
            self.deadline = self._deadlines.after(self._limits.head_seconds)
        try:
            self._reader.read(data)
        except ProtocolError as fault:
            self._break(fault)
        self._pump()

    def pause_writing(self) -> None:
        """The client takes its answer more slowly than it comes."""
        self._full = True
        if self._outlet is not None:
            self._buffered = self._outlet.buffered()
        self.deadline = self._deadlines.after(self._limits.write_seconds)
        if self._active is not None and self._active.source is not None:
            self._active.source.pause()

    def resume_writing(self) -> None:
        """The client has caught up."""
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
        """The deadline has passed; what for follows from where the connection is."""
        full, left = self._full, self._outlet.buffered() if self._outlet is not None else 0
        if self._full and not full:
            return  # by what just left, and with a deadline of its own
        if left and (full or self._closing):
            if left < self._buffered:  # slow is not stalled
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

    # -- turn by turn ------------------------------------------------------------------------------------------

    def _break(self, fault: ProtocolError, broken: Inbound | None = None) -> None:
        """Read nothing more. The request being read, or `broken`, is refused; if it is being served, it is told."""
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
        """Serve what is queued, one after the other, without recursion; parse on when the queue is empty."""
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
            # In another turn of the loop: a client that sends thousands of requests at once waits for the others.
            asyncio.get_running_loop().call_soon(self._parse_on)
        self.regulate()

    def _parse_on(self) -> None:
        if self._may_parse_on():
            self.data_received(b"")

    def _may_parse_on(self) -> bool:
        """Whether bytes that were read wait to be parsed, and nothing stands before them."""
        return bool(self._reader.held) and not (self._queue or self._full or self._broken or self._closing)

    def _wait_for_the_next(self) -> None:
        limits = self._limits
        self.deadline = self._deadlines.after(
            limits.head_seconds if self._reader.in_head else limits.idle_seconds
        )

    def _served(self, escaped: Exception | None) -> None:
        """The exchange has ended: go on with the next, or close."""
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
        """Read, or not: the one place that decides (see the laws above)."""
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
        """Write what is still to be written, and close; with `linger`, read on for a while and drop it."""
        outlet = self._outlet
        self._closing = True
        self._queue.clear()
        if outlet is None:
            return
        self._buffered = outlet.buffered()
        if linger and outlet.transport.can_write_eof():
            outlet.transport.write_eof()
            self._buffered = sys.maxsize  # at the first look, whatever is left counts as on its way
            self.deadline = self._deadlines.after(LINGER_SECONDS)
            self.regulate()
        else:
            outlet.close()
            self.deadline = self._deadlines.after(self._limits.write_seconds)

    def close_if_idle(self) -> None:
        """Close unless a request is being read or served."""
        if not (self._active or self._reader.current or self._queue) and self._outlet is not None:
            self._closing = True
            self._outlet.close()

    def abort(self) -> None:
        """Drop the connection at once; what was written of an answer, the client may still see."""
        if self._outlet is not None:
            self._outlet.abort()

    @property
    def draining(self) -> bool:
        """No connection is kept alive any more."""
        return self._listener.draining

    @property
    def full(self) -> bool:
        """Whether the client lags behind."""
        return self._full

    def switch(self, head: bytes) -> asyncio.Transport:
        """Write the 101's `head` and give the transport away, to a tunnel.

        Raises:
            ClientGone: it is gone already.
        """
        if self._outlet is None:
            raise ClientGone("the client closed the connection")
        self._outlet.write(head)
        self._switched, self.deadline = True, None
        return self._outlet.give_away()

    def write(self, piece: bytes) -> None:
        """Write bytes of the active inbound's answer."""
        if self._outlet is not None:
            self._outlet.write(piece)
