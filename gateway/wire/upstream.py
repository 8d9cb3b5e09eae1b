"""Upstream connection: it sends a request and streams the response.

A connection serves one exchange at a time: ``send`` -> ``response`` (again after each interim one) -> ``take`` the body
that came with the head, and ``relay`` the rest -> ``finished``. Laws:

- Unsolicited bytes are not parsed: a byte on an idle connection, before the request has left, or after the end of a
  response, closes the connection.
- ``reusable`` is true only if both messages ended where their framing requires and both sides want to go on
  (RFC 9112 section 9.3).
- Every failure reaches the exchange as one :class:`~gateway.wire.faults.UpstreamFault`, once.
- The deadline runs while it is the upstream's turn: not while its response is held back here, nor before its final head
  while the client owes the body; but while it does not take the body, or has not answered whether it wants it (RFC 9110
  section 10.1.1).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from gateway.wire.faults import UNSENT, UpstreamLost, UpstreamMalformed, UpstreamTimedOut
from gateway.wire.framing import LAST_CHUNK, chunk, chunked, request_framing
from gateway.wire.messages import BodyKind, ProtocolError
from gateway.wire.response_parser import ResponseParser
from gateway.wire.response_waiter import ResponseWaiter
from gateway.wire.tls import ended_by_peer, loss
from gateway.wire.unread import unread
from gateway.wire.write_buffer import WriteBuffer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from gateway.wire.deadlines import Deadlines
    from gateway.wire.endpoint import Endpoint
    from gateway.wire.flow import Sink, Source
    from gateway.wire.known_heads import KnownHeads
    from gateway.wire.messages import RequestHead, ResponseHead
    from gateway.wire.write_buffer import WriteBuffers

    Lost = Callable[["UpstreamConnection"], None]


class UpstreamConnection(asyncio.Protocol):
    """Upstream connection as an asyncio protocol.

    Attributes:
        deadline: The time at which ``expire`` is called; see :mod:`~gateway.wire.deadlines`.
        served: Number of exchanges begun on this connection; above one, it was reused.
        touched: A byte of the present response has arrived.
        endpoint: The address that it leads to; None if it leads to the gateway's own application.
        retired: It is not used for another exchange.
    """

    def __init__(self, deadlines: Deadlines, outbox: WriteBuffers, known: KnownHeads, lost: Lost) -> None:
        """`lost` is called once, when the connection is gone; `known` is shared by the upstream's connections."""
        self._deadlines = deadlines
        self._outbox = outbox
        self._outlet: WriteBuffer | None = None
        self._lost = lost
        self._reader = ResponseParser(known)
        self._handover = ResponseWaiter(self._reader)
        self.deadline: float | None = None
        self.served = self._before = 0
        self.touched = self.retired = False
        self.endpoint: Endpoint | None = None
        self._sent, self._expected = True, False
        self._busy = self._full = self._paused = self._chunked_out = False
        self._head_timeout = self._body_timeout = 0.0
        self._source: Source | None = None

    # -- for the exchange --------------------------------------------------------------------------------------

    def send(  # noqa: PLR0913 -- the parts of one request
        self,
        start: bytes,
        head: RequestHead,
        pieces: list[bytes],
        *,
        complete: bool,
        head_timeout: float,
        body_timeout: float,
    ) -> None:
        """Write a request: `start` (request line and fields), its framing, and the ready `pieces` of its body.

        If not `complete`, the rest follows through ``body`` and ``end``. Timeouts are in seconds.
        """
        self.served += 1
        self._busy = True
        self.touched = False
        self._sent = complete
        self._head_timeout, self._body_timeout = head_timeout, body_timeout
        self._reader.expect(head.method, upgrade=head.upgrade)
        framing = request_framing(head)
        if head.kind is BodyKind.CHUNKED:
            self._chunked_out = True
            pieces = chunked(pieces, complete=complete)
        outlet = self._outlet
        if outlet is None:  # the connection was lost after it was lent
            self._handover.fail(UpstreamLost(UNSENT))
            return
        self._expected = not complete and not pieces and b"expect" in head.first
        self._before = outlet.writes_flushed
        outlet.write(b"".join((start, framing, *pieces)) if pieces else start + framing)
        self._time()

    def _time(self) -> None:
        """Set the deadline if it is the upstream's turn, else clear it."""
        reader = self._reader
        if self._paused or reader.complete:
            self.deadline = None
        elif reader.final is not None:
            self.deadline = self._deadlines.after(self._body_timeout)
        elif self._sent or self._full or self._expected:
            self.deadline = self._deadlines.after(self._head_timeout)
        else:
            self.deadline = None

    def feed_from(self, source: Source) -> None:
        """Name the source of the rest of the body; it is paused while this connection is full."""
        self._source = source
        if self._full:
            source.pause()

    def body(self, piece: bytes) -> None:
        """Write a piece of the request's body."""
        if self._outlet is not None:
            self._expected = False
            self._outlet.write(chunk(piece) if self._chunked_out else piece)
            self._time()

    def end(self) -> None:
        """Write the end of the request's body."""
        self._sent = True
        if self._chunked_out and self._outlet is not None:
            self._outlet.write(LAST_CHUNK)
        self._time()

    def response(self) -> Coroutine[Any, Any, ResponseHead]:
        """Return the next response head when awaited: interim heads first, the final one last.

        Raises:
            UpstreamFault: there will be none.
        """
        return self._handover.head()

    @property
    def complete(self) -> bool:
        """True if the response has ended."""
        return self._reader.complete

    def take(self) -> list[bytes]:
        """Return the body that came with the final head."""
        pieces, self._reader.pieces = self._reader.pieces, []
        return pieces

    def relay(self, sink: Sink) -> None:
        """Pass the rest of the response's body, and its end, to `sink`."""
        self._reader.sink = sink

    def finished(self) -> Coroutine[Any, Any, None]:
        """Return, when awaited, once the response is relayed to its end; raises UpstreamFault if it broke off."""
        return self._handover.end()

    def switch(self) -> tuple[asyncio.Transport, bytes]:
        """Return the transport after a 101, and the bytes that came behind it.

        Raises:
            UpstreamLost: the connection is closed already.
        """
        if self._outlet is None:
            raise UpstreamLost("the upstream closed the connection behind its 101")
        self.deadline = None
        return self._outlet.give_away(), self._reader.early

    @property
    def reusable(self) -> bool:
        """True if another exchange may use this connection."""
        reader = self._reader
        return (
            reader.complete
            and self._sent
            and not self._full  # bytes in the write buffer have not been sent
            and not reader.excess
            and reader.final is not None
            and reader.final.keep_alive
            and not self.retired
            and self.is_open
        )

    @property
    def is_open(self) -> bool:
        """True if the transport can still be written to."""
        return self._outlet is not None and not self._outlet.transport.is_closing()

    @property
    def full(self) -> bool:
        """True if the transport's write buffer is full."""
        return self._full

    def rest(self, idle_seconds: float) -> None:
        """Become idle, ready for the next ``send``: for `idle_seconds`, or for less if the upstream closes earlier."""
        if self._paused:  # the last piece filled the client, and the exchange that would resume it is over
            self.resume()
        self._busy = self._chunked_out = False
        self._source = None
        self._reader.sink = None
        final = self._reader.final
        seconds = idle_seconds if final is None else min(idle_seconds, final.rest_seconds)
        self.deadline = self._deadlines.after(seconds)

    def pause(self) -> None:
        """Stop reading the response until ``resume``; the deadline is suspended."""
        if self._outlet is not None and self.is_open:
            self._paused = True
            self._outlet.transport.pause_reading()
            self.deadline = None

    def resume(self) -> None:
        """Continue reading the response."""
        if self._outlet is not None and self.is_open:
            self._paused = False
            self._outlet.transport.resume_reading()
            self._time()

    def abort(self) -> None:
        """Drop the connection at once. The sink is detached first: a close-delimited body must not look complete."""
        self._reader.sink = None
        if self._outlet is not None:
            self._outlet.drop()

    def disown(self) -> None:
        """Drop a connection whose dial has failed: it was never lent, so its loss is not reported."""
        self._lost = lambda _: None
        self._deadlines.watched.discard(self)
        self.abort()

    # -- asyncio's callbacks -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register the connection and its transport."""
        self._outlet = WriteBuffer(self._outbox, cast("asyncio.Transport", transport))
        self._deadlines.watched.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Unregister the connection, and end or fail the response."""
        self._deadlines.watched.discard(self)
        outlet, broken = self._outlet, self._outlet if exc is not None and self._busy else None
        if broken is not None and (rest := unread(broken.transport)):
            self.data_received(rest)
        self._outlet = None
        if self._busy:
            if exc is None and ended_by_peer(outlet) and self._reader.ended_by_close():
                self._handover.deliver()
            else:
                self._handover.fail(loss(exc, at_first=self.served == 1 and not self.touched))
        self._lost(self)
        self._reader.close()

    def data_received(self, data: bytes) -> None:
        """Parse received bytes, then resume the exchange once."""
        reader, outlet = self._reader, self._outlet
        if not self._busy or reader.complete or outlet is None or outlet.writes_flushed == self._before:
            reader.excess = True
            self.abort()
            return
        self.touched = True
        try:
            reader.feed(data)
        except ProtocolError as error:
            fault = UpstreamMalformed(f"the upstream's response is malformed: {error}")
            fault.__cause__ = error
            self._handover.fail(fault)
            reader.excess = True
            self.abort()
        else:
            self._expected = self._expected and not reader.heads
            self._time()
        self._handover.deliver()

    def pause_writing(self) -> None:
        """Pause the source: the upstream takes the body more slowly than it comes."""
        self._full = True
        if self._busy:
            self._time()
        if self._source is not None:
            self._source.pause()

    def resume_writing(self) -> None:
        """Resume the source: the upstream has caught up."""
        self._full = False
        if self._busy:
            self._time()
        if self._source is not None:
            self._source.resume()

    def expire(self) -> None:
        """Drop the connection: its idle time is over, or a head or the next piece of a body is late."""
        if self._busy:
            self._handover.fail(UpstreamTimedOut("the upstream did not answer in time"))
        self.abort()
