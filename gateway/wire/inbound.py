"""Inbound exchange: one request as it arrives, and its answer as it leaves.

The wire passes an :class:`Inbound` to the gateway. Laws:

- The gateway reads ``head`` (or finds ``fault`` set), and calls either ``answer`` once or ``abort``. Interim answers
  may come before. Only the wire writes framing fields and Connection.
- Pieces of the body wait in the inbound until ``pipe`` names their sink.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from gateway.wire.framing import LAST_CHUNK, UPGRADE, chunk, chunked
from gateway.wire.messages import BodyKind, ProtocolError, RequestHead

if TYPE_CHECKING:
    import asyncio

    from gateway.wire.downstream import DownstreamConnection
    from gateway.wire.flow import Sink, Source
    from gateway.wire.http2_refusal import Http2Refusal

_CLOSE: Final = b"Connection: close\r\n"
_KEEP: Final = b"Connection: keep-alive\r\n"
_END: Final = b"\r\n"
_CONTINUE: Final = b"HTTP/1.1 100 "


CLOSED: Final = "the client closed the connection"
STALLED: Final = "the client took nothing of its answer for GATEWAY_TIMEOUT_WRITE_SECONDS"


class ClientGone(Exception):
    """The client closed its connection before it received its answer.

    Attributes:
        reason: The word for it in logs and metrics.
    """

    reason: ClassVar[str] = "client_gone"


class ClientStalled(ClientGone):
    """The client took nothing of its answer for too long, and its connection was dropped."""

    reason: ClassVar[str] = "write_timeout"


class ClientDisplaced(ClientStalled):
    """The client did not take its answer while other requests waited for the upstream, and was dropped for them."""

    reason: ClassVar[str] = "displaced"


class Inbound:
    """Request that is being read and answered.

    Attributes:
        connection: The client's connection.
        head: The request head; incomplete when ``fault`` is set.
        fault: Why the request is refused before the gateway looks at it, or None.
        http2: Writes the answer to a client that began HTTP/2; None for all others.
        size: Bytes of field lines so far, trailers included.
        lines: Number of field lines so far, trailers included.
        complete: The whole request has been received.
        received: Bytes of body received.
        limit: Most bytes of body that may be received; 0 for no limit.
        pieces: Received body that has not been taken yet.
        sink: The receiver of the body, once `pipe` has named it.
        source: The sender of the answer's body, which is paused while the client is slow.
        held: The sink is full.
        answered: The final answer's head has been written.
        aborted: The answer broke off; the connection cannot go on.
        closes: The connection closes after the answer.
        bare: Only a reset tells the client that the answer broke off: it ends by the close of the connection otherwise.
        sent: Bytes of answer body written.
        whole_by: The loop's time by which the whole request has to be there; None for any time.
    """

    __slots__ = (
        "_awaited",
        "_chunked",
        "_counted",
        "_urged",
        "aborted",
        "answered",
        "bare",
        "closes",
        "complete",
        "connection",
        "fault",
        "head",
        "held",
        "http2",
        "limit",
        "lines",
        "pieces",
        "received",
        "sent",
        "sink",
        "size",
        "source",
        "whole_by",
    )

    def __init__(self, connection: DownstreamConnection, head: RequestHead | None = None) -> None:
        self.connection = connection
        self.head = RequestHead() if head is None else head
        self.fault: ProtocolError | None = None
        self.http2: Http2Refusal | None = None
        self.size = 0
        self.lines = 0
        self.complete = False
        self.received = 0
        self.limit = 0
        self.pieces: list[bytes] = []
        self.sink: Sink | None = None
        self.source: Source | None = None
        self.held = False
        self.answered = False
        self.aborted = False
        self.closes = False
        self.sent = 0
        self._chunked = False
        self.bare = self._urged = False
        self.whole_by: float | None = None
        self._awaited: float | None = None
        self._counted = 0

    # -- the request's body ----------------------------------------------------------------------------------

    def received_body(self, piece: bytes) -> None:
        """Receive a piece of body from the parser.

        Raises:
            ProtocolError: 413, the body is larger than ``limit``.
        """
        self.received += len(piece)
        if self.limit and self.received > self.limit:
            raise ProtocolError(413, "request body too large")
        if self.sink is not None:
            self.sink.body(piece)
        elif not self.answered:
            self.pieces.append(piece)

    def received_end(self) -> None:
        """Receive the end of the body from the parser."""
        self.complete = True
        if self.sink is not None:
            self.sink.end()

    def body_deadline(self, latest: float | None) -> float | None:
        """Return when the next piece of the body has to be there; None if none is due.

        Args:
            latest: When one has to be there that is due from now on; None if none is due. Bytes that are not body, as
                those of chunk extensions, gain no time.
        """
        if latest is None:
            self._awaited = None
        elif self._awaited is None or self.received != self._counted:
            self._counted = self.received
            self._awaited = latest if self.whole_by is None else min(latest, self.whole_by)
        return self._awaited

    def take(self) -> list[bytes]:
        """Return the pieces that have arrived and were not taken, and clear them."""
        pieces, self.pieces = self.pieces, []
        return pieces

    def pipe(self, sink: Sink) -> None:
        """Send the rest of the body to `sink`. :meth:`take` comes first, for the pieces that have arrived."""
        self.sink = sink
        self.connection.regulate()

    def detach(self) -> None:
        """Stop reading the body, because its sink is gone, until :meth:`pipe` names another."""
        self.sink = None
        self.held = False
        self.connection.regulate()

    def pause(self) -> None:
        """Stop reading the body: the sink is full."""
        self.held = True
        self.connection.regulate()

    def resume(self) -> None:
        """Continue reading the body: the sink has room."""
        self.held = False
        self.connection.regulate()

    @property
    def expecting(self) -> bool:
        """True if the client waits for a 100 before it sends its body (RFC 9110 section 10.1.1)."""
        return not (self.received or self._urged) and b"expect" in self.head.first and self.head.minor == 1

    # -- the answer ------------------------------------------------------------------------------------------

    def interim(self, head: bytes) -> None:
        """Write an interim response's head (RFC 9110 section 15.2); an HTTP/1.0 client gets none.

        After a 100 the client has to send its body. After any other it may go on waiting, and is not late.
        """
        self._urged = self._urged or head.startswith(_CONTINUE)
        if self.head.minor == 1:
            self.connection.write(head + _END)
        self.connection.regulate()

    def answer(  # noqa: PLR0913 -- the parts of one response
        self,
        start: bytes,
        kind: BodyKind,
        length: int | None,
        *,
        pieces: list[bytes],
        complete: bool,
        source: Source | None = None,
    ) -> None:
        """Write the answer's head, and the `pieces` of its body that are ready, in one write.

        Args:
            start: Status line and field lines, without framing fields and without Connection.
            kind: How the sender ends the body; a body that ends by closing is sent chunked.
            length: The value of Content-Length; None for no such field.
            pieces: The body so far.
            complete: The body ends with `pieces`; otherwise ``body`` and ``end`` follow.
            source: The sender of the rest.
        """
        self.answered = True
        if self.http2 is not None:
            self.closes = True
            self.connection.write(self.http2.answer(int(start[9:12]), b"".join(pieces)))
            return
        head, framing = self.head, b""
        if kind is BodyKind.CHUNKED or kind is BodyKind.CLOSE:
            if head.minor == 1:
                self._chunked = True
                framing = b"Transfer-Encoding: chunked\r\n"
            else:
                self.bare = True  # an HTTP/1.0 client finds the end by the close
        elif length is not None:
            framing = b"Content-Length: %d\r\n" % length
        # The answer may end before the request's body, the rest of which is not read then: announce the close.
        self.closes = (
            self.bare
            or not self.complete
            or self.fault is not None
            or head.upgrade
            or not head.keep_alive
            or self.connection.draining
        )
        for piece in pieces:
            self.sent += len(piece)
        if self._chunked:
            pieces = chunked(pieces, complete=complete)
        if not complete:
            self.source = source
        self.pieces.clear()
        option = _CLOSE if self.closes else _KEEP if head.minor == 0 else b""
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self.connection.write(b"%b%b%b\r\n%b" % (start, framing, option, body))

    def switch(self, start: bytes, early: bytes) -> asyncio.Transport:
        """Write a 101 and the bytes that the upstream sent behind it; return the transport.

        Raises:
            ClientGone: the connection is closed already.
        """
        self.answered = True
        self.closes = True
        return self.connection.switch(start + UPGRADE + early)

    def body(self, piece: bytes) -> None:
        """Write a piece of the answer's body."""
        self.sent += len(piece)
        self.connection.write(chunk(piece) if self._chunked else piece)

    def end(self) -> None:
        """Write the end of the answer's body."""
        self.source = None
        if self._chunked:
            self.connection.write(LAST_CHUNK)

    def abort(self) -> None:
        """Break the answer off, so that the client cannot take it for complete."""
        self.aborted = True

    def reset(self) -> None:
        """Break the answer off by a reset, whatever its framing."""
        self.aborted = self.bare = True
