"""W3C Trace Context: it parses and writes ``traceparent`` (https://www.w3.org/TR/trace-context/).

Laws:

- A valid ``traceparent`` passes unchanged, and ``tracestate`` and ``baggage`` with it. Only when the gateway records
  spans of its own, its span becomes the parent.
- If it is absent, malformed or there twice, a new trace begins, and ``tracestate`` is dropped (section 3.3).
- A trace that begins here has the gateway's own id of the request as its id: one text to search for in logs and traces.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

_PARENT: Final = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)
"""Section 3.2: version ff is forbidden, and so are ids of zeros only; later versions may continue behind a dash."""

TRACEPARENT: Final = b"traceparent"
TRACESTATE: Final = b"tracestate"
ALL: Final = frozenset({TRACEPARENT, TRACESTATE})
PARENT_ALONE: Final = frozenset({TRACEPARENT})
NONE: Final[frozenset[bytes]] = frozenset()

_KNOWN_FLAGS: Final = 0x03
"""The flags sampled, and random (of level 2). Other flags belong to later versions, and are not passed on."""
_ID_BITS: Final = 64
_STEPPED_BITS: Final = 60
_MASK: Final = 0xFFFFFFFFFFFFFFF
_GOLDEN: Final = 0x9E3779B97F4A7C1
"""2^60 by the golden ratio; odd, so that the sequence meets every number."""
_DIGITS: Final = [b"%03x" % number for number in range(1 << 12)]
"""Three hexadecimal digits of each number of twelve bits."""


class HeaderLookup(Protocol):
    """Protocol of a request head, as far as it is read here; ``first`` is keyed by lower-case name."""

    @property
    def first(self) -> Mapping[bytes, bytes]:
        """The first field line of each name."""

    def occurs_twice(self, name: bytes) -> bool:
        """Return whether a name has more than one field line."""


@dataclass(frozen=True, slots=True)
class Context:
    """Trace context: the position of a request in its caller's trace.

    Attributes:
        trace_id: 32 hexadecimal digits.
        parent_id: The caller's span, 16 hexadecimal digits.
        flags: Two hexadecimal digits; only flags that this version knows.
    """

    trace_id: bytes
    parent_id: bytes
    flags: bytes

    @property
    def sampled(self) -> bool:
        """True if the caller records this trace."""
        return int(self.flags, 16) & 1 == 1


def read_context(fields: HeaderLookup) -> Context | None:
    """Return the trace context of a request; None if it has no valid one."""
    value = fields.first.get(TRACEPARENT)
    if value is None or fields.occurs_twice(TRACEPARENT):
        return None
    match = _PARENT.fullmatch(value)
    if match is None or (match[1] == b"00" and match[5] is not None):
        return None
    return Context(match[2], match[3], b"%02x" % (int(match[4], 16) & _KNOWN_FLAGS))


class OwnIds:
    """Generator of request ids: 32 hexadecimal digits that are valid as a trace's id.

    The first half makes them unique across processes. The second steps through all 60-bit numbers, spread evenly (an
    additive sequence by the golden ratio), because a sampler looks at that half of a trace's id. A last digit, which is
    never zero and stays the same, keeps that half from being zero. Numbers of 60 bits and their digits by the table are
    a sixth of the work that 64 bits and ``hexlify`` are, compiled.
    """

    __slots__ = ("_last", "_number", "_prefix")

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(8).encode("ascii")
        self._last = b"%x" % (1 + secrets.randbelow(15))
        self._number = secrets.randbits(_STEPPED_BITS)

    def next(self) -> bytes:
        """Return the next id."""
        self._number = number = (self._number + _GOLDEN) & _MASK
        digits = _DIGITS
        return b"%b%b%b%b%b%b%b" % (
            self._prefix,
            digits[number >> 48],
            digits[number >> 36 & 0xFFF],
            digits[number >> 24 & 0xFFF],
            digits[number >> 12 & 0xFFF],
            digits[number & 0xFFF],
            self._last,
        )


class TracePolicy:
    """Trace policy: which trace fields are forwarded and which the gateway writes; compiled for one configuration."""

    def __init__(self, *, records: bool = False, sample: float = 1.0) -> None:
        """Compile the policy.

        Args:
            records: The gateway records spans, and so becomes the parent.
            sample: The share of new traces that are marked as sampled.
        """
        self._records = records
        self._below = round(sample * (1 << _ID_BITS))
        self._always = sample >= 1

    def withheld(self, fields: HeaderLookup, context: Context | None) -> frozenset[bytes]:
        """Return the names of the fields that are not forwarded as they came."""
        if context is None:
            return ALL if TRACEPARENT in fields.first or TRACESTATE in fields.first else NONE
        return PARENT_ALONE if self._records else NONE

    def line(self, context: Context | None, own_id: bytes) -> bytes:
        """Return the field line to write, ending in CRLF; empty if the client's own is forwarded.

        Args:
            context: The request's trace context.
            own_id: The gateway's id of the request; its second half is the id of the upstream's span.
        """
        if context is None:
            flags = b"01" if self._always or self.samples(own_id) else b"00"
            return b"traceparent: 00-%b-%b-%b\r\n" % (own_id, own_id[16:], flags)
        if self._records:
            return b"traceparent: 00-%b-%b-%b\r\n" % (context.trace_id, own_id[16:], context.flags)
        return b""

    def samples(self, own_id: bytes) -> bool:
        """Return whether a trace that begins here is sampled; its id decides, evenly."""
        return self._always or int(own_id[16:], 16) < self._below
