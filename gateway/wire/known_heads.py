"""Memo of an upstream's response heads: one that comes again in the same bytes is not parsed again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gateway.wire.messages import ResponseHead

_KNOWN: Final = 128
_KNOWN_BYTES: Final = 2048


class KnownHeads:
    """Memo of one upstream's response heads by their bytes. It is bounded, and cleared as a whole when full."""

    __slots__ = ("_heads", "_last", "_last_head")

    def __init__(self) -> None:
        self._heads: dict[bytes, ResponseHead] = {}
        self._last = b""
        self._last_head: ResponseHead | None = None

    def find(self, raw: bytes) -> tuple[int, ResponseHead] | None:
        """Return the length of the head at the start of `raw`, and the parsed head; None if it is not in the memo."""
        last, head = self._last, self._last_head
        if head is not None and raw.startswith(last):  # `last` ends in an empty line, so it is a whole head
            return len(last), head
        end = raw.find(b"\r\n\r\n") + 4
        start = raw[:end]
        head = self._heads.get(start)
        if head is None:
            return None
        self._last, self._last_head = start, head
        return end, head

    def add(self, raw: bytes, head: ResponseHead) -> None:
        """Add a head that was parsed and passed every check."""
        if len(raw) <= _KNOWN_BYTES:
            if len(self._heads) >= _KNOWN:
                self._heads.clear()
            self._heads[raw] = head
