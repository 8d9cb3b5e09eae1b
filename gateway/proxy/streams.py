"""Streams: requests and answers whose bodies flow on after the caller was let in, and how they end early.

Laws:

- A body that flows for longer than ``YOUNG_SECONDS`` is watched as a WebSocket is (:mod:`gateway.proxy.sockets`), and
  ends when its caller's access has ended. Shorter ones are not registered there.
- An answer that was broken off must not look complete. Only an event stream is complete at any event's boundary: a
  client drops an unfinished event and reconnects (WHATWG HTML, server-sent events). It is ended there if the boundary
  comes within ``EVENT_SECONDS``. Any other answer is reset, whatever its framing.
- An upload is refused if no answer has begun. The upstream sees a request that broke off.
- A request that arrived whole is owed its answer: a caller who ends their own session is told so. What of that answer
  takes longer than ``YOUNG_SECONDS`` is broken off.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Final

from authcore import errors
from authcore.principal import ANONYMOUS, AuthMethod
from gateway.faults import TABLE, GatewayFault

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.proxy.exchange import Exchange
    from gateway.proxy.sockets import Socket, Sockets
    from gateway.wire.deadlines import Deadlines
    from gateway.wire.flow import Sink
    from gateway.wire.inbound import Inbound
    from gateway.wire.messages import ResponseHead

YOUNG_SECONDS: Final = 0.25
EVENT_SECONDS: Final = 0.25
EVENTS: Final = b"text/event-stream"
_BOUNDARY: Final = re.compile(rb"\n\n|[\r\n]\r\n?")
"""An empty line, which ends an event: two line ends in a row, each CRLF, LF or CR."""
_AT_BOUNDARY: Final = (b"\n\n", b"\r\r", b"\n\r", b"\n\r\n", b"\r\r\n")
_LONGEST_BOUNDARY: Final = 3


class StreamEnded(GatewayFault):
    """Error that ends a body: the caller's access has ended, or the gateway stops.

    Attributes:
        whole: The answer is an event stream at an event's boundary, so it may be ended by its framing.
    """

    status = 401
    reason = "revoked"

    def __init__(self, text: str, reason: str, status: int, method: AuthMethod | None = None) -> None:
        """`text` and `reason` are for the record; `method` is how the caller proved who they are."""
        super().__init__(f"Broken off: {text}")
        self.reason = reason
        self.status = status
        self.whole = False
        if status == StreamEnded.status:
            refused = errors.ApiKeyRejected if method is AuthMethod.API_KEY else errors.TokenRejected
            self.headers = dict(TABLE[refused][1])


class Streams:
    """Registry of the streams that are open.

    Attributes:
        events: The event streams among them, which a gateway that stops ends one after the other.
    """

    def __init__(self, sockets: Sockets, deadlines: Deadlines) -> None:
        """`sockets` watches over what callers have open; `deadlines` says when a stream is long."""
        self.sockets = sockets
        self.deadlines = deadlines
        self.events: set[Stream] = set()

    def begin(self, exchange: Exchange) -> Stream:
        """Return a new stream, for an exchange whose request or answer is not complete."""
        return Stream(self, exchange)


class Stream:
    """Stream: an exchange whose body still flows.

    Attributes:
        deadline: When ``expire`` is called next; see :mod:`~gateway.wire.deadlines`.
    """

    __slots__ = ("_ended", "_events", "_exchange", "_over", "_owed", "_socket", "_streams", "deadline")

    def __init__(self, streams: Streams, exchange: Exchange) -> None:
        self._streams = streams
        self._exchange = exchange
        self._socket: Socket | None = None
        self._events: Events | None = None
        self._ended: StreamEnded | None = None
        self._owed: StreamEnded | None = None  # why it ends once its answer has had time
        self._over = False
        self.deadline: float | None = None
        permit = exchange.permit
        if permit is not None and permit.principal is not ANONYMOUS:
            self.deadline = streams.deadlines.after(YOUNG_SECONDS)
            streams.deadlines.watched.add(self)

    def answered(self, response: ResponseHead, begun: list[bytes], *, measured: bool) -> Sink:
        """Return the sink for the rest of the answer.

        `begun` is what has been written of it. `measured` says that its head has its length.
        """
        inbound = self._exchange.inbound
        if self._owed is not None:
            self.deadline = self._streams.deadlines.after(YOUNG_SECONDS)
        if measured or not is_of_events(response):
            return inbound
        self._streams.events.add(self)
        if is_encoded(response):
            return inbound
        self._events = Events(inbound, begun)
        return self._events

    def over(self) -> None:
        """Forget the stream, because its exchange has ended, and whatever refers back to it."""
        self._over = True
        self._streams.events.discard(self)
        self._streams.deadlines.watched.discard(self)
        self._streams.sockets.ended(self._socket)
        self._socket = self._events = self._ended = self._owed = None

    def expire(self) -> None:
        """Register the stream with the watch, as it is no short answer; if it is to end, break it off."""
        if self._ended is not None:
            self._throw(self._ended)
        elif self._owed is not None:
            self._end(self._owed)
        elif self._socket is None:
            sockets, exchange = self._streams.sockets, self._exchange
            socket = sockets.opened(
                self, exchange.permit, sockets.now(), kind=sockets.streams, since=exchange.started
            )
            self._socket = None if self._over else socket

    def close(self, code: int, text: str, why: str) -> None:  # noqa: ARG002 -- streams have no close code
        """End the stream, because its caller's access has ended."""
        permit = self._exchange.permit
        method = None if permit is None else permit.principal.method
        if why == "expired" and permit is not None:
            expires_at = permit.principal.expires_at
            if expires_at is None or self._streams.sockets.now() < expires_at:
                text = "open for longer than GATEWAY_STREAM_MAX_SECONDS"
                self._end(StreamEnded(text, why, 408))
                return
        self._end(StreamEnded(text, why, 401, method))

    def leave(self) -> None:
        """End an event stream because the gateway stops; its client reconnects elsewhere."""
        self._end(StreamEnded("the gateway is stopping", "drained", 503))

    def _end(self, ended: StreamEnded) -> None:
        if self._ended is not None:
            return
        inbound, events = self._exchange.inbound, self._events
        if inbound.complete and not inbound.answered:
            self._owed = ended
            return
        self._ended = ended
        if not inbound.answered or events is None:
            self._throw(ended)
        elif events.between:
            self._end_whole()
        else:
            self.deadline = self._streams.deadlines.after(EVENT_SECONDS)
            self._streams.deadlines.watched.add(self)
            events.stop(self._end_whole)

    def _end_whole(self) -> None:
        """End an event stream between two events. A client that takes nothing is reset: it would not see the end."""
        if self._ended is not None:
            self._ended.whole = not self._exchange.inbound.connection.full
            self._throw(self._ended)

    def _throw(self, ended: StreamEnded) -> None:
        if not self._over:
            self._exchange.inbound.connection.throw(ended)


class Events:
    """Sink of an event stream: it passes the bytes on, and finds where events end."""

    __slots__ = ("_inbound", "_stop", "_stopped", "_tail")

    def __init__(self, inbound: Inbound, begun: list[bytes]) -> None:
        self._inbound = inbound
        self._tail = b"".join(begun)[-_LONGEST_BOUNDARY:]
        self._stop: Callable[[], None] | None = None
        self._stopped = False

    @property
    def between(self) -> bool:
        """True if no event is unfinished."""
        return not self._tail or self._tail.endswith(_AT_BOUNDARY)

    def stop(self, stopped: Callable[[], None]) -> None:
        """Pass nothing on beyond the end of the present event, and call `stopped` then, in a later turn of the loop."""
        self._stop = stopped

    def body(self, piece: bytes) -> None:
        """Write a piece."""
        if self._stopped:
            return
        if self._stop is not None:
            for boundary in _BOUNDARY.finditer(self._tail + piece):
                end = boundary.end() - len(self._tail)
                if end > 0:
                    self._stopped = True
                    self._inbound.body(piece[:end])
                    asyncio.get_running_loop().call_soon(self._stop)
                    return
        self._inbound.body(piece)
        self._tail = (self._tail + piece[-_LONGEST_BOUNDARY:])[-_LONGEST_BOUNDARY:]

    def end(self) -> None:
        """Write the end, which is the upstream's own."""
        self._inbound.end()


def is_of_events(response: ResponseHead) -> bool:
    """Return whether a response is an event stream. It is called for long responses only: this name is not indexed."""
    return any(
        name.lower() == b"content-type" and value.lower().startswith(EVENTS)
        for name, value in response.fields
    )


def is_encoded(response: ResponseHead) -> bool:
    """Return whether a response has a content coding, in which boundaries of events cannot be seen."""
    return any(
        name.lower() == b"content-encoding" and value.lower() != b"identity"
        for name, value in response.fields
    )
