"""Refusal of HTTP/2 with prior knowledge, in frames of HTTP/2: the one form that its libraries can show to people.

A client that begins with HTTP/2's preface gets a SETTINGS frame when the first line has come. Its first request is
answered 505 with the usual body, and a GOAWAY repeats the words (RFC 9113 sections 6.5 and 6.8). If none comes, the
GOAWAY says HTTP_1_1_REQUIRED (section 7). docs/decisions.md has why the two differ, in 83.
"""

from __future__ import annotations

from typing import Final

from gateway.wire.messages import Http2Preface

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""The bytes with which a client begins HTTP/2 without asking first (RFC 9113 section 3.4)."""

SETTINGS: Final = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
"""An empty SETTINGS frame."""

REQUEST_SECONDS: Final = 1.0
"""How long the rest of the preface and the first request are waited for."""

TEXT: Final = b"HTTP/2 is not spoken here, use HTTP/1.1"
_HEAD: Final = 9
_BODY, _HEADERS, _GOAWAY = 0, 1, 7
_END_STREAM, _END_HEADERS = 1, 4
_NO_ERROR, _HTTP_1_1_REQUIRED = 0, 13
_STATUS: Final = b"\x08\x03%d"
_OF_JSON: Final = b"\x0f\x10\x10application/json"
"""Fields by HPACK's static table (RFC 7541 appendix A: 8 and 31), their values as literals that are not indexed."""


class Http2Refusal:
    """Scanner of an HTTP/2 client's frames up to its first request, and the answer to that."""

    __slots__ = ("_left", "_part", "_preface", "_stream")

    def __init__(self, preface: bytes) -> None:
        """`preface` is what has yet to come of it."""
        self._preface = preface
        self._part = b""
        self._left = 0
        self._stream = 0

    def feed_data(self, raw: bytes) -> None:
        """Scan the next bytes of the preface, and behind it.

        Raises:
            Http2Preface: a request has begun, or the preface has broken off.
        """
        at = min(len(raw), len(self._preface))
        if not self._preface.startswith(raw[:at]):
            raise Http2Preface
        self._preface = self._preface[at:]
        while at < len(raw) and not self._stream:
            if self._left:
                step = min(self._left, len(raw) - at)
                self._left -= step
                at += step
                continue
            fresh = raw[at : at + _HEAD - len(self._part)]
            at += len(fresh)
            head = self._part + fresh
            if len(head) < _HEAD:
                self._part = head
                break
            self._part = b""
            self._left = int.from_bytes(head[:3], "big")
            if head[3] == _HEADERS:
                self._stream = int.from_bytes(head[5:], "big") & 0x7FFFFFFF
        if self._stream:
            raise Http2Preface

    def answer(self, status: int, body: bytes) -> bytes:
        """Return the frames of a response of `status` with a `body` of JSON, and of the end of the connection."""
        frames, code = b"", _HTTP_1_1_REQUIRED
        if self._stream:
            code = _NO_ERROR
            fields = _STATUS % status + _OF_JSON
            frames = _frame(_HEADERS, _END_HEADERS, self._stream, fields)
            frames += _frame(_BODY, _END_STREAM, self._stream, body)
        goaway = self._stream.to_bytes(4, "big") + code.to_bytes(4, "big") + TEXT
        return frames + _frame(_GOAWAY, 0, 0, goaway)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload
