"""Response parser of an upstream connection: llhttp's callbacks, and the checks on what an upstream sends.

Laws:

- Heads are appended to ``heads`` in order, interim ones included; ``final`` is the last. Body pieces go to the sink
  once there is one, and wait in ``pieces`` until then.
- Bytes behind a 101 are ``early``, in whatever pieces it came: they are the other protocol's (RFC 9110 section 7.8).
- Bytes behind the end of a response are ``excess``: they are not parsed, and the connection is not used again.
- Where llhttp reads an announcement to close, the connection is not used again either. It reads more of them than RFC
  9112 section 9.3 (Proxy-Connection, trailers, interim heads), and then refuses all that follows.
- Trailers are dropped and change no framing (RFC 9110 section 6.5.1). llhttp refuses some that look like framing. The
  response is whole all the same, as its last chunk has been read; the connection is not used again.
- A higher minor version of HTTP is read as 1.1 (RFC 9110 section 2.5).
- ``feed`` raises the first violation as a :class:`ProtocolError` of status 502.
- A repeated head is not parsed again: a whole response of known length whose head equals, to the byte, one that this
  upstream sent before, gets that one's :class:`ResponseHead` (:class:`~gateway.wire.known_heads.KnownHeads`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import httptools

from gateway.wire.chunk_lines import ChunkLines, end_of_chunked_head, end_of_heads, without_white_space
from gateway.wire.faults import caused
from gateway.wire.framing import check_response, check_switch, connection_tokens, rest_seconds
from gateway.wire.messages import BodyKind, ProtocolError, ResponseHead
from gateway.wire.request_line import end_of_head, new_response_parser

if TYPE_CHECKING:
    from gateway.wire.flow import Sink
    from gateway.wire.known_heads import KnownHeads
    from gateway.wire.messages import FieldLine

MAX_HEAD_BYTES: Final = 262_144
MAX_INTERIM: Final = 32
MAX_FRAMING_BYTES: Final = 65_536
"""Limit on chunk sizes, extensions and trailers (section 7.1) that come without a byte of body between them."""
BAD_GATEWAY: Final = 502
_SWITCHING: Final = 101
_HTTP: Final = b"HTTP/1."


class ResponseParser:
    """Response parser for one upstream connection, for one request at a time.

    Attributes:
        heads: Parsed heads that the exchange has not taken yet.
        final: The final head, once it is parsed.
        complete: The response has ended by its framing.
        excess: Bytes came behind the end of the response.
        pieces: Body received before there was a sink.
        sink: The receiver of the body.
        early: Bytes that came behind a 101, for the tunnel.
        has_progressed: The bytes that were parsed last held some of the body.
        held: Received bytes that are not parsed yet, because enough chunks were parsed in this turn of the event loop.
    """

    __slots__ = (
        "_chunk_begins",
        "_chunks",
        "_closes",
        "_fed",
        "_framed",
        "_head",
        "_interim",
        "_known",
        "_lines",
        "_method",
        "_parser",
        "_switched",
        "_tail",
        "_upgrade",
        "_used_up",
        "complete",
        "early",
        "excess",
        "final",
        "has_progressed",
        "heads",
        "held",
        "pieces",
        "sink",
    )

    def __init__(self, known: KnownHeads) -> None:
        self._known = known
        self._parser: httptools.HttpResponseParser | None = new_response_parser(self)
        self.heads: list[ResponseHead] = []
        self._method = b""
        self._used_up = False  # llhttp has read an announcement to close, and would read no further message
        self.expect(b"", upgrade=False)

    def expect(self, method: bytes, *, upgrade: bool) -> None:
        """Reset the parser for the response to a request of `method`."""
        # llhttp cannot be given the method: after HEAD it waits for a body that never comes.
        if self._method == b"HEAD" or self._used_up:
            self._renew()
        self._method = method
        self._upgrade = upgrade
        self._head: ResponseHead | None = None
        self._lines: list[FieldLine] | None = None
        self._fed = self._framed = 0
        self._interim = 0
        self._tail = b""  # what came last of a head that has not ended
        self._chunks: ChunkLines | None = None
        self._switched = False  # a 101 was read
        self._closes = False  # a close was announced, in whatever part of the response
        self._chunk_begins = False  # a chunk's size was read, and nothing of the chunk
        self.heads.clear()
        self.final: ResponseHead | None = None
        self.complete = self.excess = self.has_progressed = False
        self.pieces: list[bytes] = []
        self.sink: Sink | None = None
        self.early = self.held = b""

    def _renew(self) -> None:
        self._parser = new_response_parser(self)
        self._used_up = False

    def close(self) -> None:
        """Stop parsing. Parser and reader refer to each other, and this breaks the reference cycle."""
        self._parser = None

    def feed(self, raw: bytes) -> None:
        """Parse what is ``held`` and then `raw`, until it is enough for one turn; hold the rest.

        Raises:
            ProtocolError: the response violates a law.
        """
        self.has_progressed = False
        if not self._fed:
            if self._repeated(raw):
                return
            end = end_of_chunked_head(raw)
            self._begin(raw[:end] if end else raw)
            if not end:
                return
            raw = raw[end:]
        if self.held:
            raw, self.held = self.held + raw, b""
        at = 0
        while self.final is None and at < len(raw):
            if self._switched:
                self.early += raw[at:]
                return
            end = end_of_head(raw, at, self._tail, len(raw))
            self._parse(raw[at:end])
            self._tail = (self._tail + raw[at:end])[-3:] if self._head is not None else b""
            at = end
            if self._is_chunked():
                self._chunks = ChunkLines(padded=True)
        if at < len(raw):
            rest = raw[at:] if at else raw
            self._parse(rest if self._chunks is None else self._scanned(self._chunks, rest))

    def _scanned(self, chunks: ChunkLines, rest: bytes) -> bytes:
        """Return what may be parsed of a chunked body now, and hold the rest."""
        piece, end = chunks.scan(rest)
        if end < len(rest) and not chunks.over:
            self.held = rest[end:]
            return piece
        return piece if end == len(rest) else piece + rest[end:]

    def _begin(self, raw: bytes) -> None:
        """Parse a response's first bytes; again without white space in chunk extensions, which llhttp refuses."""
        if not raw.startswith(_HTTP) and not _HTTP.startswith(raw):  # llhttp parses RTSP and ICE as well
            raise ProtocolError(BAD_GATEWAY, "not an HTTP response")
        clean = raw
        try:
            self._parse(raw)
        except ProtocolError:
            clean = without_white_space(raw, heads=self._interim + 1) if self._is_chunked() else raw
            if clean == raw:
                raise
            self._begin_anew(clean)
        if self._head is not None:
            self._tail = raw[-3:]
        elif self.complete and not self.excess and not self._interim:
            self._remember(raw)
        elif self._is_chunked():
            start, chunks = end_of_heads(raw, self._interim + 1), ChunkLines(padded=True)
            passed = raw[:start] + chunks.scan_whole(raw, start)[0]
            if passed != clean:
                # llhttp was fed the beginning of an extension, whose white space it would refuse.
                self._begin_anew(passed)
            self._chunks = chunks

    def _begin_anew(self, raw: bytes) -> None:
        """Forget what was parsed of a response, and parse `raw` in its place."""
        self._renew()
        self.expect(self._method, upgrade=self._upgrade)
        self._parse(raw)

    def _is_chunked(self) -> bool:
        """Return whether a chunked body has begun and not ended."""
        return self.final is not None and self.final.kind is BodyKind.CHUNKED and not self.complete

    def _parse(self, raw: bytes) -> None:
        if self._parser is None:
            return
        if self.final is None:
            self._fed += len(raw)
        else:
            self._framed += len(raw)
        self._feed(raw)
        self._check_progress()

    def _feed(self, raw: bytes) -> None:
        """Pass bytes to llhttp, and what it leaves behind an interim head to a new one."""
        interim, rest = self._interim, b""
        if self._used_up:
            self._renew()
        try:
            if self._parser is not None:
                self._parser.feed_data(raw)
        except httptools.HttpParserUpgrade as switched:
            self.early = raw[switched.args[0] :]
        except httptools.HttpParserError as error:
            if isinstance(error, httptools.HttpParserCallbackError) and error.__context__ is not None:
                raise caused(error.__context__, error) from error
            if self._used_up and self.final is None and self._interim > interim:
                rest = raw[end_of_heads(raw, self._interim - interim) :]
            elif self._is_of_a_trailer(str(error)):
                self._closes = self._used_up = True
                self._complete()
            else:
                raise caused(ProtocolError(BAD_GATEWAY, str(error)), error) from error
        if rest:  # not within the handler: a fault of ours found there would have its context from this one
            self._feed(rest)

    def _is_of_a_trailer(self, words: str) -> bool:
        """Return whether llhttp's `words` refuse a trailer that looks like framing."""
        looks_like_framing = "Content-Length" in words or "Transfer-Encoding" in words
        return self._chunk_begins and looks_like_framing and not self.complete

    def _check_progress(self) -> None:
        """Enforce the limits on bytes without progress: an unfinished head, or framing without a body."""
        if self.final is None and self._fed > MAX_HEAD_BYTES:
            raise ProtocolError(BAD_GATEWAY, "response head too large")
        if self._framed > MAX_FRAMING_BYTES:
            raise ProtocolError(BAD_GATEWAY, "chunk framing without a body")

    @property
    def reusable(self) -> bool:
        """True if the response ended by its framing, with nothing behind it, and its connection may persist."""
        final = self.final
        return self.complete and not (self.excess or self._closes) and final is not None and final.keep_alive

    def ended_by_close(self) -> bool:
        """Record that the connection has closed; return whether this ends the response (section 6.3 rule 8)."""
        if self.final is not None and self.final.kind is BodyKind.CLOSE and not self.complete:
            self._complete()
            return True
        return False

    # -- repeated heads ----------------------------------------------------------------------------------------

    def _repeated(self, raw: bytes) -> bool:
        """Take a whole response whose head is in the memo; return False if `raw` is anything else."""
        known = None if self._method == b"HEAD" else self._known.find(raw)
        if known is None:
            return False
        end, head = known
        if len(raw) - end != head.length:
            return False
        self._fed = len(raw)
        self.final = head
        self.heads.append(head)
        if head.length:
            self.pieces.append(raw[end:])
        self.complete = True
        return True

    def _remember(self, raw: bytes) -> None:
        """Add the head of `raw`, which was exactly one response, to the memo if llhttp need not parse it again."""
        head = self.final
        end = raw.find(b"\r\n\r\n") + 4
        if (
            head is not None
            and self._method != b"HEAD"
            and head.kind in (BodyKind.LENGTH, BodyKind.NONE)
            and head.keep_alive
            and not self._closes
            and len(raw) - end == (head.length if head.kind is BodyKind.LENGTH else 0)
            # A 304 may have a Content-Length and no body.
            and (head.kind is BodyKind.LENGTH or not head.length)
        ):
            self._known.add(raw[:end], head)

    # -- llhttp's callbacks ------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Start a response."""
        if self.final is not None:
            self.excess = True
        self._head = head = ResponseHead()
        self._lines = head.fields

    def on_status(self, phrase: bytes) -> None:
        """Append a part of the reason phrase."""
        if self._head is not None:
            self._head.phrase += phrase

    def on_header(self, name: bytes, value: bytes) -> None:
        """Append a field line; after the final head it is a trailer, which is dropped (section 6.5.1)."""
        if self._lines is not None:
            self._lines.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """Check a complete head, determine its framing, and append it to ``heads``."""
        head, self._head, self._lines = self._head, None, None
        if head is None or self.excess or self._parser is None:
            return
        # _fed counts whole reads. The field sizes are summed exactly only when that upper bound exceeds the limit.
        if (
            self._fed > MAX_HEAD_BYTES
            and sum(len(name) + len(value) for name, value in head.fields) > MAX_HEAD_BYTES
        ):
            raise ProtocolError(BAD_GATEWAY, "response head too large")
        head.status = self._parser.get_status_code()
        version = self._parser.get_http_version()
        if not version.startswith("1."):
            raise ProtocolError(BAD_GATEWAY, "unknown HTTP version")
        head.minor = int(version != "1.0")
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
                raise ProtocolError(BAD_GATEWAY, "too many interim responses")
        elif head.status == _SWITCHING:
            if not self._upgrade:
                raise ProtocolError(BAD_GATEWAY, "101 to a request that asked for no upgrade")
            check_switch(head)
            self._switched = True
        else:
            self.final = head
            head.rest_seconds = rest_seconds(head)
            if head.kind is BodyKind.NONE:
                self._complete()
        self.heads.append(head)

    def on_body(self, piece: bytes) -> None:
        """Pass a piece of the body to the sink, or store it until there is one."""
        self._framed = 0
        self._chunk_begins = False
        self.has_progressed = True
        if self.complete:
            self.excess = True
        elif self.final is None:  # an interim response, which has no body
            raise ProtocolError(BAD_GATEWAY, "interim response with a body")
        elif self.sink is not None:
            self.sink.body(piece)
        else:
            self.pieces.append(piece)

    def on_chunk_header(self) -> None:
        """Begin a chunk; the last one is empty, and the trailers follow it."""
        self._chunk_begins = True

    def on_message_complete(self) -> None:
        """End a response by its framing, or an interim one."""
        if self._parser is not None and not self._parser.should_keep_alive():
            self._closes = self._used_up = True
        if self.final is not None and not self.complete:
            self._complete()

    def _complete(self) -> None:
        self.complete = True
        if self.sink is not None:
            self.sink.end()
