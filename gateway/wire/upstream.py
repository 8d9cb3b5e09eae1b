"""One connection to an upstream: send a request, stream the response.

A connection serves one exchange at a time: ``send`` -> ``response`` (again after each interim one) -> ``take`` what
came with the head, and ``relay`` the rest -> ``finished``. Laws:

- Nothing is read that was not asked for: a byte on an idle connection, before the request has left, or after the end
  of a response, costs the connection its life.
- ``reusable`` is true only when both messages ended where their framing said and both sides want to go on
  (RFC 9112 section 9.3).
- Whatever goes wrong reaches the exchange as one :class:`~gateway.wire.faults.UpstreamFault`, once.
- The deadline runs while it is the upstream's turn: not while its response is held back here, nor before its final head
  while the client owes the body; but while it does not take the body, or has not said whether it wants it (RFC 9110
  section 10.1.1).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from gateway.wire.answers import ResponseReader
from gateway.wire.faults import CUT_OFF, UNSENT, UpstreamLost, UpstreamMalformed, UpstreamTimedOut
from gateway.wire.framing import LAST_CHUNK, chunk, chunked, request_framing
from gateway.wire.handover import Handover
from gateway.wire.messages import BodyKind, ProtocolError
from gateway.wire.outbox import Outlet
from gateway.wire.unread import unread

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

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
        self._handover = Handover(self._reader)
        self.deadline: float | None = None
        self.served = 0
        self.touched = False
        self._sent = True
        self._expected = False
        self._busy = self._full = self._paused = self._chunked_out = False
        self._head_timeout = self._body_timeout = 0.0
        self._source: Source | None = None

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
            self._handover.fail(UpstreamLost(UNSENT))
            return
        self._expected = not complete and not pieces and b"expect" in head.first
        self._before = outlet.departures
        outlet.write(b"".join((start, framing, *pieces)) if pieces else start + framing)
        self._time()

    def _time(self) -> None:
        """Give the upstream its time from now on, if it is its turn."""
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
        """Name who sends the rest of the body, to be paused while this connection is full."""
        self._source = source
        if self._full:
            source.pause()

    def body(self, piece: bytes) -> None:
        """Write a piece of the request's body."""
        if self._outlet is None:
            return
        self._expected = False
        self._outlet.write(chunk(piece) if self._chunked_out else piece)
        self._time()

    def end(self) -> None:
        """Mark the end of the request's body."""
        self._sent = True
        if self._chunked_out and self._outlet is not None:
            self._outlet.write(LAST_CHUNK)
        self._time()

    def response(self) -> Coroutine[Any, Any, ResponseHead]:
        """Return the next response head when awaited: interim ones first, the final one last.

        Raises:
            UpstreamFault: there will be none.
        """
        return self._handover.head()

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

    def finished(self) -> Coroutine[Any, Any, None]:
        """Return, when awaited, once the response has been relayed to its end.

        Raises:
            UpstreamFault: it broke off.
        """
        return self._handover.end()

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

    @property
    def full(self) -> bool:
        """Whether the upstream lags behind."""
        return self._full

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
            self._time()

    def abort(self) -> None:
        """Drop the connection at once; its end is then the end of nothing that anybody reads."""
        self._reader.sink = None
        if self._outlet is not None:
            self._outlet.drop()

    def disown(self) -> None:
        """Drop a connection whose dial has failed: it was never lent, and its loss concerns nobody."""
        self._lost = lambda _: None
        self._deadlines.watched.discard(self)
        self.abort()

    # -- asyncio's side ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, with a transport."""
        self._outlet = Outlet(self._outbox, cast("asyncio.Transport", transport))
        self._deadlines.watched.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End: the transport is gone, by error or not."""
        self._deadlines.watched.discard(self)
        broken = self._outlet if exc is not None and self._busy else None
        if broken is not None and (rest := unread(broken.transport)):
            self.data_received(rest)
        self._outlet = None
        if self._busy:
            if exc is None and self._reader.ended_by_close():
                self._handover.deliver()
            else:
                self._handover.fail(UpstreamLost(CUT_OFF))
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
            self._handover.fail(fault)
            reader.excess = True
            self.abort()
        else:
            self._expected = self._expected and not reader.heads
            self._time()
        self._handover.deliver()

    def pause_writing(self) -> None:
        """The upstream takes the body more slowly than it comes."""
        self._full = True
        if self._busy:
            self._time()
        if self._source is not None:
            self._source.pause()

    def resume_writing(self) -> None:
        """The upstream has caught up."""
        self._full = False
        if self._busy:
            self._time()
        if self._source is not None:
            self._source.resume()

    def expire(self) -> None:
        """The deadline has passed: idle, waiting for a head, or for the next piece of a body."""
        if self._busy:
            self._handover.fail(UpstreamTimedOut("the upstream did not answer in time"))
        self.abort()
