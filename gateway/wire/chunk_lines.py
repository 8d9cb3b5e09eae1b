"""Scanner of a chunked body's framing: it finds the end of the body, and removes white space around chunk extensions.

RFC 9112 section 7.1.1 allows that white space and wants it read; llhttp refuses it. Laws:

- llhttp remains the judge of every framing line. The scanner takes away white space and extensions that the grammar
  allows, and nothing else; it adds no byte.
- Of responses it also takes away white space behind a size, with which some servers pad it. That has one reading, and
  what a client is sent is framed anew. A request's is refused.
- A line that it cannot read is passed on as it came, and so is all that follows: llhttp refuses it.
- Of a line that has not ended, nothing is held back but what follows its first semicolon or white space.
- One scan takes at most ``MOST`` lines. Each costs the parser and the writer a call: chunks of one byte would keep the
  event loop from everybody else for as long as they come.
"""

from __future__ import annotations

import re
from typing import Final

_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED: Final = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
_EXTENSION: Final = rb"[ \t]*;[ \t]*" + _TOKEN + rb"(?:[ \t]*=[ \t]*(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?"
_EXTENDED: Final = re.compile(rb"([0-9A-Fa-f]{1,16})(?:" + _EXTENSION + rb")+\r\n")
"""A chunk size with extensions, in the grammar of RFC 9112 section 7.1.1 with its "bad" white space."""
_PLAIN: Final = re.compile(rb"[0-9A-Fa-f]+\r?\n")
"""A chunk size alone. ``int`` would read signs, prefixes, underscores and white space as well."""
_PADDED: Final = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]+\r\n")
_WHITE: Final = re.compile(rb"[ \t]")
_HELD: Final = re.compile(rb"[; \t]")
_CRLF: Final = 2
MOST: Final = 256
"""Framing lines that are taken in one turn of the event loop: about 2 ms of work."""
LARGE_BYTES: Final = 4096
"""A first read up to this is parsed whole: it has few chunks."""
_LONGEST: Final = 16_384
"""A longer line is passed on as it comes; the limits on framing without a body refuse it."""


def end_of_heads(raw: bytes, number: int) -> int:
    """Return the index behind the first `number` heads of `raw`."""
    end = 0
    for _ in range(number):
        end = raw.find(b"\r\n\r\n", end) + 4
    return end


def end_of_chunked_head(raw: bytes) -> int:
    """Return where the first head of `raw` ends, if a large part of a chunked body follows it; else 0.

    Such a body is parsed by turns. Whatever is small is parsed with its head, in one call.
    """
    if len(raw) <= LARGE_BYTES:
        return 0
    found = raw.find(b"\r\n\r\n")
    if found < 0 or b"chunked" not in raw[:found].lower():
        return 0
    return found + len(b"\r\n\r\n")


def without_white_space(raw: bytes, *, heads: int) -> bytes:
    """Return `raw` without white space in the framing lines of the body behind its first `heads` heads of responses."""
    start = end_of_heads(raw, heads)
    piece, end = ChunkLines(padded=True).scan_whole(raw, start)
    return b"".join((raw[:start], piece, raw[end:]))


class ChunkLines:
    """Scanner of one chunked body.

    Attributes:
        over: The body and its trailers have ended.
        blind: A line could not be read, so everything is passed on as it comes.
    """

    __slots__ = ("_left", "_line", "_padded", "_passed", "_trailers", "blind", "over")

    def __init__(self, *, padded: bool = False) -> None:
        """With `padded`, a size may have white space behind it."""
        self._padded = padded
        self._left = 0
        self._line = b""
        self._passed = 0
        self._trailers = False
        self.blind = self.over = False

    def scan(self, raw: bytes, at: int = 0) -> tuple[bytes, int]:
        """Return what llhttp may be fed of `raw` from `at` on, and the index behind the bytes that were scanned.

        That is the end of `raw`, or of the body, or of ``MOST`` lines.
        """
        if self.over:  # llhttp expects more
            self.over, self.blind = False, True
        pieces: list[bytes] = []
        begin, end, lines = at, len(raw), 0
        while at < end and not self.over and lines < MOST:
            if self.blind:
                at = end
            elif self._left:
                step = min(self._left, end - at)
                self._left -= step
                at += step
            else:
                lines += 1
                newline = raw.find(b"\n", at)
                stop = end if newline < 0 else newline + 1
                whole = newline >= 0
                passed = self._line_to(raw[at:stop], whole=whole)
                if passed is not None:
                    pieces.append(raw[begin:at])
                    pieces.append(passed)
                    begin = stop
                at = stop
        pieces.append(raw[begin:at])
        return b"".join(pieces) if len(pieces) > 1 else pieces[0], at

    def scan_whole(self, raw: bytes, at: int) -> tuple[bytes, int]:
        """Do the same for all of `raw`, which is small, however many lines it has."""
        pieces: list[bytes] = []
        while at < len(raw) and not self.over:
            piece, at = self.scan(raw, at)
            pieces.append(piece)
        return b"".join(pieces), at

    def _line_to(self, part: bytes, *, whole: bool) -> bytes | None:
        """Take the next part of a line; return what of it may be passed on, or None if it is all of it as it came."""
        line = self._line + part
        if self._trailers:
            self._line = b"" if whole else line[:1]  # only whether it is empty matters
            self.over = whole and line in (b"\r\n", b"\n")
            return None
        if not whole:
            return self._begin(line, part)
        passed, self._line, self._passed = self._passed, b"", 0
        if self._padded and line[-3:-2].isspace() and (match := _PADDED.fullmatch(line)):
            digits = match.group(1)
            self._sized(int(digits, 16))
            return (digits + b"\r\n")[min(passed, len(digits)) :]
        if _PLAIN.fullmatch(line) is None:
            return self._extended(line, passed, part)
        self._sized(int(line, 16))
        return None if passed + len(part) == len(line) else line[passed:]

    def _begin(self, line: bytes, part: bytes) -> bytes | None:
        """Keep a line that has not ended; what follows its first semicolon or white space is held back."""
        if len(line) > _LONGEST:
            self.blind = True
            return line[self._passed :]
        hold = _HELD.search(line)
        stop = len(line) if hold is None else hold.start()
        fresh = line[self._passed : stop]
        self._line, self._passed = line, max(self._passed, stop)
        return None if fresh == part else fresh

    def _extended(self, line: bytes, passed: int, part: bytes) -> bytes | None:
        """Read a line with extensions; return it without them if they hold white space."""
        match = _EXTENDED.fullmatch(line)
        if match is None:
            self.blind = True
        else:
            size = match.group(1)
            self._sized(int(size, 16))
            if _WHITE.search(line):
                line = size + b"\r\n"
                passed = min(passed, len(size))
        rest = line[passed:]
        return None if rest == part else rest

    def _sized(self, size: int) -> None:
        if size:
            self._left = size + _CRLF
        else:
            self._trailers = True
