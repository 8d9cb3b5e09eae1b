"""Upstream connection: it sends a request and streams the response.

A connection serves one exchange at a time: ``send`` -> ``response`` (again after each interim one) -> ``take`` the body
that came with the head, and ``relay`` the rest -> ``finished``. Laws:

- Unsolicited bytes are not parsed: a byte on an idle connection, before the request has left, or after the end of a
  response, closes the connection.
- ``reusable`` is true only if nothing was sent, or if both messages ended where their framing requires and both sides
  want to go on (RFC 9112 section 9.3).
- Every failure reaches the exchange as one :class:`~gateway.wire.faults.UpstreamFault`, once.
- The deadline runs while the upstream must act: it owes the response, does not read the body, or has not answered
  Expect (RFC 9110 section 10.1.1).
- The deadline is paused while the response is held back for a slow client, and before the response's head while the
  client owes the body.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, cast

from gateway.wire.faults import (
    UNSENT,
    ExpectationUnanswered,
    UpstreamLost,
    UpstreamMalformed,
    UpstreamTimedOut,
    alone,
)
from gateway.wire.framing import LAST_CHUNK, chunk, chunked, request_framing
from gateway.wire.messages import BodyKind, ProtocolError
from gateway.wire.response_parser import ResponseParser
from gateway.wire.response_waiter import ResponseWaiter
from gateway.wire.tls import ended_by_peer, loss
from gateway.wire.unread import is_silent, unread
from gateway.wire.upstream_states import (
    ANSWER,
    ASK,
    ASK_PART,
    AWAITING,
    BROKEN,
    DONE,
    DROP,
    EARLY,
    END,
    IDLE,
    INTERIM,
    LOST,
    NEW,
    OFFER,
    OFFERING,
    OPENED,
    PIECE,
    RECEIVING,
    REST,
    SENDING,
    SENT,
    SPENT,
    SWITCH,
    UPSTREAM,
)
from gateway.wire.write_buffer import WriteBuffer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from gateway.wire.deadlines import Deadlines
    from gateway.wire.drive import Signal
    from gateway.wire.endpoint import Endpoint
    from gateway.wire.flow import Sink, Source
    from gateway.wire.known_heads import KnownHeads
    from gateway.wire.messages import RequestHead, ResponseHead
    from gateway.wire.write_buffer import WriteBatch

    Lost = Callable[["UpstreamConnection"], None]

_CONTINUE: Final = 100


class UpstreamConnection:
    """Upstream connection as an asyncio protocol, which inherits nothing for the same reason as the client connection.

    Attributes:
        deadline: The time at which ``expire`` is called; see :mod:`~gateway.wire.deadlines`.
        served: Number of exchanges begun on this connection; above one, it was reused.
        touched: A byte of the present response has arrived.
        endpoint: The address that it leads to; None if it leads to the gateway's own application.
        retired: It is not used for another exchange.
        idle_since: The time at which the last exchange ended.
    """

    def __init__(self, deadlines: Deadlines, write_batch: WriteBatch, known: KnownHeads, lost: Lost) -> None:
        """`lost` is called once, when the connection is gone; `known` is shared by the upstream's connections."""
        # Of the process: shared by all connections.
        self._deadlines = deadlines
        self._write_batch = write_batch
        # Of the connection.
        self._lost = lost
        self._state: int = NEW
        self._write_buffer: WriteBuffer | None = None  # from OPENED to LOST
        self._reader = ResponseParser(known)
        self._responses = ResponseWaiter(self._reader)
        self._full = self._paused = False  # flow control: written too much; reading is paused
        self.deadline: float | None = None
        self.served = 0
        self.retired = False
        self.idle_since = 0.0
        self.endpoint: Endpoint | None = None
        # Of the exchange: `send` sets them anew.
        self._writes_before = 0  # writes that left the buffer before the request
        self._chunked = False  # the request's body is sent chunked
        self._head_timeout = self._body_timeout = 0.0
        self._source: Source | None = None
        self.touched = False

    def __repr__(self) -> str:
        reading = ", reading paused" if self._paused else ""
        writing = ", upstream not taking" if self._full else ""
        return f"<upstream connection {self.state}, {self.served} served{reading}{writing}>"

    @property
    def state(self) -> str:
        """The name of the connection's state."""
        return UPSTREAM.states[self._state]

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
        self.touched = False
        self._source = None
        self._chunked = head.kind is BodyKind.CHUNKED
        self._head_timeout, self._body_timeout = head_timeout, body_timeout
        self._reader.expect(head.method, upgrade=head.upgrade)
        framing = request_framing(head)
        if self._chunked:
            pieces = chunked(pieces, complete=complete)
        buffer = self._write_buffer
        if buffer is None or self._state != IDLE:  # the connection was lost after it was lent
            self._responses.fail(UpstreamLost(UNSENT))
            return
        offers = not pieces and b"expect" in head.first and head.minor == 1  # else the field was not sent on
        event = ASK if complete else OFFER if offers else ASK_PART
        self._state = UPSTREAM.after(self._state, event)
        self._writes_before = buffer.writes_flushed
        buffer.write(b"".join((start, framing, *pieces)) if pieces else start + framing)
        self._update_deadline()

    def _update_deadline(self) -> None:
        """Set the deadline if it is the upstream's turn, else clear it."""
        state = self._state
        if self._paused:
            self.deadline = None
        elif state in (AWAITING, OFFERING) or (state == SENDING and self._full):
            self.deadline = self._deadlines.after(self._head_timeout)
        elif state in (RECEIVING, EARLY):
            self.deadline = self._deadlines.after(self._body_timeout)
        else:
            self.deadline = None

    def feed_from(self, source: Source) -> None:
        """Name the source of the rest of the body; it is paused while this connection is full."""
        self._source = source
        if self._full:
            source.pause()

    def body(self, piece: bytes) -> None:
        """Write a piece of the request's body."""
        if self._write_buffer is None or not IDLE < self._state <= SPENT:
            return
        self._state = UPSTREAM.after(self._state, PIECE)
        self._write_buffer.write(chunk(piece) if self._chunked else piece)
        self._update_deadline()

    def end(self) -> None:
        """Write the end of the request's body."""
        if self._write_buffer is None or not IDLE < self._state <= SPENT:
            return
        self._state = UPSTREAM.after(self._state, SENT)
        if self._chunked:
            self._write_buffer.write(LAST_CHUNK)
        self._update_deadline()

    def response(self) -> Signal[ResponseHead]:
        """Return the signal of the next response head: interim heads first, the final one last.

        It fails with an UpstreamFault if there will be none.
        """
        return self._responses.head()

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
        return self._responses.end()

    def switch(self) -> tuple[asyncio.Transport, bytes]:
        """Return the transport after a 101, and the bytes that came behind it.

        Raises:
            UpstreamLost: the connection is closed already.
        """
        if self._write_buffer is None:
            raise UpstreamLost("the upstream closed the connection behind its 101")
        self._state = UPSTREAM.after(self._state, SWITCH)
        self.deadline = None
        return self._write_buffer.give_away(), self._reader.early

    @property
    def reusable(self) -> bool:
        """True if another exchange may use this connection: the last one has ended, or never began."""
        usable = self._state == IDLE or (self._state == DONE and self._reader.reusable)
        return usable and not (self.retired or self._full) and self.is_open  # full: bytes have not left

    @property
    def is_open(self) -> bool:
        """True if the transport can still be written to."""
        return self._write_buffer is not None and not self._write_buffer.is_closing()

    @property
    def is_silent(self) -> bool:
        """True if the upstream has sent nothing that the event loop has not read, not even its end of the stream."""
        return self._write_buffer is not None and is_silent(self._write_buffer.transport)

    def is_lasting(self, *, doubtful: bool) -> bool:
        """Return whether the upstream is expected to keep this idle connection; see :meth:`Endpoint.keeps`."""
        endpoint = self.endpoint
        unused = self._deadlines.now - self.idle_since
        return endpoint is None or endpoint.keeps(self.served, unused, doubtful=doubtful)

    def has_ended(self, answers: int) -> None:
        """Note that the upstream has closed this connection after so many answers, without announcing it."""
        if self.endpoint is not None:
            self.endpoint.has_ended(answers, self._deadlines.now - self.idle_since)

    @property
    def full(self) -> bool:
        """True if the transport's write buffer is full."""
        return self._full

    def become_idle(self, idle_seconds: float) -> None:
        """Become idle, ready for the next ``send``: for `idle_seconds`, or for less if the upstream closes earlier."""
        if self._paused:  # the last piece filled the client, and the exchange that would resume it is over
            self.resume()
        was_idle, self._state = self._state == IDLE, UPSTREAM.after(self._state, REST)
        if was_idle and self.served:  # nothing was sent: the upstream has waited since its last answer
            return
        self.idle_since = self._deadlines.now
        self._source = None
        self._reader.sink = None
        final = self._reader.final
        seconds = idle_seconds if final is None else min(idle_seconds, final.rest_seconds)
        self.deadline = self._deadlines.after(seconds)

    def pause(self) -> None:
        """Stop reading the response until ``resume``; the deadline is suspended."""
        if self._write_buffer is not None and self.is_open:
            self._paused = True
            self._write_buffer.transport.pause_reading()
            self.deadline = None

    def resume(self) -> None:
        """Continue reading the response."""
        if self._write_buffer is not None and self.is_open:
            self._paused = False
            if self._reader.held:
                self._yield_turn()
            else:
                self._write_buffer.transport.resume_reading()
            self._update_deadline()

    def abort(self) -> None:
        """Drop the connection at once. The sink is detached first: a close-delimited body must not look complete."""
        self._reader.sink = None
        if self._write_buffer is not None:
            self._state = UPSTREAM.after(self._state, DROP)
            self._write_buffer.drop()

    def disown(self) -> None:
        """Drop a connection whose dial has failed: it was never lent, so its loss is not reported."""
        self._lost = lambda _: None
        self._deadlines.watched.discard(self)
        self.abort()

    # -- asyncio's callbacks -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register the connection and its transport."""
        self._state = UPSTREAM.after(self._state, OPENED)
        self._write_buffer = WriteBuffer(self._write_batch, cast("asyncio.Transport", transport))
        self._deadlines.watched.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Unregister the connection, and end or fail the response."""
        self._deadlines.watched.discard(self)
        buffer = self._write_buffer
        self._take_last(unread(buffer.transport, exc) if buffer and self._expects_bytes() else b"", exc)

    def _take_last(self, rest: bytes, exc: Exception | None) -> None:
        """Parse the last received bytes, over several turns of the loop; then end or fail the response."""
        if (rest or self._reader.held) and self._expects_bytes():
            self.data_received(rest)
        buffer, expecting, broken = self._write_buffer, self._expects_bytes(), self._state == BROKEN
        if expecting and self._reader.held:
            asyncio.get_running_loop().call_soon(self._take_last, b"", exc)
            return
        if self._state == IDLE or (expecting and not self.touched):
            self.has_ended(self.served - int(expecting))
        self._state = UPSTREAM.after(self._state, LOST)
        self._write_buffer = None
        if expecting and exc is None and ended_by_peer(buffer) and self._reader.ended_by_close():
            self._responses.deliver()
        elif expecting or broken:
            self._responses.fail(loss(exc, at_first=self.served == 1 and not self.touched))
        self._lost(self)
        self._reader.close()

    def _expects_bytes(self) -> bool:
        """True if a request was begun and its response has not ended."""
        return OFFERING <= self._state <= RECEIVING

    def eof_received(self) -> None:
        """Let the transport close: what the end of the stream means is decided when it is gone."""

    def data_received(self, data: bytes) -> None:
        """Parse received bytes, then resume the exchange once."""
        reader, buffer = self._reader, self._write_buffer
        if buffer is None or not self._expects_bytes() or buffer.writes_flushed == self._writes_before:
            reader.excess = True
            self.abort()
            return
        self.touched = True
        try:
            reader.feed(data)
        except ProtocolError as error:
            self._responses.fail(UpstreamMalformed(f"the upstream's response is malformed: {alone(error)}"))
            reader.excess = True
            self.abort()
        else:
            self._advance(reader)
            if reader.held:
                self._yield_turn()
        self._responses.deliver()

    def _advance(self, reader: ResponseParser) -> None:
        """Change the state by what was parsed. Only progress renews the deadline, so that a trickle is late."""
        if reader.complete:
            self._state = UPSTREAM.after(self._state, END)
        elif reader.final is not None:
            if self._state < EARLY:
                self._state = UPSTREAM.after(self._state, ANSWER)
            elif not reader.has_progressed:
                return
        elif self._state == OFFERING and any(head.status == _CONTINUE for head in reader.heads):
            self._state = UPSTREAM.after(self._state, INTERIM)
        else:
            return
        self._update_deadline()

    def _yield_turn(self) -> None:
        """Parse on in a later turn of the loop: a body of tiny chunks must not delay the other connections."""
        if self._write_buffer is not None and self.is_open:
            self._write_buffer.transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._parse_on)

    def _parse_on(self) -> None:
        if self._write_buffer is None or not self.is_open or not self._reader.held or self._paused:
            return  # gone, or resumed and parsed on meanwhile, or `resume` parses on
        self._write_buffer.transport.resume_reading()
        self.data_received(b"")

    def pause_writing(self) -> None:
        """Pause the source: the upstream takes the body more slowly than it comes."""
        self._full = True
        if self._state > IDLE:
            self._update_deadline()
        if self._source is not None:
            self._source.pause()

    def resume_writing(self) -> None:
        """Resume the source: the upstream has caught up."""
        self._full = False
        if self._state > IDLE:
            self._update_deadline()
        if self._source is not None:
            self._source.resume()

    def expire(self) -> None:
        """Drop the connection: its idle time is over, or a head or the next piece of a body is late."""
        if self._state == OFFERING:
            silence = "the upstream did not answer Expect in time, and the client sent no body"
            self._responses.fail(ExpectationUnanswered(silence))
        elif self._expects_bytes():
            self._responses.fail(UpstreamTimedOut("the upstream did not answer in time"))
        self.abort()
