"""One connection to an upstream: send a request, stream the response.

A connection serves one exchange at a time: ``send`` -> ``response`` (again after each interim one) -> ``take`` what
came with the head, and ``relay`` the rest -> ``finished``. Laws:

- Nothing is parsed that was not asked for: a byte on an idle connection, or after the end of a response, costs the
  connection its life.
- ``reusable`` is true only when both messages ended where their framing said and both sides want to go on
  (RFC 9112 section 9.3).
- Whatever goes wrong reaches the exchange as one :class:`UpstreamFault`, once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, cast

import httptools

from gateway.wire.drive import Signal
from gateway.wire.framing import LAST_CHUNK, UPGRADE, check_response, check_switch, chunk, connection_tokens
from gateway.wire.messages import BodyKind, ProtocolError, ResponseHead

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.wire.deadlines import Deadlines
    from gateway.wire.flow import Sink, Source

MAX_HEAD_BYTES: Final = 262_144
MAX_INTERIM: Final = 32
_SWITCHING: Final = 101
_FIRST_FINAL: Final = 200


class UpstreamFault(Exception):
    """The upstream did not do its part."""


class UpstreamLost(UpstreamFault):
    """The connection ended before the response did."""


class UpstreamTimedOut(UpstreamFault):
    """The upstream was silent for longer than it may be."""


class UpstreamMalformed(UpstreamFault):
    """The upstream's answer is not HTTP."""


class UpstreamConnection(asyncio.Protocol):
    """The gateway's end of one upstream connection.

    Attributes:
        deadline: See :mod:`~gateway.wire.deadlines`.
        served: Exchanges begun on this connection; above one, it was reused.
        touched: A byte of the present response has arrived.
        complete: The response has ended.
    """

    def __init__(self, deadlines: Deadlines, lost: Callable[[UpstreamConnection], None]) -> None:
        """`lost` is called once, when the connection is gone."""
        self._deadlines = deadlines
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self.deadline: float | None = None
        self.served = 0
        self._busy = False
        self._reset()

    def _reset(self) -> None:
        self.touched = False
        self.complete = False
        self._method = b""
        self._excess = False
        self._failure: UpstreamFault | None = None
        self._head: ResponseHead | None = None
        self._final: ResponseHead | None = None
        self._head_bytes = 0
        self._fields_bytes = 0
        self._heads: deque[ResponseHead] = deque()
        self._interim = 0
        self._pieces: list[bytes] = []
        self._sink: Sink | None = None
        self._source: Source | None = None
        self._chunked_out = False
        self._sent = True
        self._upgrade = False
        self._early = b""
        self._head_timeout = 0.0
        self._body_timeout = 0.0
        self._awaited: Signal[ResponseHead] | None = None
        self._finished: Signal[None] | None = None

    # -- the exchange's side ---------------------------------------------------------------------------------

    def send(  # noqa: PLR0913 -- the parts of one request
        self,
        start: bytes,
        *,
        method: bytes,
        kind: BodyKind,
        length: int,
        pieces: list[bytes],
        complete: bool,
        head_timeout: float,
        body_timeout: float,
        upgrade: bool = False,
    ) -> None:
        """Write a request: `start` (request line and fields), its framing, and the `pieces` of body at hand.

        When not `complete`, the rest follows through ``body`` and ``end``. With `upgrade`, websocket is asked for.
        """
        self.served += 1
        self._busy = True
        self._method = method
        self._head_timeout = head_timeout
        self._body_timeout = body_timeout
        self._chunked_out = kind is BodyKind.CHUNKED
        self._sent = complete
        self._upgrade = upgrade
        if upgrade:
            framing = UPGRADE
        elif kind is BodyKind.NONE:
            framing = b"Content-Length: 0\r\n\r\n" if method in (b"POST", b"PUT", b"PATCH") else b"\r\n"
        elif kind is BodyKind.LENGTH:
            framing = b"Content-Length: %d\r\n\r\n" % length
        else:
            framing = b"Transfer-Encoding: chunked\r\n\r\n"
            pieces = [chunk(piece) for piece in pieces]
            if complete:
                pieces.append(LAST_CHUNK)
        self.deadline = self._deadlines.after(head_timeout)
        if self._transport is not None:
            self._transport.write(b"".join((start, framing, *pieces)))

    def feed_from(self, source: Source) -> None:
        """Name who sends the rest of the request's body, to be paused while this connection is full."""
        self._source = source

    def body(self, piece: bytes) -> None:
        """Write a piece of the request's body."""
        if self._transport is None or self._transport.is_closing():
            return
        if self._final is None:
            self.deadline = self._deadlines.after(self._head_timeout)
        self._transport.write(chunk(piece) if self._chunked_out else piece)

    def end(self) -> None:
        """Mark the end of the request's body."""
        self._sent = True
        if self._chunked_out and self._transport is not None:
            self._transport.write(LAST_CHUNK)

    async def response(self) -> ResponseHead:
        """Return the next response head: interim ones first, the final one last.

        Raises:
            UpstreamFault: there will be none.
        """
        if self._heads:
            return self._heads.popleft()
        if self._failure is not None:
            raise self._failure
        self._awaited = Signal()
        return await self._awaited

    def take(self) -> list[bytes]:
        """Take the pieces of body that came with the final head."""
        pieces, self._pieces = self._pieces, []
        return pieces

    def relay(self, sink: Sink) -> None:
        """Pass every further piece of the response's body to `sink`, and its end."""
        for piece in self.take():
            sink.body(piece)
        if self.complete:
            sink.end()
        else:
            self._sink = sink

    async def finished(self) -> None:
        """Return when the response has been relayed to its end.

        Raises:
            UpstreamFault: it broke off.
        """
        if self.complete:
            return
        if self._failure is not None:
            raise self._failure
        self._finished = Signal()
        await self._finished

    def switch(self) -> tuple[asyncio.Transport, bytes]:
        """Give the transport away after a 101, with the bytes that came behind it.

        Raises:
            UpstreamLost: it is gone already.
        """
        if self._transport is None:
            raise UpstreamLost("the upstream closed the connection behind its 101")
        self.deadline = None
        return self._transport, self._early

    @property
    def reusable(self) -> bool:
        """Whether another exchange may use this connection."""
        return (
            self.complete
            and self._sent
            and not self._excess
            and self._final is not None
            and self._final.keep_alive
            and self.is_open
        )

    @property
    def is_open(self) -> bool:
        """Whether the transport can still be written to."""
        return self._transport is not None and not self._transport.is_closing()

    def rest(self, idle_seconds: float) -> None:
        """Become idle for `idle_seconds` at most, ready for the next ``send``."""
        if self._method == b"HEAD":  # llhttp cannot be told that a HEAD's answer has no body
            self._parser = httptools.HttpResponseParser(self)
        self._reset()
        self._busy = False
        self.deadline = self._deadlines.after(idle_seconds)

    def pause(self) -> None:
        """Read no more of the response until ``resume``; its silence is then nobody's fault."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()
            self.deadline = None

    def resume(self) -> None:
        """Read on."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
            self.deadline = self._deadlines.after(self._body_timeout)

    def abort(self) -> None:
        """Drop the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio's side --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, with a transport."""
        self._transport = cast("asyncio.Transport", transport)
        self._deadlines.watched.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End: the transport is gone, by error or not."""
        self._deadlines.watched.discard(self)
        self._transport = None
        if (
            self._final is not None
            and self._final.kind is BodyKind.CLOSE
            and exc is None
            and not self.complete
        ):
            self._complete()  # section 6.3 rule 8: closing is how this body ends
            self._deliver()
        else:
            self._fail(UpstreamLost("the upstream closed the connection before its response had ended"))
        self._lost(self)
        del self._parser  # parser and protocol refer to each other

    def eof_received(self) -> bool:
        """The upstream has finished sending; nothing useful can be sent to it either."""
        return False

    def data_received(self, data: bytes) -> None:
        """Parse, then resume the exchange once with what that brought."""
        if not self._busy:
            self.abort()
            return
        self.touched = True
        if self._final is None:
            self._head_bytes += len(data)
        else:
            self.deadline = self._deadlines.after(self._body_timeout)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as switched:
            self._early = data[switched.args[0] :]
        except httptools.HttpParserError as error:
            self._malformed(error)
        else:
            if self._final is None and self._head_bytes > MAX_HEAD_BYTES:
                self._malformed(ProtocolError(502, "response head too large"))
        self._deliver()

    def pause_writing(self) -> None:
        """The upstream takes the body more slowly than it comes."""
        if self._source is not None:
            self._source.pause()

    def resume_writing(self) -> None:
        """The upstream has caught up."""
        if self._source is not None:
            self._source.resume()

    def expire(self) -> None:
        """The deadline has passed: idle, waiting for a head, or for the next piece of a body."""
        if self._busy:
            self._fail(UpstreamTimedOut("the upstream did not answer in time"))
        self.abort()

    # -- llhttp's side ---------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A response begins."""
        if self._final is not None:
            self._excess = True
        self._head = ResponseHead()

    def on_status(self, phrase: bytes) -> None:
        """Part of the reason phrase."""
        if self._head is not None:
            self._head.phrase += phrase

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field line; after the final head, a trailer, which is dropped (section 6.5.1)."""
        self._fields_bytes += len(name) + len(value) + 4
        if self._fields_bytes > MAX_HEAD_BYTES:
            raise ProtocolError(502, "response head too large")
        if self._head is not None:
            self._head.fields.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """A head is complete: frame it, and queue it for the exchange."""
        head, self._head = self._head, None
        if head is None or self._excess:
            return
        head.status = self._parser.get_status_code()
        version = self._parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise ProtocolError(502, "unknown HTTP version")
        head.minor = int(version == "1.1")
        head.index()
        if b"connection" in head.first:
            options = connection_tokens(head)
            head.keep_alive = b"close" not in options and (head.minor == 1 or b"keep-alive" in options)
        else:
            head.keep_alive = head.minor == 1
        check_response(head, self._method)
        if head.interim:
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise ProtocolError(502, "too many interim responses")
        elif head.status == _SWITCHING:
            if not self._upgrade:
                raise ProtocolError(502, "101 to a request that asked for no upgrade")
            check_switch(head)
            self.deadline = None
        else:
            self._final = head
            self.deadline = self._deadlines.after(self._body_timeout)
            if head.kind is BodyKind.NONE:
                self._complete()
        self._heads.append(head)

    def on_body(self, piece: bytes) -> None:
        """A piece of the response's body."""
        if self.complete:
            self._excess = True
        elif self._sink is not None:
            self._sink.body(piece)
        else:
            self._pieces.append(piece)

    def on_message_complete(self) -> None:
        """A response has ended, by its framing."""
        if self._final is not None and not self.complete:
            self._complete()

    # -- between them ----------------------------------------------------------------------------------------

    def _complete(self) -> None:
        self.complete = True
        self.deadline = None
        if self._sink is not None:
            self._sink.end()

    def _malformed(self, error: Exception) -> None:
        cause = error.__context__ if isinstance(error, httptools.HttpParserCallbackError) else error
        if not self.complete:
            fault = UpstreamMalformed(f"the upstream's response is malformed: {cause or error}")
            fault.__cause__ = error
            self._fail(fault)
        self._excess = True
        self.abort()

    def _fail(self, fault: UpstreamFault) -> None:
        """Keep the fault for whoever asks next; tell who waits already."""
        if self.complete or self._failure is not None or not self._busy:
            return
        self._failure = fault
        self._deliver()

    def _deliver(self) -> None:
        """Resume the exchange with what it awaits, now that the parser is at rest."""
        awaited, finished = self._awaited, self._finished
        if awaited is not None:
            if self._heads:
                self._awaited = None
                awaited.set(self._heads.popleft())
            elif self._failure is not None:
                self._awaited = None
                awaited.fail(self._failure)
        elif finished is not None:
            if self.complete:
                self._finished = None
                finished.set(None)
            elif self._failure is not None:
                self._finished = None
                finished.fail(self._failure)
