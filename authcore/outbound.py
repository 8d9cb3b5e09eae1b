"""Outbound port: HTTP requests that the domain sends to servers of others, such as an identity provider.

Laws for every implementation:

- A request goes only to a host that it names in ``hosts``, whatever its URL is.
- A redirect is not followed: it is a response like any other.
- Time and bytes are bounded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


class OutboundOutcome(StrEnum):
    """Outcome of an outbound request: the label of its metric."""

    OK = "ok"
    """There is a response, of any status."""
    HOST = "host"
    """The URL is none that the request may go to."""
    ADDRESS = "address"
    """The name leads to an address that may not be connected to."""
    SIZE = "size"
    """The response is larger than the limit."""
    TIMEOUT = "timeout"
    FAILED = "failed"
    """The server cannot be reached, its certificate is not good, or it speaks no HTTP."""


class OutboundFailed(Exception):
    """A request without a response; the text says why, for the log, and repeats no header, query or body.

    Attributes:
        outcome: How it ended.
    """

    def __init__(self, outcome: OutboundOutcome, words: str) -> None:
        super().__init__(words)
        self.outcome = outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundRequest:
    """Request to a server of others.

    Attributes:
        url: An absolute URL with ``https``; ``http`` is for loopback alone.
        hosts: The hosts that it may go to, in lower case, without a port.
        method: Its method.
        headers: Field lines besides those that the client writes itself.
        body: The content; None for none.
    """

    url: str
    hosts: frozenset[str]
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class OutboundResponse:
    """Response to a request.

    Attributes:
        status: Its status.
        body: Its content.
        max_age_seconds: ``max-age`` of its Cache-Control; None if it has none.
    """

    status: int
    body: bytes = field(repr=False)
    max_age_seconds: float | None = None


class Outbound(Protocol):
    """HTTP client of the domain."""

    async def send(self, request: OutboundRequest) -> OutboundResponse:
        """Send a request and return its response, whatever the status.

        Raises:
            OutboundFailed: there is no response, or it may not be asked for.
        """
