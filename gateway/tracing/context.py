"""W3C Trace Context: ``traceparent`` as it arrives and as it leaves (https://www.w3.org/TR/trace-context/).

Laws:

- A valid ``traceparent`` passes to the byte, and ``tracestate`` and ``baggage`` with it; only when the gateway records
  spans of its own does the parent in it become the gateway's.
- One that is absent, malformed or given twice begins a new trace, and ``tracestate`` is dropped with it (section 3.3).
- A trace that begins here has the gateway's own id of the request as its id: one word to look for in logs and traces.
"""

from __future__ import annotations

import re
import secrets
from binascii import hexlify
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

_PARENT: Final = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)
"""Section 3.2: version ff is forbidden, and so are ids of nothing but zeros; later versions may go on behind a dash."""

TRACEPARENT: Final = b"traceparent"
TRACESTATE: Final = b"tracestate"
ALL: Final = frozenset({TRACEPARENT, TRACESTATE})
PARENT_ALONE: Final = frozenset({TRACEPARENT})
NONE: Final[frozenset[bytes]] = frozenset()

_KNOWN_FLAGS: Final = 0x03
"""Sampled, and random (of level 2); others are for versions to come, and not to be passed on by this one."""
_ID_BITS: Final = 64
_MASK: Final = (1 << _ID_BITS) - 1
_GOLDEN: Final = 0x9E3779B97F4A7C15


class Fields(Protocol):
    """What is read of a request head; ``first`` is keyed by lower-case name."""

    @property
    def first(self) -> Mapping[bytes, bytes]:
        """The first field line of each name."""

    def occurs_twice(self, name: bytes) -> bool:
        """Whether a name has more than one line."""


@dataclass(frozen=True, slots=True)
class Context:
    """Where a request is in somebody's trace.

    Attributes:
        trace_id: 32 hexadecimal digits.
        parent_id: The caller's span, 16 hexadecimal digits.
        flags: Two hexadecimal digits, of those that this version knows.
    """

    trace_id: bytes
    parent_id: bytes
    flags: bytes

    @property
    def sampled(self) -> bool:
        """Whether the caller records this trace."""
        return int(self.flags, 16) & 1 == 1


def read_context(fields: Fields) -> Context | None:
    """Return the trace that a request belongs to; None when it says nothing that counts."""
    value = fields.first.get(TRACEPARENT)
    if value is None or fields.occurs_twice(TRACEPARENT):
        return None
    match = _PARENT.fullmatch(value)
    if match is None or (match[1] == b"00" and match[5] is not None):
        return None
    return Context(match[2], match[3], b"%02x" % (int(match[4], 16) & _KNOWN_FLAGS))


class OwnIds:
    """Makes the gateway's ids of requests: 32 hexadecimal digits, and all that a trace's id has to be.

    They are unique across processes by their first half. The second steps through all 64-bit numbers, spread evenly (an
    additive sequence by the golden ratio), because whoever samples by a trace's id looks at that half.
    """

    __slots__ = ("_number", "_prefix")

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(8).encode("ascii")
        self._number = secrets.randbits(_ID_BITS)

    def next(self) -> bytes:
        """Return the next id."""
        self._number = number = (self._number + _GOLDEN) & _MASK or _GOLDEN
        return self._prefix + hexlify(number.to_bytes(8, "big"))


class TraceLaws:
    """What of a trace's fields goes on, and what the gateway writes; compiled for one configuration."""

    def __init__(self, *, records: bool = False, sample: float = 1.0) -> None:
        """Prepare.

        Args:
            records: The gateway records spans, and so becomes the parent.
            sample: The share of the traces that begin here which are marked as sampled.
        """
        self._records = records
        self._below = round(sample * (1 << _ID_BITS))
        self._always = sample >= 1

    def withheld(self, fields: Fields, context: Context | None) -> frozenset[bytes]:
        """Return the names of the fields that do not go on as they came."""
        if context is None:
            return ALL if TRACEPARENT in fields.first or TRACESTATE in fields.first else NONE
        return PARENT_ALONE if self._records else NONE

    def line(self, context: Context | None, own_id: bytes) -> bytes:
        """Return the field line to write, ending in CRLF; empty where the client's own passes.

        Args:
            context: What the request says.
            own_id: The gateway's id of the request; its second half names the span of the upstream.
        """
        if context is None:
            flags = b"01" if self._always or self.samples(own_id) else b"00"
            return b"traceparent: 00-%b-%b-%b\r\n" % (own_id, own_id[16:], flags)
        if self._records:
            return b"traceparent: 00-%b-%b-%b\r\n" % (context.trace_id, own_id[16:], context.flags)
        return b""

    def samples(self, own_id: bytes) -> bool:
        """Tell whether a trace that begins here is one of those that are recorded; the id decides, evenly."""
        return self._always or int(own_id[16:], 16) < self._below
