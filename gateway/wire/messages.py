"""Heads of messages as parsed: a start line and its field lines, in order and byte-exact.

Laws:

- ``fields`` keeps every line as it came (minus optional whitespace); ``first`` and ``repeated`` index the same lines by
  lower-case name, so that "more than one" is visible to whoever must refuse it.
- Nothing is merged and nothing is decoded here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

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


@dataclass(slots=True)
class Fields:
    """The field lines of one message."""

    fields: list[FieldLine] = field(default_factory=list)
    first: dict[bytes, bytes] = field(default_factory=dict)
    repeated: dict[bytes, list[bytes]] | None = None

    def index(self) -> None:
        """Fill ``first`` and ``repeated`` from ``fields``; once, when the head is complete."""
        first = self.first
        for name, value in self.fields:
            lower = name.lower()
            if lower in first:
                if self.repeated is None:
                    self.repeated = {}
                self.repeated.setdefault(lower, [first[lower]]).append(value)
            else:
                first[lower] = value

    def every(self, name: bytes) -> Iterable[bytes]:
        """All values of the field lines called `name` (lower case), in order."""
        if self.repeated is not None and name in self.repeated:
            return self.repeated[name]
        value = self.first.get(name)
        return () if value is None else (value,)

    def occurs_twice(self, name: bytes) -> bool:
        """Whether more than one field line is called `name` (lower case)."""
        return self.repeated is not None and name in self.repeated


@dataclass(slots=True)
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

    method: bytes = b""
    target: bytes = b""
    minor: int = 1
    keep_alive: bool = True
    upgrade: bool = False
    kind: BodyKind = BodyKind.NONE
    length: int = 0

    @property
    def expects_continue(self) -> bool:
        """The client waits for a 100 before it sends its body (RFC 9110 section 10.1.1)."""
        return self.minor == 1 and self.first.get(b"expect", b"").lower() == b"100-continue"


@dataclass(slots=True)
class ResponseHead(Fields):
    """Everything before a response's body; attributes as in :class:`RequestHead`."""

    status: int = 0
    phrase: bytes = b""
    minor: int = 1
    keep_alive: bool = True
    kind: BodyKind = BodyKind.NONE
    length: int = 0

    @property
    def interim(self) -> bool:
        """Whether another response to the same request follows (RFC 9110 section 15.2)."""
        return 100 <= self.status < 200 and self.status != 101  # noqa: PLR2004 -- the classes of RFC 9110 section 15
