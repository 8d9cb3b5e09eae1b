"""Request-target parser: one canonical path for matching, authorization and log, and the unchanged bytes to forward.

Law: a target that two servers could parse as two paths is refused. An accepted one means the same whether a server
decodes it once, twice or not at all, merges slashes, resolves dots or cuts at a semicolon, so the path that was
authorized is the path that is served. RFC 3986 section 6.2 names these normalizations; RFC 9112 section 3.2 the forms
of a target.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from gateway.wire.messages import ProtocolError

if TYPE_CHECKING:
    from gateway.wire.messages import RequestHead

_PLAIN: Final = re.compile(rb"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~!$&'()*+,=:@-]+)*/?")
"""A path that needs no decoding and is unambiguous, as nearly every path is."""

_QUERY: Final = re.compile(rb"[\x21\x22\x24-\x7e]*")
"""Any printable byte but ``#``: a query is opaque here, and forwarded as it is."""

_ABSOLUTE: Final = re.compile(rb"https?://([^/?#]*)([^#]*)", re.IGNORECASE)
_BROKEN_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_AMBIGUOUS: Final = re.compile(rb"//|[\\;#?]|[\x00-\x1f\x7f]|(?:^|/)\.{1,2}(?:/|$)")


class Target:
    """Parsed request target. It is no frozen dataclass, since one is made for each path that is not in the memo.

    Attributes:
        path: The canonical path, decoded; ``*`` for the asterisk form.
        forwarded: The origin form that the upstream is sent, as the parser read it.
    """

    __slots__ = ("forwarded", "path")

    def __init__(self, path: str, forwarded: bytes) -> None:
        self.path: Final = path
        self.forwarded: Final = forwarded


_REMEMBERED: Final = 2048
_LONGEST: Final = 256
_KNOWN: Final[dict[bytes, Target]] = {}
"""Memo of targets in origin form without a query; parsing is a function of the bytes. All are forgotten when there are
more."""


def _bad(reason: str) -> ProtocolError:
    return ProtocolError(400, reason)


def parse_target(head: RequestHead) -> Target:
    """Parse a request's target.

    Raises:
        ProtocolError: 400, the target is ambiguous or invalid.
    """
    raw = head.target
    known = _KNOWN.get(raw)
    if known is not None:
        return known
    if not raw.startswith(b"/"):
        if raw == b"*" and head.method == b"OPTIONS":  # section 3.2.4
            return Target("*", raw)
        raw = _origin_form(head)
    path, mark, query = raw.partition(b"?")
    if mark and not _QUERY.fullmatch(query):
        raise _bad("ambiguous request target: control or non-ASCII byte, or '#', in the query")
    target = Target(canonical_path(path), raw)
    if raw is head.target and not mark and len(raw) <= _LONGEST:
        if len(_KNOWN) >= _REMEMBERED:
            _KNOWN.clear()
        _KNOWN[raw] = target
    return target


def canonical_path(path: bytes) -> str:
    """Return the canonical form of a path.

    Raises:
        ProtocolError: 400, the path is ambiguous.
    """
    if path and _PLAIN.fullmatch(path):
        return path.decode("ascii")
    return _canonical(path)


def _origin_form(head: RequestHead) -> bytes:
    """Return the origin form of an absolute form (section 3.2.2); its authority must equal Host."""
    match = _ABSOLUTE.fullmatch(head.target)
    if match is None:
        raise _bad("request target is neither a path nor an http URL")
    authority, rest = match.groups()
    if authority.lower() != head.first.get(b"host", b"").lower():
        raise _bad("request target and host field name different authorities")
    return rest if rest.startswith(b"/") else b"/" + rest


def _canonical(path: bytes) -> str:
    """Decode a path with escapes or unusual bytes; refuse it if decoding it again would change its meaning."""
    if not path.isascii():
        raise _bad("ambiguous request target: non-ASCII byte in the path")
    if _BROKEN_ESCAPE.search(path):
        raise _bad("ambiguous request target: '%' that starts no escape")
    canonical = unquote_to_bytes(path)
    if canonical.count(b"/") != path.count(b"/"):
        raise _bad("ambiguous request target: encoded slash")
    if _AMBIGUOUS.search(canonical):
        raise _bad(
            "ambiguous request target: dot segment, empty segment, or one of \\ ; # ? and control bytes"
        )
    if unquote_to_bytes(canonical) != canonical:  # /%2561pi is /%61pi to one server and /api to the next
        raise _bad("ambiguous request target: escapes within escapes")
    try:
        return canonical.decode("utf-8")
    except UnicodeDecodeError:
        raise _bad("ambiguous request target: the path is not UTF-8") from None
