"""Message heads as parsed: a start line and field lines, in order and byte-exact.

Laws:

- ``fields`` holds every line as it came (minus optional whitespace). ``first`` and ``repeated`` index the same lines by
  lower-case name, so that a check can see that a field occurs more than once.
- Nothing is merged and nothing is decoded here.
- The lines of a complete head are never changed. Heads whose lines came in the same bytes share them, and share
  ``notes``, where readers store what they derived from the lines.
"""

from __future__ import annotations

from enum import Enum
from math import inf
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.wire.templates import Template

READ_OF_RESPONSES: Final = frozenset(
    {b"connection", b"content-length", b"keep-alive", b"set-cookie", b"transfer-encoding", b"upgrade"}
)
_LENGTHS_READ: Final = frozenset(len(name) for name in READ_OF_RESPONSES)

FieldLine = tuple[bytes, bytes]
"""A field line: name as sent, value without the optional whitespace around it (RFC 9110 section 5.5)."""


class BodyKind(Enum):
    """Framing of a body: how its end is found (section 6.3)."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"
    """The body ends when the connection closes: responses only."""


class ProtocolError(Exception):
    """The peer violated HTTP, or asked for something that is refused on principle.

    Attributes:
        status: The status that the answer must have.
        reason: A short phrase for people and logs; it contains no bytes of the peer.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Http2Preface(ProtocolError):
    """The client began HTTP/2 with prior knowledge (RFC 9113 section 3.4)."""

    def __init__(self) -> None:
        super().__init__(505, "HTTP/2 is not spoken here, use HTTP/1.1")


class Fields:
    """Field lines of one message, with an index by name.

    Attributes:
        fields: Every line.
        first: The first value of each name, by lower-case name.
        repeated: All values of each name that occurs more than once.
        notes: What one reader derived from the lines; None before it did. It is the only attribute that changes later.
        template: The template that the lines were split by; None if llhttp parsed them.
        values: The values that vary among heads of that template.
    """

    __slots__ = ("fields", "first", "notes", "repeated", "template", "values")

    def __init__(self, fields: list[FieldLine] | None = None) -> None:
        self.fields: list[FieldLine] = [] if fields is None else fields
        self.first: dict[bytes, bytes] = {}
        self.repeated: dict[bytes, list[bytes]] = {}
        self.notes: object = None
        self.template: Template | None = None
        self.values: list[bytes] = []

    def index(self) -> None:
        """Fill ``first`` and ``repeated`` from ``fields``; called once, when the head is complete."""
        first = self.first
        for name, value in self.fields:
            lower = name.lower()
            if lower in first:
                self.repeated.setdefault(lower, [first[lower]]).append(value)
            else:
                first[lower] = value

    def every(self, name: bytes) -> Iterable[bytes]:
        """Return all values of the field lines called `name` (lower case), in order."""
        if name in self.repeated:
            return self.repeated[name]
        value = self.first.get(name)
        return () if value is None else (value,)

    def occurs_twice(self, name: bytes) -> bool:
        """Return whether more than one field line is called `name` (lower case)."""
        return name in self.repeated


class RequestHead(Fields):
    """Request head: everything before the body.

    Attributes:
        method: Upper-case method token.
        target: The request target, byte-exact.
        minor: The minor version of HTTP/1.x, 0 or 1.
        keep_alive: The connection may persist after this message (section 9.3).
        upgrade: The request asks to switch protocols.
        kind: How the body ends.
        length: The length in bytes of a body of kind LENGTH.
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
        """Return a head with another request line over the same field lines; for heads without a body."""
        head = RequestHead.__new__(RequestHead)
        head.fields = self.fields
        head.first = self.first
        head.repeated = self.repeated
        head.notes = self.notes
        head.template = self.template
        head.values = self.values
        head.method = method
        head.target = target
        head.minor = self.minor
        head.keep_alive = self.keep_alive
        head.upgrade = False
        head.kind = BodyKind.NONE
        head.length = 0
        return head


class ResponseHead(Fields):
    """Response head: everything before the body. Its attributes are as in :class:`RequestHead`, and one more.

    Attributes:
        rest_seconds: For how long the connection may be unused before the sender closes it; infinite if unsaid.

    ``first`` and ``repeated`` hold only the names in ``READ_OF_RESPONSES``: other fields are only passed on.
    """

    __slots__ = ("keep_alive", "kind", "length", "minor", "phrase", "rest_seconds", "status")

    def __init__(self, fields: list[FieldLine] | None = None, *, status: int = 0, minor: int = 1) -> None:
        super().__init__(fields)
        self.status = status
        self.phrase = b""
        self.minor = minor
        self.keep_alive = True
        self.rest_seconds = inf
        self.kind = BodyKind.NONE
        self.length = 0

    def with_fields(self, fields: list[FieldLine]) -> ResponseHead:
        """Return this head with other field lines, which must agree in the names of ``READ_OF_RESPONSES``."""
        head = self.without_fields()
        head.fields = fields
        head.index()
        return head

    def without_fields(self) -> ResponseHead:
        """Return a head with this one's status line and framing, and without field lines."""
        head = ResponseHead(status=self.status, minor=self.minor)
        head.phrase = self.phrase
        head.keep_alive = self.keep_alive
        head.rest_seconds = self.rest_seconds
        head.kind = self.kind
        head.length = self.length
        return head

    def index(self) -> None:
        """Fill ``first`` and ``repeated``; called once, when the head is complete."""
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
        """True if another response to the same request follows (RFC 9110 section 15.2)."""
        return self.status < 200 and self.status != 101  # noqa: PLR2004 -- the classes of RFC 9110 section 15
