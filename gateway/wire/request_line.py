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
from gateway.wire.messages import Http2Preface, ProtocolError

if TYPE_CHECKING:
    from gateway.wire.inbound import Inbound

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

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""The bytes with which a client begins HTTP/2 without asking first (RFC 9113 section 3.4)."""


def refusal(
    error: httptools.HttpParserError, start: bytes, inbound: Inbound | None, *, first: bool
) -> ProtocolError:
    """Translate an error of the parser into the answer to the client.

    An unknown method is entered into the head of the request.

    Args:
        error: What the parser raised.
        start: What has come of the request.
        inbound: The request.
        first: No request came before it on this connection.
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
    elif "PRI/Upgrade" in str(error):
        if first and start == _PREFACE:
            return Http2Preface()
        return ProtocolError(VERSION_NOT_SUPPORTED, "HTTP/2 is not spoken here, use HTTP/1.1")
    return ProtocolError(BAD_REQUEST, f"malformed request: {error}")


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
