"""Memo of a client's field lines: a request that repeats them is not parsed again, but for its request line.

Most clients send the same field lines again and again over one connection. Others send lines of one shape, in which
some values vary (:mod:`~gateway.wire.templates`). Parsing is a function of the bytes; where anything else could matter
(a body, an upgrade, an expectation, a close) the lines are not remembered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.wire.messages import BodyKind, RequestHead

if TYPE_CHECKING:
    from gateway.wire.templates import Templates

_METHODS: Final = frozenset({b"GET", b"HEAD", b"DELETE", b"OPTIONS"})
_PARTS: Final = 3
_OF_TARGETS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,=:@/?%"
_SAME: Final = bytes(byte if byte in _OF_TARGETS else _OF_TARGETS[0] for byte in range(256))
"""A translation that leaves those characters alone, and changes every other byte."""

_REMEMBERED_BYTES: Final = 4096
"""The largest block of field lines that a connection remembers: an idle connection must stay small."""


class KnownLines:
    """Memo of one client connection's last plain request, and of the shapes of all its listener's."""

    __slots__ = ("_block", "_head", "_head_bytes", "_line", "_target_bytes", "_templates")

    def __init__(self, templates: Templates, head_bytes: int, target_bytes: int) -> None:
        """Requests with a head of more than `head_bytes`, or a target of more than `target_bytes`, are not found."""
        self._templates = templates
        self._head_bytes = head_bytes
        self._target_bytes = target_bytes
        self._line = self._block = b""
        self._head: RequestHead | None = None

    def find(self, raw: bytes) -> RequestHead | None:
        """Return the head of a whole request whose lines are known, or of a known shape; None if `raw` is another."""
        block = self._block
        if not block or not raw.endswith(block):
            return self._alike(raw)
        end = len(raw) - len(block)
        if len(self._line) != end or not raw.startswith(self._line):
            line, head = raw[:end], self._head
            parts = _parts(line)
            if parts is None or head is None or len(raw) > self._head_bytes:
                return None
            if len(parts[1]) > self._target_bytes:
                return None
            self._line, self._head = line, head.with_line(parts[0], parts[1])
        return self._head

    def _alike(self, raw: bytes) -> RequestHead | None:
        """Return the head of a whole request whose lines are of a known shape; None if `raw` is anything else."""
        size = len(raw)
        end = raw.find(b"\r")
        if end < 0 or size > self._head_bytes:
            return None
        values: list[bytes] = []
        template = self._templates.lately(raw, end, size, values)
        if template is None:
            template = self._templates.find(_key(raw), raw, end, size, values)
            if template is None:
                return None
            self._templates.took(template)
        line = raw[:end]
        parts = _parts(line)
        if parts is None or len(parts[1]) > self._target_bytes:
            return None
        head = RequestHead(method=parts[0], target=parts[1])
        template.fill(head, values)
        if size - end <= _REMEMBERED_BYTES:
            self._line, self._block, self._head = line, raw[end:], head
        return head

    def remember(self, raw: bytes, head: RequestHead) -> None:
        """Remember the field lines of `raw`, which was exactly one request, if llhttp need not parse them again."""
        end = raw.find(b"\r\n")
        block = raw[end:]
        plain = head.kind is BodyKind.NONE and head.keep_alive and head.minor == 1 and not head.upgrade
        if (
            plain
            and len(block) <= _REMEMBERED_BYTES
            and b"expect" not in head.first
            and _parts(raw[:end]) is not None
            and raw.find(b"\r\n\r\n") == len(raw) - 4
        ):
            self._line, self._block, self._head = raw[:end], block, head
            self._templates.learn(_key(raw), block, 0, head)


def _parts(line: bytes) -> list[bytes] | None:
    """Return method, target and version of a plain request line, which is parsed without llhttp; None for any other."""
    parts = line.split(b" ")
    if len(parts) != _PARTS or parts[0] not in _METHODS or parts[2] != b"HTTP/1.1":
        return None
    target = parts[1]
    return parts if target.startswith(b"/") and target.translate(_SAME) == target else None


def _key(raw: bytes) -> bytes:
    """Return what heads of one shape have in common: their number of lines."""
    return b"%d" % raw.count(b"\n")
