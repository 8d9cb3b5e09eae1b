"""Message framing and header checks: pure functions that accept or refuse a parsed head.

llhttp (strict, no leniencies) already refuses bare CR or LF, obs-fold, a space before the colon, non-token names, NUL
and controls in values, Content-Length beside Transfer-Encoding, repeated, listed or signed Content-Length, unknown last
codings, malformed chunk sizes and extensions. This module refuses what llhttp lets through and this project does not
accept, each rule under its section of RFC 9112 (or of RFC 9110 where it says so).
"""

from __future__ import annotations

import re
from math import inf
from typing import TYPE_CHECKING, Final

from gateway.wire.messages import BodyKind, ProtocolError

if TYPE_CHECKING:
    from gateway.wire.messages import Fields, RequestHead, ResponseHead

BAD_REQUEST: Final = 400
NOT_IMPLEMENTED: Final = 501
VERSION_NOT_SUPPORTED: Final = 505
EXPECTATION_FAILED: Final = 417

MOST_DIGITS: Final = 18
"""Of a Content-Length: so many fit a signed 64-bit number."""

_NO_CONTENT: Final = 204
_NOT_MODIFIED: Final = 304
FIRST_INTERIM: Final = 100
FIRST_FINAL: Final = 200
LAST_FINAL: Final = 999
"""No class of RFC 9110 section 15 is above 599. A client takes such a status for a 5xx, and its framing is that of any
final response, so it is passed on; some servers mean something by it."""

HOST: Final = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_~-]+(?:\.[A-Za-z0-9_~-]+)*\.?)(?::[0-9]{1,5})?")
"""uri-host [":" port], RFC 9110 section 7.2; sub-delims and percent-encoding of reg-name are not accepted, nor are
empty labels (RFC 1035 section 3.1), which servers drop or keep, so that one host would have several names. A final dot
is the root."""

HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Fields that concern one connection only, and are never forwarded (RFC 9110 section 7.6.1)."""

_OF_OTHER_PROTOCOLS: Final = frozenset(
    {
        *(b"DESCRIBE", b"ANNOUNCE", b"SETUP", b"PLAY", b"PAUSE", b"TEARDOWN", b"GET_PARAMETER"),
        *(b"SET_PARAMETER", b"REDIRECT", b"RECORD", b"FLUSH", b"SOURCE"),
    }
)
"""Methods of RTSP and ICE, which llhttp parses as well."""

_SINGLE: Final = (b"host", b"content-length", b"transfer-encoding", b"expect")
_ASCII_ONLY: Final = (b"host", b"connection", b"transfer-encoding", b"expect", b"upgrade")


def check_request(head: RequestHead) -> None:
    """Check a request head, and set its ``kind`` and ``length``.

    Raises:
        ProtocolError: the request must be refused and its connection closed.
    """
    first = head.first
    if head.repeated:
        for name in _SINGLE:
            if name in head.repeated:
                raise ProtocolError(BAD_REQUEST, f"more than one {name.decode()} field")

    _check_host(head)

    # RFC 9110 section 5.5 makes bytes over 0x7F opaque. Ordinary fields may hold them; fields that decide may not.
    for name in _ASCII_ONLY:
        value = first.get(name)
        if value is not None and not value.isascii():
            raise ProtocolError(BAD_REQUEST, f"non-ASCII {name.decode()} field")

    _frame_request(head)

    _check_method(head.method)
    if head.upgrade:
        _check_upgrade(head)
    expect = first.get(b"expect")
    # RFC 9110 section 10.1.1: in HTTP/1.0 it has no meaning.
    if expect is not None and head.minor and expect.lower() != b"100-continue":
        raise ProtocolError(EXPECTATION_FAILED, "unknown expectation")


def _check_method(method: bytes) -> None:
    """Refuse the methods that this server does not implement."""
    if method == b"CONNECT":  # RFC 9110 section 9.3.6: it would be a tunnel to anywhere
        raise ProtocolError(NOT_IMPLEMENTED, "CONNECT is not supported")
    if method == b"TRACE":  # section 9.3.8: it would echo to the client what only the upstream may see
        raise ProtocolError(NOT_IMPLEMENTED, "TRACE is not supported")
    if method in _OF_OTHER_PROTOCOLS:
        raise ProtocolError(NOT_IMPLEMENTED, "unknown method")


def _check_host(head: RequestHead) -> None:
    """Check the Host field (section 3.2): a 1.1 request has exactly one, and its value is a host."""
    host = head.first.get(b"host")
    if host is None:
        if head.minor == 1:
            raise ProtocolError(BAD_REQUEST, "no host field")
    elif not HOST.fullmatch(host):
        raise ProtocolError(BAD_REQUEST, "malformed host field")


def _frame_request(head: RequestHead) -> None:
    """Determine a request's framing (section 6.3): chunked, else Content-Length, else no body."""
    coding = head.first.get(b"transfer-encoding")
    if coding is not None:
        if head.minor == 0:  # Section 6.1: faulty framing, whatever follows
            raise ProtocolError(BAD_REQUEST, "transfer-encoding in HTTP/1.0")
        if coding.lower() != b"chunked":  # Section 6.1: a coding that is not understood
            raise ProtocolError(NOT_IMPLEMENTED, "transfer coding other than chunked")
        if b"content-length" in head.first:  # Section 6.3, rule 3; llhttp refuses it first
            raise ProtocolError(BAD_REQUEST, "content-length beside transfer-encoding")
        head.kind = BodyKind.CHUNKED
        return
    length = head.first.get(b"content-length")
    if length is not None:
        head.length = parse_length(length, BAD_REQUEST)
        head.kind = BodyKind.LENGTH if head.length else BodyKind.NONE


def is_declined(head: RequestHead) -> bool:
    """Return whether the offer to switch protocols is ignored, and the request served as if it were not there.

    It is, by RFC 9110 section 7.8, in a request of HTTP/1.0, and may be if it has only protocols other than websocket.
    """
    if head.minor == 0 and head.method != b"CONNECT":
        return True
    offered = b",".join(head.every(b"upgrade")).lower().split(b",")
    return head.method != b"CONNECT" and not any(name.strip().startswith(b"websocket") for name in offered)


def _check_upgrade(head: RequestHead) -> None:
    """Check an upgrade: websocket only (RFC 9110 section 7.8), by a plain GET (RFC 6455 section 4.1)."""
    if head.first.get(b"upgrade", b"").lower() != b"websocket" or head.occurs_twice(b"upgrade"):
        raise ProtocolError(NOT_IMPLEMENTED, "upgrade to other than websocket")
    if head.method != b"GET" or head.kind is not BodyKind.NONE:
        raise ProtocolError(BAD_REQUEST, "websocket handshake that is not a plain GET")


def parse_length(value: bytes, status: int) -> int:
    """Parse a Content-Length (RFC 9110 section 8.6): digits and nothing else.

    Raises:
        ProtocolError: with `status`, the value is anything else.
    """
    if not value.isdigit() or len(value) > MOST_DIGITS:
        raise ProtocolError(status, "malformed content-length field")
    return int(value)


def check_response(head: ResponseHead, method: bytes) -> None:
    """Check a response to `method` by section 6.3, and set its ``kind`` and ``length``.

    Raises:
        ProtocolError: the upstream broke HTTP; status 502.
    """
    bad_gateway = 502
    if not FIRST_INTERIM <= head.status <= LAST_FINAL:
        raise ProtocolError(bad_gateway, "status code out of range")
    if head.occurs_twice(b"content-length") or head.occurs_twice(b"transfer-encoding"):
        raise ProtocolError(bad_gateway, "repeated framing field")
    coding = head.first.get(b"transfer-encoding")
    length = head.first.get(b"content-length")
    if coding is not None and (coding.lower() != b"chunked" or length is not None or head.minor == 0):
        raise ProtocolError(bad_gateway, "ambiguous framing")
    if length is not None:
        head.length = parse_length(length, bad_gateway)
    if head.status < FIRST_FINAL and (coding is not None or head.length):
        # Section 6.1 and RFC 9110 section 8.6 forbid both: a recipient that believes them takes the next head for a
        # body.
        raise ProtocolError(bad_gateway, "interim response with a body")
    # Rule 1: these never have a body, whatever their fields declare.
    if method == b"HEAD" or head.status < FIRST_FINAL or head.status in (_NO_CONTENT, _NOT_MODIFIED):
        head.kind = BodyKind.NONE
    elif coding is not None:  # rule 4
        head.kind = BodyKind.CHUNKED
    elif length is not None:  # rule 6
        head.kind = BodyKind.LENGTH if head.length else BodyKind.NONE
    else:  # rule 8
        head.kind = BodyKind.CLOSE
        head.keep_alive = False


def check_switch(head: ResponseHead) -> None:
    """Check a 101 that answers an upgrade to websocket (RFC 6455 section 4.1).

    Raises:
        ProtocolError: 502, it switches to another protocol, or its fields are wrong.
    """
    if head.first.get(b"upgrade", b"").lower() != b"websocket" or b"upgrade" not in connection_tokens(head):
        raise ProtocolError(502, "101 that does not switch to websocket")


def connection_tokens(fields: Fields) -> frozenset[bytes]:
    """Return the lower-case options of every Connection field line (RFC 9110 section 7.6.1)."""
    line = fields.first.get(b"connection")
    if line is None:
        return _NO_OPTIONS
    usual = _USUAL_OPTIONS.get(line)
    if usual is not None and not fields.occurs_twice(b"connection"):
        return usual
    return frozenset(
        token.strip().lower()
        for line in fields.every(b"connection")
        for token in line.split(b",")
        if token.strip()
    )


def rest_seconds(head: ResponseHead) -> float:
    """Return for how long the sender of `head` keeps an unused connection, less a second for the way of a request.

    It is the ``timeout`` of Keep-Alive (RFC 2068 section 19.7.1.1); infinite if it is not there or no number.
    """
    shortest = inf
    if b"keep-alive" not in head.first:
        return shortest
    for line in head.every(b"keep-alive"):
        for parameter in line.split(b","):
            name, _, value = parameter.partition(b"=")
            if name.strip().lower() == b"timeout" and value.strip().isdigit():
                shortest = min(shortest, max(float(value) - 1.0, 0.0))
    return shortest


UPGRADE: Final = b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
"""The fields by which both handshakes switch protocols, and the end of the head."""

_ANTICIPATES_A_BODY: Final = frozenset({b"POST", b"PUT", b"PATCH"})
"""Methods whose requests carry ``Content-Length: 0`` if they have no body (RFC 9110 section 8.6)."""


def request_framing(head: RequestHead) -> bytes:
    """Return the framing fields of a forwarded request, and the end of its head."""
    if head.kind is BodyKind.LENGTH:
        return b"Content-Length: %d\r\n\r\n" % head.length
    if head.kind is BodyKind.CHUNKED:
        return b"Transfer-Encoding: chunked\r\n\r\n"
    if head.upgrade:
        return UPGRADE
    return b"Content-Length: 0\r\n\r\n" if head.method in _ANTICIPATES_A_BODY else b"\r\n"


def same_framing(head: RequestHead) -> bytes:
    """Return a request head for a parser alone: nothing of `head` but how its message and its connection end."""
    closing = b"" if head.keep_alive else b"Connection: close\r\n"
    return b"POST / HTTP/1.1\r\n" + closing + request_framing(head)


def chunk(body: bytes) -> bytes:
    """Frame non-empty `body` as one chunk (section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(body), body)


def chunked(pieces: list[bytes], *, complete: bool) -> list[bytes]:
    """Frame each of the non-empty `pieces` of a body as one chunk; append the last chunk if they are `complete`."""
    framed = [chunk(piece) for piece in pieces]
    if complete:
        framed.append(LAST_CHUNK)
    return framed


_USUAL_OPTIONS: Final = {
    spelled: frozenset({spelled.lower()}) for spelled in (b"keep-alive", b"Keep-Alive", b"close", b"Close")
}
"""Memo of the most common values of a Connection field line."""

_NO_OPTIONS: Final[frozenset[bytes]] = frozenset()

LAST_CHUNK: Final = b"0\r\n\r\n"
"""The end of a chunked body without trailers."""
