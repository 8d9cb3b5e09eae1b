"""Bytes -> requests: llhttp's callbacks, and the limits of a head.

Laws:

- A request whose head is complete is put on ``ready``, in order; its body then goes to the same :class:`Inbound`.
- ``read`` raises the first broken law and must not be called again after that; ``current`` is then the request it was
  broken in, or None.
- Bytes that repeat need no second reading: most clients send the same field lines again and again over one connection,
  so when a whole request arrives whose lines are, to the byte, the last one's, only its request line is read
  (:meth:`RequestReader._repeated`). Parsing is a function of the bytes; where anything else could matter (a body, an
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
"""Bytes of a field line besides its name and value: colon, space, CRLF."""

_LINE: Final = re.compile(rb"(GET|HEAD|DELETE|OPTIONS) (/[A-Za-z0-9._~!$&'()*+,=:@/?%-]*) HTTP/1\.1")
"""A request line of the plainest kind (section 3): the only kind that is read without llhttp."""

SLICE_BYTES: Final = 4096
MAX_AHEAD: Final = 16
"""Pipelined requests that are parsed and wait; no more are parsed until they are served."""

MAX_FRAMING_BYTES: Final = 16_384
"""Chunk sizes, extensions and trailers (section 7.1) that may come without a byte of body between them."""

_REMEMBERED_BYTES: Final = 4096
"""The largest block of field lines that a connection keeps; an idle one must stay small."""


class RequestReader:
    """Reads the requests of one connection.

    Attributes:
        current: The request being read, from its first byte to its last.
        in_head: Its head is not complete.
        held: What arrived and has not been parsed, because enough requests are ready.
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
        """Read no more. Parser and reader refer to each other; this parts them."""
        self._parser = None
        self.held = b""

    def read(self, raw: bytes) -> None:
        """Read what has arrived behind what is ``held``, until enough requests are ready; hold the rest.

        Slice by slice, so that one packet full of small requests does not become thousands of them at once.

        Raises:
            ProtocolError: a law is broken.
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
        """Return how many bytes may be parsed at once: the rest of a body of known length, or a slice."""
        current = self.current
        if current is None or self.in_head or current.head.kind is not BodyKind.LENGTH:
            return SLICE_BYTES
        return max(current.head.length - current.received, SLICE_BYTES)

    def feed(self, raw: bytes) -> None:
        """Parse a slice.

        Raises:
            ProtocolError: a law is broken.
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
        """Refuse the upgrade that bytes came behind. RFC 6455 section 4.1: first the 101, then the frames."""
        self._ready[-1].fault = ProtocolError(BAD_REQUEST, EARLY)

    def _check_progress(self) -> None:
        """Hold the limits of what has not come to anything yet: half a head, or framing without a body."""
        if self.current is None or self.in_head:
            if self._unfinished > self._limits.head_bytes:
                raise ProtocolError(FIELDS_TOO_LARGE, "request head too large")
        elif self._idle_bytes > MAX_FRAMING_BYTES:
            raise ProtocolError(BAD_REQUEST, "chunk framing without a body")

    # -- the same lines again ----------------------------------------------------------------------------------

    def _repeated(self, raw: bytes) -> bool:
        """Read a request whose field lines are the last one's; False when it is not such a one."""
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
        """Keep the field lines of the one request that `raw` was, if they may be read again without llhttp."""
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

    # -- llhttp's side -----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins."""
        self.current = Inbound(self._connection)
        self.in_head = True

    def on_url(self, part: bytes) -> None:
        """Part of the request target."""
        if self.current is not None:
            head = self.current.head
            head.target += part
            if len(head.target) > self._limits.target_bytes:
                raise ProtocolError(URI_TOO_LONG, "request target too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field line; after the head, a trailer, which is dropped (section 6.5.1) but counted."""
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
        """A head is complete: apply the laws, and queue the request."""
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
        # Section 9.3: close is the stronger option, whatever the version.
        head.keep_alive = parser.should_keep_alive() and b"close" not in connection_tokens(head)
        check_request(head)
        self._ready.append(inbound)

    def on_body(self, piece: bytes) -> None:
        """A piece of a request's body."""
        self._idle_bytes = 0
        if self.current is not None:
            self.current.received_body(piece)

    def on_message_complete(self) -> None:
        """A request has ended, by its framing."""
        if self.current is not None:
            self.current.received_end()
            self.current = None


def _refusal(error: httptools.HttpParserError) -> ProtocolError:
    """Tell what a parser's complaint means to the client."""
    context = error.__context__
    if isinstance(context, ProtocolError):
        return context
    if isinstance(error, httptools.HttpParserCallbackError):
        raise context or error
    if "PRI/Upgrade" in str(error):
        return ProtocolError(VERSION_NOT_SUPPORTED, "HTTP/2 is not supported")
    return ProtocolError(BAD_REQUEST, f"malformed request: {error}")
