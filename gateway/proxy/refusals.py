"""Error table of the pipeline: it maps upstream faults and protocol errors here, and others by ``gateway.faults``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.faults import Fault, describe
from gateway.proxy.clock import http_date
from gateway.proxy.traffic_faults import (
    BreakerOpen,
    DeadlinePassed,
    TooManyUploads,
    WaitedTooLong,
    WaitingRoomFull,
)
from gateway.security_fields import SECURITY_FIELDS
from gateway.wire.drive import Abandoned
from gateway.wire.faults import (
    DescriptorsExhausted,
    PoolExhausted,
    UpstreamFault,
    UpstreamMalformed,
    UpstreamTimedOut,
    UpstreamTlsFailed,
    UpstreamUnreachable,
)
from gateway.wire.listener import TOO_MANY_OF_NETWORK
from gateway.wire.messages import ProtocolError

UNAVAILABLE: Final = 503
_RETRY: Final = (("Retry-After", "1"),)

_PROTOCOL_REASONS: Final = {
    408: "request_timeout",
    413: "body_too_large",
    414: "target_too_long",
    431: "head_too_large",
    501: "not_implemented",
    503: "too_many_connections",
    505: "http_version",
}


@dataclass(frozen=True, slots=True)
class _Row:
    status: int
    message: str
    reason: str


_UPSTREAM: dict[type[UpstreamFault], _Row] = {
    PoolExhausted: _Row(503, "The upstream is busy, try again shortly", "upstream_busy"),
    BreakerOpen: _Row(503, "The upstream has too many requests, try again shortly", "upstream_breaker"),
    TooManyUploads: _Row(
        503, "Too many uploads come from your network at once, try again shortly", "too_many_uploads"
    ),
    WaitingRoomFull: _Row(503, "The upstream is away, try again shortly", "upstream_waiting"),
    DeadlinePassed: _Row(504, "The answer did not begin in time", "upstream_deadline"),
    UpstreamUnreachable: _Row(502, "The upstream cannot be reached", "upstream_unreachable"),
    WaitedTooLong: _Row(502, "The upstream cannot be reached", "upstream_unreachable"),
    UpstreamTlsFailed: _Row(502, "The upstream cannot be reached securely", "upstream_tls"),
    UpstreamTimedOut: _Row(504, "The upstream did not answer in time", "upstream_timeout"),
    UpstreamMalformed: _Row(502, "The upstream's response is malformed", "upstream_malformed"),
    UpstreamFault: _Row(502, "The upstream closed the connection", "upstream_lost"),
}


def refuse(error: Exception) -> Fault:
    """Return the answer to `error`. It describes an upstream's fault in general words only; the log has the details."""
    if isinstance(error, ProtocolError):
        reason = _PROTOCOL_REASONS.get(error.status, "malformed_request")
        if error.reason == TOO_MANY_OF_NETWORK:
            reason = "too_many_of_network"
        return Fault(error.status, error.reason[:1].upper() + error.reason[1:], reason)
    if isinstance(error, UpstreamFault):
        row = next(_UPSTREAM[kind] for kind in type(error).__mro__ if kind in _UPSTREAM)
        return Fault(row.status, row.message, row.reason, _RETRY if row.status == UNAVAILABLE else ())
    if isinstance(error, DescriptorsExhausted):
        return Fault(503, "The gateway has too many connections, try again shortly", "descriptors", _RETRY)
    if isinstance(error, Abandoned):
        return Fault(503, "The gateway is shutting down, try again", "shutting_down", _RETRY)
    return describe(error)


def answer_start(fault: Fault, request_id: bytes) -> bytes:
    """Return the status line and field lines of the answer to a fault."""
    lines = [
        f"HTTP/1.1 {fault.status} {_PHRASES.get(fault.status, 'Error')}",
        "Content-Type: application/json",
        f"Date: {http_date().decode('ascii')}",
        "Cache-Control: no-store",
        f"X-Request-ID: {request_id.decode('ascii')}",
        *(f"{name}: {value}" for name, value in (*SECURITY_FIELDS, *fault.headers)),
    ]
    return "\r\n".join([*lines, ""]).encode("ascii")


_PHRASES: Final = {
    308: "Permanent Redirect",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    413: "Content Too Large",
    414: "URI Too Long",
    415: "Unsupported Media Type",
    417: "Expectation Failed",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
    508: "Loop Detected",
}
"""Reason phrases of RFC 9110 section 15, RFC 6585 and RFC 5842."""
