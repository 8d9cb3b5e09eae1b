"""Request parser of a client connection: llhttp's callbacks, and the limits of a head.

Laws:

- A request whose head is complete is appended to ``ready``, in order; its body then goes to the same :class:`Inbound`.
- ``read`` raises the first violation and must not be called again after that. ``current`` is then the request in which
  it occurred, or None.
- Repeated bytes are not parsed again: most clients send the same field lines again and again over one connection. When
  a whole request arrives whose lines equal, to the byte, those of the last one, only its request line is parsed
  (:meth:`RequestParser._repeated`). Parsing is a function of the bytes; where anything else could matter (a body, an
  upgrade, an expectation, a close) the lines are not remembered.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import httptools

from gateway.wire.framing import BAD_REQUEST, VERSION_NOT_SUPPORTED, check_request, connection_tokens
from gateway.wire.inbound import Inbound
from gateway.wire.messages import BodyKind, ProtocolError

if TYPE_CHECKING:
    from collections import deque

    from gateway.wire.downstream import DownstreamConnection
    from gateway.wire.listener import ClientLimits
    from gateway.wire.messages import RequestHead

EARLY: Final = "bytes behind an upgrade request"
URI_TOO_LONG: Final = 414
FIELDS_TOO_LARGE: Final = 431
_SLACK: Final = 4
"""Bytes of a field line that are neither name nor value: colon, space, CRLF."""

_LINE: Final = re.compile(rb"(GET|HEAD|DELETE|OPTIONS) (/[A-Za-z0-9._~!$&'()*+,=:@/?%-]*) HTTP/1\.1")
"""A plain request line (section 3): the only form that is parsed without llhttp."""

SLICE_BYTES: Final = 4096
MAX_AHEAD: Final = 16
"""Pipelined requests that are parsed and wait to be served; parsing stops while there are more."""

MAX_FRAMING_BYTES: Final = 16_384
"""Limit on chunk sizes, extensions and trailers (section 7.1) that come without a byte of body between them."""

_REMEMBERED_BYTES: Final = 4096
"""The largest block of field lines that a connection remembers: an idle connection must stay small."""


class RequestParser:
    """Request parser for one client connection.

    Attributes:
        current: The request being read, from its first byte to its last.
        in_head: The head of `current` is not complete.
        held: Received bytes that are not parsed yet, because enough requests are ready.
    """

    __slots__ = (
        "_block",
        "_connection",
        "_head",
        "_idle_bytes",
        "_limits",
        "_line",
        "_parser",
        "_ready",
        "_unfinished",
        "current",
        "held",
        "in_head",
    )

    def __init__(self, connection: DownstreamConnection, limits: ClientLimits, ready: deque[Inbound]) -> None:
        self._connection = connection
        self._limits = limits
        self._ready = ready
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._unfinished = 0
        self._idle_bytes = 0
        self._line = self._block = b""
        self._head: RequestHead | None = None
        self.current: Inbound | None = None
        self.in_head = False
        self.held = b""

    def close(self) -> None:
        """Stop parsing. Parser and reader refer to each other, and this breaks the reference cycle."""
        self._parser = None
        self.held = b""

    def read(self, raw: bytes) -> None:
        """Parse what is ``held`` and then `raw`, until enough requests are ready; hold the rest.

        Parsing goes slice by slice, so that one packet full of small requests does not become thousands at once.

        Raises:
            ProtocolError: a request violates a law.
        """
        if self.held:
            raw, self.held = self.held + raw, b""
        while raw:
            if len(self._ready) > MAX_AHEAD:
                self.held = raw
                return
            size = self._stretch()
            self.feed(raw if len(raw) <= size else raw[:size])
            raw = raw[size:]
            if raw and self._ready and self._ready[-1].head.upgrade:
                self._refuse_early()
                return

    def _stretch(self) -> int:
        """Return how many bytes may be parsed at once: the rest of a body of known length, or one slice."""
        current = self.current
        if current is None or self.in_head or current.head.kind is not BodyKind.LENGTH:
            return SLICE_BYTES
        return max(current.head.length - current.received, SLICE_BYTES)

    def feed(self, raw: bytes) -> None:
        """Parse a slice.

        Raises:
            ProtocolError: a request violates a law.
        """
        rested = self.current is None
        if rested and self._repeated(raw):
            return
        if self._parser is None:
            return
        if rested or self.in_head:
            self._unfinished += len(raw)
        self._idle_bytes += len(raw)
        before = len(self._ready)
        try:
            self._parser.feed_data(raw)
        except httptools.HttpParserUpgrade as switching:
            if len(raw) > switching.args[0]:
                self._refuse_early()
            return
        except httptools.HttpParserError as error:
            raise _refusal(error) from error
        self._check_progress()
        if rested and self.current is None and len(self._ready) == before + 1:
            self._remember(raw, self._ready[-1].head)

    def _refuse_early(self) -> None:
        """Refuse an upgrade that has bytes behind it: the 101 comes first, then the frames (RFC 6455 section 4.1)."""
        self._ready[-1].fault = ProtocolError(BAD_REQUEST, EARLY)

    def _check_progress(self) -> None:
        """Enforce the limits on bytes without progress: an unfinished head, or framing without a body."""
        if self.current is None or self.in_head:
            if self._unfinished > self._limits.head_bytes:
                raise ProtocolError(FIELDS_TOO_LARGE, "request head too large")
        elif self._idle_bytes > MAX_FRAMING_BYTES:
            raise ProtocolError(BAD_REQUEST, "chunk framing without a body")

    # -- repeated field lines ----------------------------------------------------------------------------------

    def _repeated(self, raw: bytes) -> bool:
        """Take a request whose field lines equal the last one's; return False if `raw` is anything else."""
        block = self._block
        if not block or not raw.endswith(block):
            return False
        end = len(raw) - len(block)
        if len(self._line) != end or not raw.startswith(self._line):
            line, head = _LINE.fullmatch(raw, 0, end), self._head
            if line is None or head is None or len(raw) > self._limits.head_bytes:
                return False
            method, target = line.groups()
            if len(target) > self._limits.target_bytes:
                return False
            self._line, self._head = raw[:end], head.with_line(method, target)
        inbound = Inbound(self._connection, self._head)
        inbound.complete = True
        self._ready.append(inbound)
        return True

    def _remember(self, raw: bytes, head: RequestHead) -> None:
        """Remember the field lines of `raw`, which was exactly one request, if llhttp need not parse them again."""
        end = raw.find(b"\r\n")
        block = raw[end:]
        plain = head.kind is BodyKind.NONE and head.keep_alive and head.minor == 1 and not head.upgrade
        if (
            plain
            and len(block) <= _REMEMBERED_BYTES
            and b"expect" not in head.first
            and _LINE.fullmatch(raw, 0, end)
            and raw.find(b"\r\n\r\n") == len(raw) - 4
        ):
            self._line, self._block, self._head = raw[:end], block, head

    # -- llhttp's callbacks ------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Start a request."""
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
        version = parser.get_http_version()
        if version == "1.0":
            head.minor = 0
        elif version != "1.1":
            raise ProtocolError(VERSION_NOT_SUPPORTED, "HTTP version not supported")
        head.upgrade = parser.should_upgrade()
        head.index()
        # Section 9.3: close wins over keep-alive, in either version.
        head.keep_alive = parser.should_keep_alive() and b"close" not in connection_tokens(head)
        check_request(head)
        self._ready.append(inbound)

    def on_body(self, piece: bytes) -> None:
        """Pass a piece of the body to the request."""
        self._idle_bytes = 0
        if self.current is not None:
            self.current.received_body(piece)

    def on_message_complete(self) -> None:
        """End a request by its framing."""
        if self.current is not None:
            self.current.received_end()
            self.current = None


def _refusal(error: httptools.HttpParserError) -> ProtocolError:
    """Translate an error of the parser into the answer to the client."""
    context = error.__context__
    if isinstance(context, ProtocolError):
        return context
    if isinstance(error, httptools.HttpParserCallbackError):
        raise context or error
    if "PRI/Upgrade" in str(error):
        return ProtocolError(VERSION_NOT_SUPPORTED, "HTTP/2 is not supported")
    return ProtocolError(BAD_REQUEST, f"malformed request: {error}")
