"""Request lines as bytes: what llhttp does not tell of them, or does not read as RFC 9110 and RFC 9112 ask for.

Laws:

- Only the bytes of the start of a request are looked at, and only when llhttp refused them or they are not ASCII.
- A query's byte over 0x7F has one spelling that every server reads alike (RFC 3986 section 2.1), and goes on in it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import httptools

from gateway.wire.framing import BAD_REQUEST, NOT_IMPLEMENTED, VERSION_NOT_SUPPORTED
from gateway.wire.http2_refusal import PREFACE
from gateway.wire.messages import ProtocolError

if TYPE_CHECKING:
    from gateway.wire.inbound import Inbound
    from gateway.wire.messages import RequestHead

_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_METHOD: Final = re.compile(
    rb"[\r\n]*(" + _TOKEN + rb"+)(?: [^\x00-\x20\x7f]+ HTTP/[0-9]\.[0-9]\r?(?:\n|$)|$)"
)
_UNFINISHED: Final = re.compile(rb"[\r\n]*(" + _TOKEN + rb"+)(?: [^\r\n]*)?$")
_OVER_ASCII: Final = re.compile(rb"[\x80-\xff]")

_OF_RTSP: Final = "Invalid method for HTTP"
"""What llhttp says of a method that only RTSP has, such as PLAY."""

_LONGEST_METHOD: Final = 32
"""A longer method is not recorded."""

_HTTP_2: Final = re.compile(rb"[\r\n]*PRI [^ \r\n]+ HTTP/2\.[0-9]\r?\n")
"""The request line that HTTP/2 begins with."""
_OF_HTTP: Final = re.compile(rb"[\r\n]*[^ \r\n]+ +[^ \r\n]+(?: +HTTP/[0-9]|\r?\n)")
"""A request line of HTTP; one of HTTP/0.9 has no protocol (RFC 1945 section 4.1)."""
_OTHER_PROTOCOL: Final = re.compile(r"Expected HTTP/|for (?:RTSP|ICE)/")
"""What llhttp says of a protocol that is not HTTP; it reads RTSP and ICE as well."""


def refusal(error: httptools.HttpParserError, start: bytes, inbound: Inbound | None) -> ProtocolError:
    """Translate an error of the parser into the answer to the client.

    An unknown method is entered into the head of the request.

    Args:
        error: What the parser raised.
        start: What has come of the request.
        inbound: The request.
    """
    context = error.__context__
    if isinstance(context, ProtocolError):
        return context
    if isinstance(error, httptools.HttpParserCallbackError):
        raise context or error
    if isinstance(error, httptools.HttpParserInvalidMethodError) or _OF_RTSP in str(error):
        method = _unknown_method(start)
        if method is not None:
            if inbound is not None and len(method) <= _LONGEST_METHOD:
                inbound.head.method = method
            return ProtocolError(NOT_IMPLEMENTED, "unknown method")
    elif start.lstrip(b"\r\n").startswith(b"PRI "):
        return _refusal_of_pri(start)
    elif _OTHER_PROTOCOL.search(str(error)):
        return _other_protocol()
    return ProtocolError(BAD_REQUEST, f"malformed request: {error}")


def check_protocol(start: bytes, head: RequestHead) -> None:
    """Check that a request line that llhttp has read names HTTP, and not RTSP or ICE, which llhttp reads too.

    Raises:
        ProtocolError: it does not.
    """
    usual = start.startswith(b" HTTP/", len(head.method) + 1 + len(head.target))
    if not usual and not _OF_HTTP.match(start):
        raise _other_protocol()


def _other_protocol() -> ProtocolError:
    return ProtocolError(BAD_REQUEST, "malformed request: the protocol is not HTTP, use HTTP/1.1")


def rest_of_preface(start: bytes, *, first: bool) -> bytes | None:
    """Return what has yet to come of HTTP/2's preface; None if `start` is the start of another request.

    llhttp waits for the rest of it behind the method PRI, whatever follows.

    Raises:
        ProtocolError: the request has that method and is no preface, or not the `first` on its connection.
    """
    if not start.lstrip(b"\r\n").startswith(b"PRI ") or not ends_in(start):
        return None
    if not first or not PREFACE.startswith(start):
        raise _refusal_of_pri(start)
    return PREFACE[len(start) :]


def _refusal_of_pri(start: bytes) -> ProtocolError:
    """Return the refusal of the method PRI, which HTTP/1.1 does not have (RFC 9113 section 11.6)."""
    if _HTTP_2.match(start):
        return ProtocolError(VERSION_NOT_SUPPORTED, "HTTP/2 is not spoken here, use HTTP/1.1")
    return ProtocolError(NOT_IMPLEMENTED, "unknown method")


def _unknown_method(start: bytes) -> bytes | None:
    """Return the method of a request that llhttp refused for its method; None if `start` begins no request.

    `start` is what has come of it. An unknown method is not implemented (RFC 9110 section 9.1); anything else is
    malformed.
    """
    match = _METHOD.match(start) or _UNFINISHED.match(start)
    return None if match is None else match.group(1)


def new_parser(protocol: object) -> httptools.HttpRequestParser:
    """Return a parser that leaves the version of HTTP to `protocol`, whose callbacks it calls, and is strict else."""
    parser = httptools.HttpRequestParser(protocol)
    parser.set_dangerous_leniencies(lenient_version=True)
    return parser


def new_response_parser(protocol: object) -> httptools.HttpResponseParser:
    """Return such a parser of responses."""
    parser = httptools.HttpResponseParser(protocol)
    parser.set_dangerous_leniencies(lenient_version=True)
    return parser


def end_of_head(raw: bytes, at: int, before: bytes, most: int) -> int:
    """Return the index in `raw` behind the head that goes on at `at`; `most` bytes further if it does not end there.

    `before` is what came of the head before `raw`.
    """
    if before:  # it may end in bytes of which some came before
        tail = before[-3:]
        end = (tail + raw[at : at + 3]).find(b"\r\n\r\n")
        if end >= 0:
            return at + end + 4 - len(tail)
    end = raw.find(b"\r\n\r\n", at, at + most)
    return at + most if end < 0 else end + 4


def ends_in(start: bytes) -> bool:
    """Return whether the request line that `start` begins with ends in it; empty lines before it do not count."""
    return b"\n" in start.lstrip(b"\r\n")


def with_ascii_query(start: bytes, *, asked: bool) -> bytes:
    """Return `start` with the query's bytes over 0x7F percent-encoded.

    Args:
        start: Bytes of a request from within its request line on.
        asked: The query has begun before them.
    """
    lead = len(start) - len(start.lstrip(b"\r\n"))
    end = start.find(b"\n", lead)
    line = start if end < 0 else start[:end]
    before, mark, query = (b"", b"", line) if asked else line.partition(b"?")
    query, space, version = query.partition(b" ")
    encoded = _OVER_ASCII.sub(lambda byte: b"%%%02X" % byte.group()[0], query)
    return b"".join((before, mark, encoded, space, version, start[len(line) :]))
