"""Timer of one attempt: it ends an attempt whose upstream is late, and stores when the upstream had the whole request.

Laws:

- The time runs while the gateway waits for the upstream: while a connection is opened, and once the upstream was sent
  the whole request. It is stopped while the client still has to send its body.
- All these times of one attempt are added up.
- A pause of the gateway's own process does not count (:mod:`authcore.pause_aware`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from authcore.pause_aware import PauseAwareTimer
from gateway.proxy.traffic_faults import TryTimedOut

if TYPE_CHECKING:
    from gateway.wire.downstream import DownstreamConnection
    from gateway.wire.flow import Sink


class AttemptTimer:
    """Timer of the attempts of one request, one after the other.

    It is a :class:`~gateway.wire.flow.Sink` as well: it passes a body on, and so it sees the end of it.

    Attributes:
        whole_since: Monotonic seconds since when the upstream has the whole request; None while it does not have it.
    """

    __slots__ = ("_client", "_is_over", "_left", "_seconds", "_sink", "_timer", "whole_since")

    def __init__(self, client: DownstreamConnection, seconds: float) -> None:
        """End the request of `client` with ``TryTimedOut`` after `seconds` of an attempt; 0 sets no limit."""
        self._client = client
        self._seconds = self._left = seconds
        self._is_over = True
        self._timer: PauseAwareTimer | None = None
        self._sink: Sink | None = None
        self.whole_since: float | None = None

    def begin(self) -> None:
        """Begin an attempt: its time runs from now on."""
        self.whole_since = None
        self._left = self._seconds
        self._is_over = False
        self._count()

    def sent(self, now: float) -> None:
        """Note that the upstream was sent the whole request at `now`, in monotonic seconds."""
        self.whole_since = now

    def towards(self, sink: Sink) -> AttemptTimer:
        """Return a sink that passes the rest of the body on to `sink`; the time is stopped until the body ends."""
        self._sink = sink
        if self._timer is not None:
            self._left = self._timer.left
            self._stop()
        return self

    def body(self, piece: bytes) -> None:
        """Pass a piece on."""
        if self._sink is not None:
            self._sink.body(piece)

    def end(self) -> None:
        """Pass the end on; the time runs again, unless the attempt is over."""
        if self._sink is not None:
            self._sink.end()
        self.whole_since = time.monotonic()
        self._count()

    def over(self) -> None:
        """End the attempt's time. The rest of the body is still passed on."""
        self._stop()
        self._is_over = True

    def _count(self) -> None:
        if self._seconds and not self._is_over:
            self._timer = PauseAwareTimer(self._left, self._expire)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        self._timer = None
        self._client.throw(
            TryTimedOut("the head of the response did not come within the time of one attempt")
        )
