"""Request-target parser: one canonical path for matching, authorization and log, and the unchanged bytes to forward.

Law: a target that two servers could parse as two paths is refused. An accepted one means the same whether a server
decodes it once, twice or not at all, merges slashes, resolves dots or cuts at a semicolon, so the path that was
authorized is the path that is served. RFC 3986 section 6.2 names these normalizations; RFC 9112 section 3.2 the forms
of a target.

The exception is a last segment that some route declares opaque (``/api/tags/{name:opaque}``): its server splits the
path at the slashes that came, and decodes the segment by itself, so ``VIP%2FGold`` is one name to it. Laws:

- Such a target is returned only if it is asked for, and its path has that segment as it came, still encoded. No other
  path has an escape in it, so the two cannot be confused. The route table refuses it on every other route.
- However often the segment is decoded, it has no dot segment, no empty segment and no control byte but a tab.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from gateway.wire.messages import ProtocolError

if TYPE_CHECKING:
    from gateway.wire.messages import RequestHead

_OF_PLAIN: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~!$&'()*+,=:@-/"
_SAME: Final = bytes(byte if byte in _OF_PLAIN else _OF_PLAIN[0] for byte in range(256))
"""A translation that leaves the bytes of a path that needs no decoding alone, and changes every other one."""

_QUERY: Final = re.compile(rb"[\x21\x22\x24-\x7e]*")
"""Any printable byte but ``#``: a query is opaque here, and forwarded as it is."""

_ABSOLUTE: Final = re.compile(rb"(https?)://([^/?#]*)([^#]*)", re.IGNORECASE)
_DEFAULT_PORTS: Final = {b"http": b":80", b"https": b":443"}
_BROKEN_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ESCAPE: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_OPAQUE: Final = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,=:@-]|%[0-9A-Fa-f]{2})+")
"""A segment of which every byte that means something else to some server is escaped, as encodeURIComponent does."""

_LEAVES: Final = re.compile(rb"(?:^|[/\\])(?:\.{1,2}(?:;[^/\\]*)?)?(?:[/\\]|$)|[\x00-\x08\x0a-\x1f\x7f]")
"""What a decoded segment may not hold: an empty or a dot segment, with parameters or without, or a control byte."""

_DEEPEST: Final = 3
"""Most times that an opaque segment changes by decoding. A name that holds an escape itself needs two."""

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


def parse_target(head: RequestHead, *, opaque: bool = False) -> Target:
    """Parse a request's target.

    With `opaque`, what is ambiguous in the last segment alone is left to the route table, which has to be asked.

    Raises:
        ProtocolError: 400, the target is ambiguous or invalid.
    """
    raw = head.target
    known = _KNOWN.get(raw)
    if known is not None:
        return known
    if not raw.startswith(b"/"):
        if raw != b"*" or head.method != b"OPTIONS":
            raw = _origin_form(head)
        if raw == b"*":
            return Target("*", raw)
    path, mark, query = raw.partition(b"?")
    if mark and not _QUERY.fullmatch(query):
        raise _bad("ambiguous request target: control or non-ASCII byte, or '#', in the query")
    try:
        target = Target(canonical_path(path), raw)
    except ProtocolError:
        encoded = _with_opaque_segment(path) if opaque else None
        if encoded is None:
            raise
        return Target(encoded, raw)  # not remembered: others may not be given it
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
    # Nearly every path, in a third of a pattern's time. It is searched as a text, since `in` takes bytes for a number
    # first, and makes the error that they are none.
    if path[:1] == b"/" and path.translate(_SAME) == path:
        text = path.decode("ascii")
        if "//" not in text and "/." not in text:
            return text
    return _canonical(path)


def _origin_form(head: RequestHead) -> bytes:
    """Return the origin form of an absolute form (section 3.2.2), or ``*`` where it stands for that (section 3.2.4).

    Its authority must equal Host.
    """
    match = _ABSOLUTE.fullmatch(head.target)
    if match is None:
        raise _bad("request target is neither a path nor an http URL")
    scheme, authority, rest = match.groups()
    # With and without it the two are one authority: RFC 9110 section 4.2.3.
    port = _DEFAULT_PORTS[scheme.lower()]
    host = head.first.get(b"host", b"")
    if authority.lower().removesuffix(port) != host.lower().removesuffix(port):
        raise _bad("request target and host field name different authorities")
    if not rest and head.method == b"OPTIONS":
        return b"*"
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


def _with_opaque_segment(path: bytes) -> str | None:
    """Return a path whose last segment stays encoded; None if more of it is ambiguous, or that leads elsewhere."""
    before, _, segment = path.rpartition(b"/")
    if _OPAQUE.fullmatch(segment) is None:
        return None
    try:
        above = canonical_path(before) if before else ""
        unquote_to_bytes(segment).decode("utf-8")
    except (ProtocolError, UnicodeDecodeError):
        return None
    decodings = _decodings(segment)
    if not decodings or any(_LEAVES.search(text) for text in decodings):
        return None
    return f"{above}/{segment.decode('ascii')}"


def _decodings(segment: bytes) -> list[bytes] | None:
    """Return each text that a segment becomes by decoding it again and again; None if there are too many."""
    found: list[bytes] = []
    for _ in range(_DEEPEST + 1):
        decoded = unquote_to_bytes(segment)
        if decoded == segment:
            return found
        found.append(decoded)
        segment = decoded
    return None


def is_encoded(path: str) -> bool:
    """Return whether the path of a target has an opaque segment in it."""
    return _ESCAPE.search(path) is not None


def readings(path: str) -> list[str]:
    """Return the paths that a server may take a path with an opaque segment for, which decodes it all the same."""
    above, _, segment = path.rpartition("/")
    decodings = _decodings(segment.encode()) or []
    return [f"{above}/{text.decode('utf-8', 'replace')}".replace("\\", "/") for text in decodings]


def refusal_of(path: str) -> ProtocolError:
    """Return why a path with an opaque segment is refused on a route that declares none."""
    try:
        canonical_path(b"/" + path.rpartition("/")[2].encode())
    except ProtocolError as refusal:
        return refusal
    return _bad("ambiguous request target: escapes within escapes")
