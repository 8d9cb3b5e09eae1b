"""Heads of messages as parsed: a start line and its field lines, in order and byte-exact.

Laws:

- ``fields`` keeps every line as it came (minus optional whitespace); ``first`` and ``repeated`` index the same lines by
  lower-case name, so that "more than one" is visible to whoever must refuse it.
- Nothing is merged and nothing is decoded here.
- Once a head is complete its lines are never changed: heads whose lines came in the same bytes share them, and share
  ``notes``, where readers keep what they derived from the lines.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

READ_OF_RESPONSES: Final = frozenset(
    {b"connection", b"content-length", b"set-cookie", b"transfer-encoding", b"upgrade"}
)
_LENGTHS_READ: Final = frozenset(len(name) for name in READ_OF_RESPONSES)

FieldLine = tuple[bytes, bytes]
"""A field line: name as sent, value without the optional whitespace around it (RFC 9110 section 5.5)."""


class BodyKind(Enum):
    """How the end of a body is known (section 6.3)."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"
    """Until the connection closes: responses only."""


class ProtocolError(Exception):
    """The peer broke HTTP, or asked for what is refused on principle.

    Attributes:
        status: The status an answer to it must carry.
        reason: A short phrase for people and logs; names no peer bytes.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Fields:
    """The field lines of one message.

    Attributes:
        fields: Every line.
        first: The first value of each name, by lower-case name.
        repeated: All values of each name that occurs more than once.
        notes: What one reader derived from the lines; None until it did. Nothing else changes later.
    """

    __slots__ = ("fields", "first", "notes", "repeated")

    def __init__(self, fields: list[FieldLine] | None = None) -> None:
        self.fields: list[FieldLine] = [] if fields is None else fields
        self.first: dict[bytes, bytes] = {}
        self.repeated: dict[bytes, list[bytes]] = {}
        self.notes: object = None

    def index(self) -> None:
        """Fill ``first`` and ``repeated`` from ``fields``; once, when the head is complete."""
        first = self.first
        for name, value in self.fields:
            lower = name.lower()
            if lower in first:
                self.repeated.setdefault(lower, [first[lower]]).append(value)
            else:
                first[lower] = value

    def every(self, name: bytes) -> Iterable[bytes]:
        """All values of the field lines called `name` (lower case), in order."""
        if name in self.repeated:
            return self.repeated[name]
        value = self.first.get(name)
        return () if value is None else (value,)

    def occurs_twice(self, name: bytes) -> bool:
        """Whether more than one field line is called `name` (lower case)."""
        return name in self.repeated


class RequestHead(Fields):
    """Everything before a request's body.

    Attributes:
        method: Upper-case method token.
        target: The request target, byte-exact.
        minor: 0 or 1, of HTTP/1.x.
        keep_alive: The connection may persist after this message (section 9.3).
        upgrade: The request asks to switch protocols.
        kind: How the body ends.
        length: Of a body of kind LENGTH, in bytes.
    """

    __slots__ = ("keep_alive", "kind", "length", "method", "minor", "target", "upgrade")

    def __init__(
        self,
        fields: list[FieldLine] | None = None,
        *,
        method: bytes = b"",
        target: bytes = b"",
        minor: int = 1,
        upgrade: bool = False,
    ) -> None:
        super().__init__(fields)
        self.method = method
        self.target = target
        self.minor = minor
        self.keep_alive = True
        self.upgrade = upgrade
        self.kind = BodyKind.NONE
        self.length = 0

    def with_line(self, method: bytes, target: bytes) -> RequestHead:
        """Return a head of another request line over the same field lines; for heads without a body."""
        head = RequestHead.__new__(RequestHead)
        head.fields = self.fields
        head.first = self.first
        head.repeated = self.repeated
        head.notes = self.notes
        head.method = method
        head.target = target
        head.minor = self.minor
        head.keep_alive = self.keep_alive
        head.upgrade = False
        head.kind = BodyKind.NONE
        head.length = 0
        return head


class ResponseHead(Fields):
    """Everything before a response's body; attributes as in :class:`RequestHead`.

    ``first`` and ``repeated`` know the names in ``READ_OF_RESPONSES`` alone: a response is passed on, not read.
    """

    __slots__ = ("keep_alive", "kind", "length", "minor", "phrase", "status")

    def __init__(self, fields: list[FieldLine] | None = None, *, status: int = 0, minor: int = 1) -> None:
        super().__init__(fields)
        self.status = status
        self.phrase = b""
        self.minor = minor
        self.keep_alive = True
        self.kind = BodyKind.NONE
        self.length = 0

    def with_fields(self, fields: list[FieldLine]) -> ResponseHead:
        """Return this head with other field lines, which must agree in the names of ``READ_OF_RESPONSES``."""
        head = ResponseHead(fields, status=self.status, minor=self.minor)
        head.phrase = self.phrase
        head.keep_alive = self.keep_alive
        head.kind = self.kind
        head.length = self.length
        head.index()
        return head

    def index(self) -> None:
        """Fill ``first`` and ``repeated``; once, when the head is complete."""
        first = self.first
        for name, value in self.fields:
            if len(name) in _LENGTHS_READ:
                lower = name.lower()
                if lower in READ_OF_RESPONSES:
                    if lower in first:
                        self.repeated.setdefault(lower, [first[lower]]).append(value)
                    else:
                        first[lower] = value

    @property
    def interim(self) -> bool:
        """Whether another response to the same request follows (RFC 9110 section 15.2)."""
        return self.status < 200 and self.status != 101  # noqa: PLR2004 -- the classes of RFC 9110 section 15
