"""Request parser of a client connection: llhttp's callbacks, and the limits of a head.

Laws:

- A request whose head is complete is appended to ``ready``, in order; its body then goes to the same :class:`Inbound`.
- ``read`` raises the first violation and must not be called again after that. ``current`` is then the request in which
  it occurred, or None.
- A piece that is parsed ends with the head it holds, or with the body, so that every request begins a piece.
- Lines that came before, or lines of a shape that did, are not parsed by llhttp (:mod:`~gateway.wire.known_lines`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import httptools

from gateway.wire.chunk_lines import ChunkLines
from gateway.wire.faults import caused
from gateway.wire.framing import (
    BAD_REQUEST,
    VERSION_NOT_SUPPORTED,
    check_request,
    connection_tokens,
    is_declined,
    same_framing,
)
from gateway.wire.http2_refusal import REQUEST_SECONDS, SETTINGS, Http2Refusal
from gateway.wire.inbound import Inbound
from gateway.wire.known_lines import KnownLines
from gateway.wire.messages import BodyKind, ProtocolError
from gateway.wire.parsed_ahead import is_far_ahead
from gateway.wire.request_line import (
    check_protocol,
    end_of_head,
    ends_in,
    new_parser,
    refusal,
    rest_of_preface,
    with_ascii_query,
)

if TYPE_CHECKING:
    from gateway.wire.downstream import DownstreamConnection
    from gateway.wire.limits import ClientLimits
    from gateway.wire.messages import RequestHead
    from gateway.wire.templates import Templates

EARLY: Final = "bytes behind an upgrade request"
URI_TOO_LONG: Final = 414
FIELDS_TOO_LARGE: Final = 431
_SLACK: Final = 4
"""Bytes of a field line that are neither name nor value: colon, space, CRLF."""

SLICE_BYTES: Final = 4096
MAX_FRAMING_BYTES: Final = 16_384
"""Limit on chunk sizes, extensions and trailers (section 7.1) that come without a byte of body between them."""


class RequestParser:
    """Request parser for one client connection.

    Attributes:
        current: The request being read, from its first byte to its last.
        in_head: The head of `current` is not complete.
        held: Received bytes that are not parsed yet, because enough requests are ready, or enough chunks were parsed in
            this turn of the event loop.
    """

    __deletable__ = ("_connection",)  # for mypyc, whose attributes cannot be deleted otherwise
    __slots__ = (
        "_begun",
        "_chunks",
        "_connection",
        "_declined",
        "_idle_bytes",
        "_known",
        "_limits",
        "_parser",
        "_ready",
        "_spoken",
        "_start",
        "_unfinished",
        "current",
        "held",
        "in_head",
    )

    def __init__(
        self,
        connection: DownstreamConnection,
        limits: ClientLimits,
        ready: list[Inbound],
        templates: Templates,
    ) -> None:
        self._connection = connection
        self._limits = limits
        self._ready = ready
        self._parser: httptools.HttpRequestParser | None = new_parser(self)
        self._unfinished = 0
        self._idle_bytes = 0
        self._start = b""  # what came before of a head that has not ended
        self._begun = b""  # the same with the piece that is being parsed
        self._chunks: ChunkLines | None = None
        self._declined: Inbound | None = None
        self._spoken = False
        self._known = KnownLines(templates, limits.head_bytes, limits.target_bytes)
        self.current: Inbound | None = None
        self.in_head = False
        self.held = b""

    def close(self) -> None:
        """Stop parsing. The reader refers to its parser and its connection, and they to it: this breaks both cycles."""
        self._parser = None
        self.current = None
        self.held = b""
        del self._connection

    def read(self, raw: bytes) -> None:
        """Parse what is ``held`` and then `raw`, piece by piece, until it is enough for one turn; hold the rest.

        Raises:
            ProtocolError: a request violates a law.
        """
        if self.held:
            raw, self.held = self.held + raw, b""
        at, size = 0, len(raw)
        while at < size:
            if len(self._ready) > 1 and is_far_ahead(self._ready):
                self.held = raw[at:]
                return
            rested = self.current is None
            if rested and at == 0 and self._repeated(raw):
                return
            chunks = self._chunks
            if chunks is not None:
                piece, at = chunks.scan(raw, at)
                self._parse(piece, rested=False)
                if at < size and not chunks.over:
                    self.held = raw[at:]  # in a later turn of the loop: others are served meanwhile
                    return
            else:
                current = self.current
                if current is None or self.in_head:
                    end = min(end_of_head(raw, at, self._start, SLICE_BYTES), size)
                else:
                    end = min(at + current.head.length - current.received, size)
                piece = raw if at == 0 and end == size else raw[at:end]
                at = end
                if not rested or piece is raw or not self._repeated(piece):
                    self._parse(piece, rested=rested)
            if at < size and self._ready and self._ready[-1].head.upgrade:
                # The 101 comes first, then the frames (RFC 6455 section 4.1).
                self._ready[-1].fault = ProtocolError(BAD_REQUEST, EARLY)
                return

    def _parse(self, raw: bytes, *, rested: bool) -> None:
        """Parse a piece, which begins a request if `rested`.

        Raises:
            ProtocolError: a request violates a law.
        """
        parser = self._parser
        if parser is None:
            return
        start = self._start
        if rested or self.in_head:
            self._unfinished += len(raw)
            if not raw.isascii() and not ends_in(start):
                current = self.current
                raw = with_ascii_query(raw, asked=current is not None and b"?" in current.head.target)
        self._idle_bytes += len(raw)
        before = len(self._ready)
        begun = self._begun = start + raw
        try:
            parser.feed_data(raw)
        except httptools.HttpParserUpgrade:
            if self._declined is not None:
                self._carry_on(self._declined)
        except httptools.HttpParserError as error:
            raise caused(refusal(error, begun, self.current), error) from error
        self._begun = b""
        self._check_progress()
        if self.in_head:
            self._start = begun
            self._look_for_http2()
        elif start:
            self._start = b""
        elif rested and self.current is None and len(self._ready) == before + 1:
            self._known.remember(raw, self._ready[-1].head)

    def _look_for_http2(self) -> None:
        """Listen to HTTP/2, if a client begins it, until its first request, which can be answered."""
        current = self.current
        if current is None or current.http2 is not None:
            return
        rest = rest_of_preface(self._start, first=not self._spoken)
        if rest is None:
            return
        current.http2 = frames = Http2Refusal(rest)
        # It takes the place of its ``feed_data`` alone.
        self._parser = cast("httptools.HttpRequestParser", frames)
        self._connection.write(SETTINGS)
        self._connection.hasten(REQUEST_SECONDS)

    def _carry_on(self, inbound: Inbound) -> None:
        """Go on behind a head whose offer of another protocol is declined: llhttp takes the rest for that protocol."""
        parser = self._parser = new_parser(self)
        parser.feed_data(same_framing(inbound.head))
        self._declined = None
        if inbound.head.kind is BodyKind.NONE:
            inbound.received_end()
        else:
            self.current = inbound

    def _check_progress(self) -> None:
        """Enforce the limits on bytes without progress: an unfinished head, or framing without a body."""
        if self.current is None or self.in_head:
            if self._unfinished > self._limits.head_bytes:
                raise ProtocolError(FIELDS_TOO_LARGE, "request head too large")
        elif self._idle_bytes > MAX_FRAMING_BYTES:
            raise ProtocolError(BAD_REQUEST, "chunk framing without a body")

    def _repeated(self, raw: bytes) -> bool:
        """Take a request whose field lines, or their shape, are known; return False if `raw` is anything else."""
        ready = self._ready
        head = None if ready and not ready[-1].head.keep_alive else self._known.find(raw)
        if head is None:  # or the last request ends the connection, and llhttp refuses what follows
            return False
        inbound = Inbound(self._connection, head)
        inbound.complete = True
        inbound.size = len(raw)
        self._spoken = True
        self._unfinished = 0
        ready.append(inbound)
        return True

    # -- llhttp's callbacks ------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Start a request."""
        if self._declined is not None:
            return
        self.current = Inbound(self._connection)
        self.in_head = True

    def on_url(self, part: bytes) -> None:
        """Append a part of the request target."""
        if self.current is not None:
            head = self.current.head
            head.target += part
            if len(head.target) > self._limits.target_bytes:
                raise ProtocolError(URI_TOO_LONG, "request target too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Append a field line; after the head it is a trailer, which is counted and dropped (section 6.5.1)."""
        inbound = self.current
        if inbound is None:
            return
        inbound.size += len(name) + len(value) + _SLACK
        inbound.lines += 1
        if inbound.lines > self._limits.fields:
            raise ProtocolError(FIELDS_TOO_LARGE, "too many field lines")
        if inbound.size > self._limits.head_bytes:
            raise ProtocolError(FIELDS_TOO_LARGE, "request head too large")
        if self.in_head:
            inbound.head.fields.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """Check a complete head, and queue the request."""
        inbound, parser = self.current, self._parser
        if inbound is None or parser is None:
            return
        self.in_head = False
        self._unfinished = self._idle_bytes = 0
        head: RequestHead = inbound.head
        head.method = parser.get_method()
        self._spoken = True
        check_protocol(self._begun, head)
        version = parser.get_http_version()
        if version != "1.1":
            if not version.startswith("1."):
                raise ProtocolError(VERSION_NOT_SUPPORTED, "HTTP version not supported")
            head.minor = int(version != "1.0")  # RFC 9110 section 2.5: a higher minor version is read as 1.1
        head.upgrade = parser.should_upgrade()
        head.index()
        # Section 9.3: close wins over keep-alive, in either version.
        head.keep_alive = parser.should_keep_alive() and b"close" not in connection_tokens(head)
        declined = head.upgrade and is_declined(head)
        if declined:
            head.upgrade = False
        check_request(head)
        self._ready.append(inbound)
        if head.kind is BodyKind.CHUNKED:
            self._chunks = ChunkLines()
        if declined:
            self._declined, self.current = inbound, None

    def on_body(self, piece: bytes) -> None:
        """Pass a piece of the body to the request."""
        self._idle_bytes = 0
        if self.current is not None:
            self.current.received_body(piece)

    def on_message_complete(self) -> None:
        """End a request by its framing."""
        if self.current is not None:
            if self._chunks is not None:
                self._chunks = None
                self._forget_trailers(self.current.head)
            self.current.received_end()
            self.current = None

    def _forget_trailers(self, head: RequestHead) -> None:
        """Make a new parser if a trailer has ended this one: trailers decide nothing (RFC 9110 section 6.5.1)."""
        if head.keep_alive and self._parser is not None and not self._parser.should_keep_alive():
            self._parser = new_parser(self)
