"""Response header policy: which field lines of an upstream's response the client is sent, and which are added.

Laws:

- Hop-by-hop fields, and those that Connection names, are removed. A 426 alone keeps its Upgrade, and the option that
  goes with it. Only the wire writes framing fields and Connection.
- Of Vary there is one line, which :mod:`gateway.proxy.vary` makes.
- Of heads of one shape (:mod:`gateway.wire.templates`), the lines that pass are determined once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.proxy.clock import http_date
from gateway.proxy.cors import VARY
from gateway.proxy.pieces import Pieces
from gateway.proxy.vary import VaryPolicy
from gateway.wire.framing import FIRST_FINAL, HOP_BY_HOP, connection_tokens

if TYPE_CHECKING:
    from gateway.cookie_places import CookiePlaces
    from gateway.proxy.exchange import Exchange
    from gateway.wire.messages import FieldLine, ResponseHead

_REMEMBERED: Final = 4096
"""Most names whose lower case is remembered; an upstream that invents more pays for them itself."""
_LONGEST: Final = 64

_RESPONSE_DROPS: Final = HOP_BY_HOP | {b"content-length", b"x-request-id"}


_PLAIN: Final = VaryPolicy()


def response_start(
    head: ResponseHead, request_id: bytes, cors: bytes = b"", vary: VaryPolicy = _PLAIN
) -> bytes:
    """Return the start of the client's response: status line, the upstream's fields that pass, and the request id.

    A Date is added if the upstream gave none (RFC 9110 section 6.6.1). The lines of a CORS policy, if there are any,
    replace the upstream's own. What is remembered with a head is by the `vary` that it was first asked for with.
    """
    notes = head.notes
    if cors:
        if not isinstance(notes, tuple):
            notes = head.notes = (_start(head, _CORS, vary),)
        start: bytes = notes[0]
        cors = cors.removesuffix(VARY)  # the start has it
    elif isinstance(notes, bytes):  # computed before, for a response with the same lines
        start = notes
    else:
        start = head.notes = _start(head, _EVERY, vary)
    if start.startswith(_DATELESS):
        return b"%bDate: %b\r\nX-Request-ID: %b\r\n%b" % (start[1:], http_date(), request_id, cors)
    return b"%bX-Request-ID: %b\r\n%b" % (start, request_id, cors)


def _start(head: ResponseHead, without: tuple[bytes, ...], vary: VaryPolicy) -> bytes:
    """Return what `_passing` returns, from the pieces of the head's shape if it has one."""
    template = head.template
    if template is None or template.like is None:
        return _passing(head, without, vary)
    known = template.notes
    if not isinstance(known, dict):
        known = template.notes = {}
    pieces: Pieces | None = known.get(without)
    if pieces is None:
        like = template.like.without_fields()
        like.fields = template.marked()
        like.index()
        pieces = known[without] = Pieces(_passing(like, without, vary))
    return pieces.fill(head.values)


_CORS: Final = (b"access-control-",)
_EVERY: Final[tuple[bytes, ...]] = ()
_WITHOUT_CONTROLS: Final = bytes.maketrans(bytes(range(0x20)) + b"\x7f", b" " * 9 + b"\t" + b" " * 23)
_UPGRADE_REQUIRED: Final = 426
_DATELESS: Final = b"\0"
"""Prefix of a remembered start that still needs a Date."""


def _status_line(head: ResponseHead) -> bytes:
    """Return the status line for the client; control bytes in the reason phrase are spaces (RFC 9112 section 4)."""
    return b"HTTP/1.1 %d %b\r\n" % (head.status, head.phrase.translate(_WITHOUT_CONTROLS))


def _passing(head: ResponseHead, without: tuple[bytes, ...], vary: VaryPolicy) -> bytes:
    """Return the status line and the lines that pass; without those whose names begin with one of `without`."""
    named = connection_tokens(head) - _RESPONSE_DROPS
    parts = [_status_line(head)]
    dated = head.status < FIRST_FINAL
    varies: list[bytes] = []
    for name, value in head.fields:
        lower = _LOWERED.get(name)
        if lower is None:
            lower = _lowered(name)
        if lower and not (named and lower in named) and not (without and lower.startswith(without)):
            if lower == b"vary":
                varies.append(value)
                continue
            parts.append(b"%b: %b\r\n" % (name, value))
            dated = dated or lower == b"date"
    if varies or without:  # under a policy an answer varies by Origin
        parts.append(b"Vary: %b\r\n" % vary.value(varies, origin=bool(without)))
    if head.status == _UPGRADE_REQUIRED and b"upgrade" in head.first:
        parts.append(b"Connection: Upgrade\r\nUpgrade: %b\r\n" % b", ".join(head.every(b"upgrade")))
    return b"".join(parts) if dated else _DATELESS + b"".join(parts)


_LOWERED: Final[dict[bytes, bytes]] = {}
"""Memo of response field names: as received -> in lower case, or empty if they never pass. Bounded."""


def _lowered(name: bytes) -> bytes:
    lower = name.lower()
    if lower in _RESPONSE_DROPS:
        lower = b""
    if len(_LOWERED) < _REMEMBERED and len(name) <= _LONGEST:
        _LOWERED[name] = lower
    return lower


def interim_start(head: ResponseHead) -> bytes:
    """Return the head of an interim response, without its final CRLF."""
    dropped = _RESPONSE_DROPS | connection_tokens(head)
    fields: list[FieldLine] = [line for line in head.fields if line[0].lower() not in dropped]
    return _status_line(head) + b"".join(b"%b: %b\r\n" % line for line in fields)


def with_cookies_moved(head: ResponseHead, exchange: Exchange, places: CookiePlaces) -> ResponseHead:
    """Return the response with its cookies of our names in our places."""
    route, parsed = exchange.route, exchange.parsed
    if b"set-cookie" not in head.first or route is None or parsed is None or route.internal:
        return head
    fields = places.moved(head.fields, parsed.origin.host)
    return head if fields is None else head.with_fields(fields)
