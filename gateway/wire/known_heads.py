"""Memo of an upstream's response heads: a head that it knows, or knows the shape of, is not parsed by llhttp.

A head is looked for in the same bytes first, and then among heads that differ in the values of some fields
(:mod:`~gateway.wire.templates`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.wire.framing import MOST_DIGITS
from gateway.wire.messages import BodyKind
from gateway.wire.templates import FIXED_IN_RESPONSES, Templates

if TYPE_CHECKING:
    from gateway.wire.messages import ResponseHead

_KNOWN: Final = 128
_KNOWN_BYTES: Final = 2048
_ZERO: Final = 0x30


class KnownHeads:
    """Memo of one upstream's response heads by their bytes. It is bounded, and cleared as a whole when full."""

    __slots__ = ("_heads", "_last", "_last_head", "_templates")

    def __init__(self) -> None:
        self._templates = Templates(FIXED_IN_RESPONSES)
        self._heads: dict[bytes, ResponseHead] = {}
        self._last = b""
        self._last_head: ResponseHead | None = None

    def find(self, raw: bytes) -> tuple[int, ResponseHead] | None:
        """Return the length of the head at the start of `raw`, and the parsed head; None if it is not in the memo."""
        last, head = self._last, self._last_head
        if head is not None and raw.startswith(last):  # `last` ends in an empty line, so it is a whole head
            return len(last), head
        # Most heads of one shape are as long as the last. One that is known ends in its first empty line, wherever the
        # search would find that.
        end = len(last)
        if end == 0 or raw[end - 4 : end] != b"\r\n\r\n" or (head := self._of(raw[:end])) is None:
            end = raw.find(b"\r\n\r\n") + 4
            head = self._of(raw[:end])
        return None if head is None else (end, head)

    def _of(self, start: bytes) -> ResponseHead | None:
        """Return the head whose bytes, or whose shape, are known; None if neither is."""
        head = self._heads.get(start)
        if head is None:
            head = self._alike(start)
            if head is None:
                return None
            self._keep(start, head)
        self._last, self._last_head = start, head
        return head

    def add(self, raw: bytes, head: ResponseHead) -> None:
        """Add a head that was parsed and passed every check."""
        self._templates.learn(raw[9:12], raw, raw.find(b"\r\n"), head)
        self._keep(raw, head)

    def _keep(self, raw: bytes, head: ResponseHead) -> None:
        if len(raw) <= _KNOWN_BYTES:
            if len(self._heads) >= _KNOWN:
                self._heads.clear()
            self._heads[raw] = head

    def _alike(self, raw: bytes) -> ResponseHead | None:
        """Return a head whose shape is known; None if it is not, or announces its length in an unusual form."""
        values: list[bytes] = []
        template = self._templates.find(raw[9:12], raw, 0, len(raw), values)
        if template is None or template.like is None:
            return None
        head = template.like.without_fields()
        template.fill(head, values)
        if head.kind is BodyKind.LENGTH:
            digits = head.first[b"content-length"]
            if not digits.isdigit() or digits.startswith(b"0") or len(digits) > MOST_DIGITS:
                return None
            length = 0
            for digit in digits:  # int() is called by name when compiled
                length = 10 * length + digit - _ZERO
            head.length = length
        return head
