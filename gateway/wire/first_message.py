"""Parser of the first message of a WebSocket's client, from bytes in any segmentation (RFC 6455 section 5).

Laws:

- It is stricter than servers are. It refuses reserved bits and opcodes, frames without a mask, lengths that are not in
  their shortest form, and fragments out of order. All servers read what it accepts in the same way.
- It holds at most :data:`LARGEST` bytes. The buffer has no room for more, so the reader stops reading.
- Control frames before the message go on at once. Control frames between its fragments stay between them.
- Bytes that are held go on unchanged.
"""

from __future__ import annotations

from typing import Final

LARGEST: Final = 16_384
PROTOCOL_ERROR, UNSUPPORTED, TOO_LARGE = 1002, 1003, 1009
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PONG = 0x0, 0x1, 0x2, 0x8, 0xA
_SHORT_LENGTH, _LONG_LENGTH = 126, 127
_HEAD, _MASK = 2, 4


class Unreadable(Exception):
    """The first message cannot be accepted.

    Attributes:
        code: The status code of the Close frame.
        reason: The reason for metrics and logs: one of a few words.
    """

    def __init__(self, code: int, reason: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.reason = reason


class FirstMessage:
    """Parser of one client's first message.

    Attributes:
        payload: The unmasked message; None until it is complete.
        left: A Close frame came before the message began: there will be no message.
    """

    __slots__ = ("_at", "_begin", "_buffer", "_parts", "_size", "left", "payload")

    def __init__(self) -> None:
        self._buffer = bytearray(LARGEST)
        self._size = 0  # bytes in the buffer
        self._at = 0  # where the frame begins that is not complete yet
        self._begin = 0  # where the first frame of the message begins, once it has begun
        self._parts: list[bytes] = []
        self.payload: bytes | None = None
        self.left = False

    @property
    def room(self) -> memoryview:
        """The free part of the buffer; never empty before the message is complete."""
        return memoryview(self._buffer)[self._size :]

    @property
    def held(self) -> bytes:
        """The bytes that have arrived and have not been returned by :meth:`arrived`."""
        return bytes(self._buffer[: self._size])

    def arrived(self, count: int) -> bytes:
        """Parse `count` bytes that were written into :attr:`room`; return complete control frames, which may go on.

        Raises:
            Unreadable: the bytes are no message that all servers read in the same way, or the message is too large.
        """
        if self.left:
            return b""
        self._size += count
        while not self._is_over() and self._frame():
            pass
        begin = self._begin if self._parts else self._at
        ahead = bytes(self._buffer[:begin])
        if ahead:
            self._size -= begin
            self._at -= begin
            self._begin = 0
            self._buffer[: self._size] = self._buffer[begin : begin + self._size]
        if self._is_over() and self.payload is None:
            self._size = 0  # no bytes may follow a Close frame
        elif self._size == LARGEST and self.payload is None:
            raise _too_large()
        return ahead

    def _is_over(self) -> bool:
        return self.left or self.payload is not None

    def _frame(self) -> bool:
        """Parse one frame; False if it is not complete yet."""
        at, ready = self._at, self._size - self._at
        if ready < _HEAD:
            return False
        first, second = self._buffer[at], self._buffer[at + 1]
        opcode, length = first & 0x0F, second & 0x7F
        if first & 0x70 or not second & 0x80:
            raise Unreadable(PROTOCOL_ERROR, "unreadable", "a frame has a reserved bit, or no mask")
        self._check_place(opcode, length, final=bool(first & 0x80))
        wide = 2 if length == _SHORT_LENGTH else 8 if length == _LONG_LENGTH else 0
        start = at + _HEAD + wide + _MASK
        if wide:
            if ready < _HEAD + wide:
                return False
            length = int.from_bytes(self._buffer[at + _HEAD : at + _HEAD + wide], "big")
            if length < (_SHORT_LENGTH if wide == 2 else 1 << 16):  # noqa: PLR2004 -- bytes of the length
                raise Unreadable(PROTOCOL_ERROR, "unreadable", "a length is not in its shortest form")
        if start + length - (self._begin if self._parts else at) > LARGEST:
            raise _too_large()
        if self._size < start + length:
            return False
        self._at = start + length
        if opcode >= _CLOSE:
            self._take_control(opcode)
        else:
            if not self._parts:
                self._begin = at
            self._take(start, final=bool(first & 0x80))
        return True

    def _take(self, start: int, *, final: bool) -> None:
        """Unmask and add the payload that begins at `start`, right after its mask."""
        mask, payload = self._buffer[start - _MASK : start], self._buffer[start : self._at]
        self._parts.append(_unmasked(bytes(mask), bytes(payload)))
        if final:
            self.payload = b"".join(self._parts)

    def _check_place(self, opcode: int, length: int, *, final: bool) -> None:
        """Refuse a frame that is not allowed at this point."""
        if opcode == _BINARY and not self._parts:
            raise Unreadable(UNSUPPORTED, "unreadable", "the first message is binary")
        if opcode >= _CLOSE:
            sound = opcode <= _PONG and final and length < _SHORT_LENGTH
        else:
            sound = opcode == (_CONTINUATION if self._parts else _TEXT)
        if not sound:
            raise Unreadable(PROTOCOL_ERROR, "unreadable", "a frame is out of place")

    def _take_control(self, opcode: int) -> None:
        if opcode != _CLOSE:
            return
        if self._parts:
            raise Unreadable(PROTOCOL_ERROR, "unreadable", "closed within the first message")
        self.left = True


def _too_large() -> Unreadable:
    return Unreadable(TOO_LARGE, "first_message_too_large", "the first message is too large")


def _unmasked(key: bytes, payload: bytes) -> bytes:
    size = len(payload)
    mask = (key * (size // _MASK + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")).to_bytes(size, "big")
