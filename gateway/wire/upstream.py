"""One connection to an upstream: send a request, stream the response.

A connection serves one exchange at a time: ``send`` -> ``response`` (again after each interim one) -> ``take`` what
came with the head, and ``relay`` the rest -> ``finished``. Laws:

- Nothing is read that was not asked for: a byte on an idle connection, before the request has left, or after the end
  of a response, costs the connection its life.
- ``reusable`` is true only when both messages ended where their framing said and both sides want to go on
  (RFC 9112 section 9.3).
- Whatever goes wrong reaches the exchange as one :class:`UpstreamFault`, once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from gateway.wire.answers import ResponseReader
from gateway.wire.drive import Signal
from gateway.wire.faults import UpstreamFault, UpstreamLost, UpstreamMalformed, UpstreamTimedOut
from gateway.wire.framing import LAST_CHUNK, chunk, chunked, request_framing
from gateway.wire.messages import BodyKind, ProtocolError
from gateway.wire.outbox import Outlet

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.wire.answers import KnownHeads
    from gateway.wire.deadlines import Deadlines
    from gateway.wire.flow import Sink, Source
    from gateway.wire.messages import RequestHead, ResponseHead
    from gateway.wire.outbox import Outbox

    Lost = Callable[["UpstreamConnection"], None]


class UpstreamConnection(asyncio.Protocol):
    """The gateway's end of one upstream connection.

    Attributes:
        deadline: See :mod:`~gateway.wire.deadlines`.
        served: Exchanges begun on this connection; above one, it was reused.
        touched: A byte of the present response has arrived.
    """

    def __init__(self, deadlines: Deadlines, outbox: Outbox, known: KnownHeads, lost: Lost) -> None:
        """`lost` is called once, when the connection is gone; `known` is shared by the upstream's connections."""
        self._deadlines = deadlines
        self._outbox = outbox
        self._outlet: Outlet | None = None
        self._before = 0
        self._lost = lost
        self._reader = ResponseReader(known)
        self.deadline: float | None = None
        self.served = 0
        self.touched = False
        self._sent = True
        self._busy = self._full = self._paused = self._chunked_out = False
        self._head_timeout = self._body_timeout = 0.0
        self._source: Source | None = None
        self._failure: UpstreamFault | None = None
        self._awaited: Signal[ResponseHead] | None = None
        self._finished: Signal[None] | None = None

    # -- the exchange's side -----------------------------------------------------------------------------------

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
        """Write a request: `start` (request line and fields), its framing, and the `pieces` of body at hand.

        When not `complete`, the rest follows through ``body`` and ``end``. Timeouts are in seconds.
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
        if outlet is None:  # lost since it was lent
            self._fail(UpstreamLost("the upstream closed the connection before a request was sent on it"))
            return
        self.deadline = self._deadlines.after(head_timeout)
        self._before = outlet.departures
        outlet.write(b"".join((start, framing, *pieces)) if pieces else start + framing)

    def feed_from(self, source: Source) -> None:
        """Name who sends the rest of the body, to be paused while this connection is full."""
        self._source = source
        if self._full:
            source.pause()

    def body(self, piece: bytes) -> None:
        """Write a piece of the request's body."""
        if self._outlet is None:
            return
        answered = self._reader.final is not None
        if not self._paused:
            self.deadline = self._deadlines.after(self._body_timeout if answered else self._head_timeout)
        self._outlet.write(chunk(piece) if self._chunked_out else piece)

    def end(self) -> None:
        """Mark the end of the request's body."""
        self._sent = True
        if self._chunked_out and self._outlet is not None:
            self._outlet.write(LAST_CHUNK)

    async def response(self) -> ResponseHead:
        """Return the next response head: interim ones first, the final one last.

        Raises:
            UpstreamFault: there will be none.
        """
        if self._reader.heads:
            return self._reader.heads.popleft()
        if self._failure is not None:
            raise self._failure
        self._awaited = Signal()
        return await self._awaited

    @property
    def complete(self) -> bool:
        """Whether the response has ended."""
        return self._reader.complete

    def take(self) -> list[bytes]:
        """Take the body that came with the final head."""
        pieces, self._reader.pieces = self._reader.pieces, []
        return pieces

    def relay(self, sink: Sink) -> None:
        """Pass the rest of the response's body to `sink`, and its end."""
        self._reader.sink = sink

    async def finished(self) -> None:
        """Return when the response has been relayed to its end.

        Raises:
            UpstreamFault: it broke off.
        """
        if self._failure is not None:
            raise self._failure
        if not self._reader.complete:
            self._finished = Signal()
            await self._finished

    def switch(self) -> tuple[asyncio.Transport, bytes]:
        """Give the transport away after a 101, with the bytes that came behind it.

        Raises:
            UpstreamLost: it is gone already.
        """
        if self._outlet is None:
            raise UpstreamLost("the upstream closed the connection behind its 101")
        self.deadline = None
        return self._outlet.give_away(), self._reader.early

    @property
    def reusable(self) -> bool:
        """Whether another exchange may use this connection."""
        reader = self._reader
        return (
            reader.complete
            and self._sent
            and not self._full  # what is still in our buffer has not been sent
            and not reader.excess
            and reader.final is not None
            and reader.final.keep_alive
            and self.is_open
        )

    @property
    def is_open(self) -> bool:
        """Whether the transport can still be written to."""
        return self._outlet is not None and not self._outlet.transport.is_closing()

    def rest(self, idle_seconds: float) -> None:
        """Become idle for `idle_seconds` at most, ready for the next ``send``."""
        if self._paused:  # the last piece filled the client, and nobody is left to say that it has room
            self.resume()
        self._busy = self._chunked_out = False
        self._source = None
        self._reader.sink = None
        self.deadline = self._deadlines.after(idle_seconds)

    def pause(self) -> None:
        """Read no more of the response until ``resume``; its silence is then nobody's fault."""
        if self._outlet is not None and self.is_open:
            self._paused = True
            self._outlet.transport.pause_reading()
            self.deadline = None

    def resume(self) -> None:
        """Read on."""
        if self._outlet is not None and self.is_open:
            self._paused = False
            self._outlet.transport.resume_reading()
            self.deadline = self._deadlines.after(self._body_timeout)

    def abort(self) -> None:
        """Drop the connection at once."""
        if self._outlet is not None:
            self._outlet.drop()

    # -- asyncio's side ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, with a transport."""
        self._outlet = Outlet(self._outbox, cast("asyncio.Transport", transport))
        self._deadlines.watched.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End: the transport is gone, by error or not."""
        self._deadlines.watched.discard(self)
        self._outlet = None
        if self._busy:
            if exc is None and self._reader.ended_by_close():
                self._deliver()
            else:
                self._fail(UpstreamLost("the upstream closed the connection before its response had ended"))
        self._lost(self)
        self._reader.close()

    def data_received(self, data: bytes) -> None:
        """Read, then resume the exchange once with what that brought."""
        reader, outlet = self._reader, self._outlet
        if not self._busy or reader.complete or outlet is None or outlet.departures == self._before:
            reader.excess = True
            self.abort()
            return
        self.touched = True
        try:
            reader.feed(data)
        except ProtocolError as error:
            fault = UpstreamMalformed(f"the upstream's response is malformed: {error}")
            fault.__cause__ = error
            self._fail(fault)
            reader.excess = True
            self.abort()
        else:
            if self.complete:
                self.deadline = None
            elif reader.final is not None:
                self.deadline = self._deadlines.after(self._body_timeout)
        self._deliver()

    def pause_writing(self) -> None:
        """The upstream takes the body more slowly than it comes."""
        self._full = True
        if self._source is not None:
            self._source.pause()

    def resume_writing(self) -> None:
        """The upstream has caught up."""
        self._full = False
        if self._source is not None:
            self._source.resume()

    def expire(self) -> None:
        """The deadline has passed: idle, waiting for a head, or for the next piece of a body."""
        if self._busy:
            self._fail(UpstreamTimedOut("the upstream did not answer in time"))
        self.abort()

    def _fail(self, fault: UpstreamFault) -> None:
        """Keep the fault for whoever asks next; tell who waits already."""
        if self._reader.complete or self._failure is not None:
            return
        self._failure = fault
        self._deliver()

    def _deliver(self) -> None:
        """Resume the exchange with what it awaits, now that the reader is at rest."""
        awaited, finished = self._awaited, self._finished
        if awaited is not None:
            if self._reader.heads:
                self._awaited = None
                awaited.set(self._reader.heads.popleft())
            elif self._failure is not None:
                self._awaited = None
                awaited.fail(self._failure)
        elif finished is not None:
            if self._reader.complete:
                self._finished = None
                finished.set(None)
            elif self._failure is not None:
                self._finished = None
                finished.fail(self._failure)
