"""Repetition of one request: whether it may be sent a second time and for which cause, and what is stored for that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.proxy.stored_body import StoredBody
from gateway.proxy.traffic_faults import TryTimedOut
from gateway.proxy.upstream_selection import UNREACHED
from gateway.traffic.retry import SAFE
from gateway.wire.faults import UpstreamLost
from gateway.wire.messages import BodyKind

if TYPE_CHECKING:
    from gateway.traffic.retry import RetryPolicy
    from gateway.wire.faults import UpstreamFault
    from gateway.wire.inbound import Inbound
    from gateway.wire.upstream import UpstreamConnection

_KEY: Final = b"idempotency-key"


class Repetition:
    """Repetition of one request.

    Attributes:
        body: Stores the request's body; None if there is none to store.
        committed: The client has a byte of an answer, so nothing is sent again.
        harmless: A second request does no harm, by its method and its fields, and can be sent, by its body's size.
    """

    __slots__ = ("_bodiless", "_inbound", "_retry", "_was_stale", "body", "committed", "harmless")

    def __init__(self, inbound: Inbound, retry: RetryPolicy | None) -> None:
        self._inbound = inbound
        self._retry = retry
        self._was_stale = False
        self.body: StoredBody | None = None
        self.committed = False
        head = inbound.head
        self._bodiless = bodiless = head.kind is BodyKind.NONE
        harmless = head.method in SAFE and bodiless
        if retry is not None:
            has_key = bool(head.first.get(_KEY)) and not head.occurs_twice(_KEY)
            harmless = retry.allows(head.method, has_key=has_key)
            if harmless and not bodiless:
                if retry.body_bytes and head.length <= retry.body_bytes:
                    self.body = StoredBody(retry.body_bytes)
                harmless = self.body is not None
        self.harmless = harmless

    @property
    def is_over(self) -> bool:
        """True if the client has something of an answer."""
        return self.committed or self._inbound.answered

    def can(self) -> bool:
        """Return whether the request can be sent again after it was sent."""
        return (
            self.harmless
            and not (self.is_over or self._inbound.head.upgrade)
            and (self.body is None or self.body.whole)
        )

    def can_after_stale(self) -> bool:
        """Return whether it can be sent again after it met a dead kept-alive connection."""
        retry = self._retry
        if retry is None or retry.on_stale:
            return (self._inbound.head.method in SAFE and self._bodiless) or self.can()
        return retry.on_reset and self.can()

    def must_be_alive(self) -> bool:
        """Return whether its connection has to be one that the upstream has not closed.

        It has to if the request could not be sent again. A body of unknown length may outgrow what is stored of it.
        """
        may_outgrow = self.body is not None and self._inbound.head.kind is BodyKind.CHUNKED
        return may_outgrow or not self.can_after_stale()

    def cause(self, fault: UpstreamFault, connection: UpstreamConnection | None, *, waits: bool) -> str:
        """Return the cause for which a failed attempt may be followed by another; empty if it may not.

        Args:
            fault: How the attempt failed.
            connection: The connection that it was sent on; None if there was none, and nothing was sent.
            waits: The policy waits for a connection (``wait_seconds``), so opening one is not tried again here.
        """
        retry = self._retry
        if self.is_over:
            return ""
        if isinstance(fault, TryTimedOut):
            may_follow = retry is not None and retry.on_timeout and (connection is None or self.can())
            return "timeout" if may_follow else ""
        if connection is None:
            is_opened_again = retry is not None and retry.on_connect and not waits
            return "connect" if is_opened_again and isinstance(fault, UNREACHED) else ""
        if isinstance(fault, UpstreamLost) and not connection.touched:
            if connection.served > 1 and not self._was_stale and self.can_after_stale():
                self._was_stale = True
                return "stale"
            return "reset" if retry is not None and retry.on_reset and self.can() else ""
        return ""
