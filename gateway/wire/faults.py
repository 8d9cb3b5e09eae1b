"""Error tree of upstream faults. ``gateway/proxy/refusals.py`` maps every one of them to an answer."""

from __future__ import annotations

from typing import Final, TypeVar

CUT_OFF: Final = "the upstream closed the connection before its response had ended"
UNSENT: Final = "the upstream closed the connection before a request was sent on it"

_Error = TypeVar("_Error", bound=BaseException)


def caused(error: _Error, cause: BaseException) -> _Error:
    """Return `error`, caused by `cause`: what is compiled leaves the ``from`` of a ``raise`` out."""
    error.__cause__ = cause
    return error


def alone(error: _Error) -> _Error:
    """Return `error` without its traceback and its cause, for whoever stores it: their frames refer to its holder."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


class UpstreamFault(Exception):
    """Base class of upstream faults."""


class UpstreamLost(UpstreamFault):
    """The connection ended before the response was complete."""


class UpstreamTimedOut(UpstreamFault):
    """The upstream was silent for longer than its timeout."""


class ExpectationUnanswered(UpstreamTimedOut):
    """The upstream did not answer Expect, and the client waited for that: it says nothing about the endpoint.

    A server may ignore the field (RFC 9110 section 10.1.1), and then any client could make it look silent.
    """


class UpstreamNotConnected(UpstreamTimedOut):
    """No connection could be opened in time: nothing was sent."""


class UpstreamMalformed(UpstreamFault):
    """The upstream's response is not valid HTTP."""


class UpstreamUnreachable(UpstreamFault):
    """No connection could be opened."""


class UpstreamTlsFailed(UpstreamFault):
    """TLS with the upstream failed: neither side's fault is known to the client, the log has what was wrong.

    Attributes:
        kind: What was wrong, for metrics.
    """

    def __init__(self, text: str, kind: str) -> None:
        super().__init__(text)
        self.kind = kind


class DescriptorsExhausted(Exception):
    """The process has no file descriptor left for a connection, which is no fault of the upstream."""


class PoolExhausted(UpstreamFault):
    """Every connection is busy, and the queue of waiting exchanges is full or was waited in for too long."""
