"""WebSocket frame scanner: it finds frame boundaries in a byte stream, and builds Close frames (RFC 6455 section 5).

Laws:

- Headers are parsed and payloads are skipped: a large message costs as much as a small one.
- Nothing is validated. Bytes that are no frames pass like any others; at worst no boundary is ever found in them.
"""

from __future__ import annotations

import secrets
from typing import Final

GOING_AWAY: Final = 1001
_CLOSE: Final = 0x8
_LARGEST_REASON: Final = 123
_SHORT_LENGTH: Final = 126
_LONG_LENGTH: Final = 127


class Frames:
    """Frame scanner for one direction of a socket.

    Attributes:
        closed: A Close frame has begun: nothing may follow it (section 5.5.1).
    """

    __slots__ = ("_head", "_left", "closed")

    def __init__(self) -> None:
        self._head = b""  # the start of a header that has not arrived completely
        self._left = 0  # bytes behind the header of the present frame that are still to come
        self.closed = False

    @property
    def between(self) -> bool:
        """True if the bytes so far end with a complete frame."""
        return not self._left and not self._head

    def feed(self, passing: bytes) -> None:
        """Scan the next bytes of the stream."""
        size = len(passing)
        if self._left >= size:  # in the middle of a large frame
            self._left -= size
            return
        at = self.feed_one(passing) if self._left or self._head else 0
        # feed_one() inlined without its slices: small frames come by the hundred. Ten header bytes and a mask at most.
        while at + 10 <= size:
            second = passing[at + 1]
            length = second & 0x7F
            if length < _SHORT_LENGTH:
                step = length + 2
            elif length == _SHORT_LENGTH:
                step = (passing[at + 2] << 8 | passing[at + 3]) + 4
            else:
                step = int.from_bytes(passing[at + 2 : at + 10], "big") + 10
            if passing[at] & 0x0F == _CLOSE:
                self.closed = True
            at += step + 4 if second & 0x80 else step
        if at > size:
            self._left = at - size
        while at < size:
            at = self.feed_one(passing, at)

    def feed_one(self, passing: bytes, at: int = 0) -> int:
        """Scan bytes from `at` to the end of the present frame; return that position, or the length of the bytes."""
        if not self._left:
            head = self._head + passing[at : at + 10 - len(self._head)]
            size = _header_size(head)
            if len(head) < size:
                self._head = head
                return len(passing)
            at += size - len(self._head)
            self._head = b""
            self._left = _payload_size(head)
            if head[0] & 0x0F == _CLOSE:
                self.closed = True
        step = min(self._left, len(passing) - at)
        self._left -= step
        return at + step


def _header_size(head: bytes) -> int:
    """Return the length of the header up to the mask, as far as `head` determines it."""
    if len(head) < 2:  # noqa: PLR2004 -- flags and opcode, mask bit and length
        return 2
    length = head[1] & 0x7F
    return 10 if length == _LONG_LENGTH else 4 if length == _SHORT_LENGTH else 2


def _payload_size(head: bytes) -> int:
    """Return how many bytes follow the header: the masking key, if it is a client's frame, and the payload."""
    length = head[1] & 0x7F
    if length == _SHORT_LENGTH:
        length = int.from_bytes(head[2:4], "big")
    elif length == _LONG_LENGTH:
        length = int.from_bytes(head[2:10], "big")
    return length + (4 if head[1] & 0x80 else 0)


def close_frame(code: int, reason: str, *, masked: bool) -> bytes:
    """Return a Close frame; a client's frame is `masked` (section 5.3)."""
    payload = code.to_bytes(2, "big") + reason.encode()[:_LARGEST_REASON]
    head = bytes((0x80 | _CLOSE, len(payload) | (0x80 if masked else 0)))
    if not masked:
        return head + payload
    key = secrets.token_bytes(4)
    return head + key + bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))
