"""After a 101: bytes both ways until either side ends (RFC 9110 section 7.8, RFC 6455).

Both transports are taken from their connections and given to the two ends of a :class:`Tunnel`. Laws:

- Bytes are not touched: what arrives at one end is written at the other, in order, with backpressure. Where frames
  begin and end is kept track of, so that the gateway can end a socket between two of them.
- A socket that is closed here gets a Close frame on both sides (RFC 6455 section 7.1.2), and nothing behind it. A side
  in the midst of a frame gets it at the frame's end. What has not ended within a second is dropped.
- An end that finishes sending (FIN) is passed on as just that; the tunnel is over when both have, or either is lost.
- The connections are told of their loss when their transports are gone, as if they had kept them.
- A tunnel in which nothing moves either way for ``idle_seconds`` is closed. There is no total limit here.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from gateway.wire.drive import Signal
from gateway.wire.ends import End
from gateway.wire.frames import GOING_AWAY, close_frame

if TYPE_CHECKING:
    from gateway.wire.deadlines import Deadlines
    from gateway.wire.ends import Owner
    from gateway.wire.threshold import Threshold

FRAME_SECONDS: Final = 0.5
"""So long a frame that is under way may take to end, when its socket is closed here."""
ANSWER_SECONDS: Final = 0.9
"""So long, all in all, the client may take to answer a Close frame."""


class Tunnel:
    """Two transports joined.

    Attributes:
        up: Bytes passed from the client to the upstream.
        down: Bytes passed from the upstream to the client.
        idled: It ended because nothing moved.
        parted: Why it was closed here; empty when it was not.
    """

    def __init__(self, deadlines: Deadlines, idle_seconds: float) -> None:
        self._deadlines = deadlines
        self._idle_seconds = idle_seconds
        self._ended: Signal[None] = Signal()
        self._open = 2
        self._threshold: Threshold | None = None
        self.deadline: float | None = None
        self.up = 0
        self.down = 0
        self.idled = False
        self.parted = ""

    def join(
        self,
        client: tuple[asyncio.Transport, Owner],
        upstream: tuple[asyncio.Transport, Owner],
        early: bytes = b"",
        threshold: Threshold | None = None,
    ) -> None:
        """Let bytes flow between two transports, each with the connection that had it.

        `early` is what the upstream sent behind its 101, which the client has been given. Before a `threshold` the
        client's bytes wait until it is opened.
        """
        near, far = End(self, *client), End(self, *upstream)
        far.frames.feed(early)
        near.peer, far.peer = far, near
        self._near = near
        self._far = far
        self._deadlines.watched.add(self)
        self.touch()
        for end in (near, far):
            end.transport.set_protocol(end)
        if threshold is not None:
            self._threshold = threshold
            threshold.stand_before(self, near)
        for end, full in ((near, upstream[1].full), (far, client[1].full)):
            end.peer.full = full
            if end.transport.is_closing():
                end.peer.finish()
            elif full:  # it has been told so already, and is told only once: by `resume_writing` it goes on
                end.transport.pause_reading()
            else:
                end.transport.resume_reading()

    async def ended(self) -> None:
        """Return when both transports are gone."""
        await self._ended

    def touch(self) -> None:
        """Something moved."""
        self.deadline = self._deadlines.after(self._idle_seconds)

    def passed(self, end: End, count: int) -> None:
        """Count bytes that arrived at `end`."""
        if end is self._near:
            self.up += count
        else:
            self.down += count
        self.touch()

    def expire(self) -> None:
        """Nothing moved for too long."""
        self.idled = True
        self.abort()

    def abort(self) -> None:
        """Drop both transports at once."""
        self._near.transport.abort()
        self._far.transport.abort()

    def leave(self) -> None:
        """End because the gateway does."""
        self.close(GOING_AWAY, "the gateway is stopping", "drained")

    def close(self, code: int, text: str, why: str) -> None:
        """Close the socket on both sides, telling the client `code` and `text`; `why` is for the record."""
        if self.parted:
            return
        self.parted = why
        if self._open < 2:  # noqa: PLR2004 -- one side is gone, and the other takes what is left for it
            self.abort()
            return
        self._far.part(close_frame(code, text, masked=False))
        self._near.part(close_frame(GOING_AWAY, "", masked=True))
        if self._threshold is not None:
            self._threshold.give_up()
        loop = asyncio.get_running_loop()
        loop.call_later(FRAME_SECONDS, self._cut)
        loop.call_later(ANSWER_SECONDS, self.hang_up)

    def _cut(self) -> None:
        """Wait for the end of no frame any more."""
        if not self._far.parted:
            self.abort()  # the client cannot be told: it stands in the midst of a frame
        elif not self._near.parted:
            self._far.transport.abort()

    def hang_up(self) -> None:
        """End both connections: the client has been told, and has answered or had its time to."""
        for end in (self._near, self._far):
            end.hang_up()

    def answered(self, end: End) -> None:
        """What this end said may be the last word of a socket that is closed here."""
        if end is self._near and self._far.parted and end.has_answered:
            self.hang_up()

    def gone(self) -> None:
        """One of the transports is gone."""
        self._open -= 1
        if self._open == 0:
            self._deadlines.watched.discard(self)
            self._ended.set(None)


class Tunnels:
    """The tunnels of a gateway.

    Attributes:
        open_now: Those that are open.
        opened: How many there have been.
    """

    def __init__(self, deadlines: Deadlines, idle_seconds: float) -> None:
        self._deadlines = deadlines
        self._idle_seconds = idle_seconds
        self.open_now: set[Tunnel] = set()
        self.opened = 0

    def open(self) -> Tunnel:
        """Return a new tunnel, to be joined."""
        tunnel = Tunnel(self._deadlines, self._idle_seconds)
        self.open_now.add(tunnel)
        self.opened += 1
        return tunnel

    def ended(self, tunnel: Tunnel) -> None:
        """Forget a tunnel."""
        self.open_now.discard(tunnel)

    def abort(self) -> None:
        """Drop every tunnel at once."""
        for tunnel in list(self.open_now):
            tunnel.abort()
