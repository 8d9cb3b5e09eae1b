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
from typing import TYPE_CHECKING, Final, Protocol

from gateway.wire.drive import Signal
from gateway.wire.frames import GOING_AWAY, Frames, close_frame

if TYPE_CHECKING:
    from gateway.wire.deadlines import Deadlines

FRAME_SECONDS: Final = 0.5
"""So long a frame that is under way may take to end, when its socket is closed here."""
ANSWER_SECONDS: Final = 0.9
"""So long, all in all, the client may take to answer a Close frame."""


class Owner(Protocol):
    """The connection that had a transport."""

    @property
    def full(self) -> bool:
        """Whether its peer lags behind what was written."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Take in that the transport is gone."""


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
    ) -> None:
        """Let bytes flow between two transports, each with the connection that had it.

        `early` is what the upstream sent behind its 101, which the client has been given.
        """
        near, far = _End(self, *client), _End(self, *upstream)
        far.frames.feed(early)
        near.peer, far.peer = far, near
        self._near = near
        self._far = far
        self._deadlines.watched.add(self)
        self.touch()
        for end in (near, far):
            end.transport.set_protocol(end)
        for end, full in ((near, upstream[1].full), (far, client[1].full)):
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

    def passed(self, end: _End, count: int) -> None:
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

    def answered(self, end: _End) -> None:
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


class _End(asyncio.Protocol):
    """What a transport talks to while it is one end of a tunnel."""

    def __init__(self, tunnel: Tunnel, transport: asyncio.Transport, owner: Owner) -> None:
        self._tunnel = tunnel
        self._owner = owner
        self._finished = False
        self._farewell = b""
        self.frames = Frames()  # of what arrives here, and goes to the peer
        self.parted = False  # what arrives here goes nowhere any more: the peer has had its Close frame
        self.transport = transport
        self.peer: _End = self

    def data_received(self, data: bytes) -> None:
        """Pass on what arrived."""
        self._tunnel.passed(self, len(data))
        if self._tunnel.parted:
            self._drop(data)
            return
        self.frames.feed(data)
        if not self.peer.transport.is_closing():
            self.peer.transport.write(data)

    def part(self, farewell: bytes) -> None:
        """Pass on nothing behind the present frame, and `farewell` in its place."""
        self._farewell = farewell
        self._part_between()

    def _part_between(self) -> None:
        if self.parted or not self.frames.between:
            return
        self.parted = True
        if not (self.frames.closed or self._finished or self.peer.transport.is_closing()):
            self.peer.transport.write(self._farewell)
        if not self.transport.is_closing():
            # To nowhere: the answer to the Close frame may be behind what the peer did not take.
            self.transport.resume_reading()

    def _drop(self, data: bytes) -> None:
        """Pass on what belongs to the frame under way, and nothing behind it; look for the answer to a Close frame."""
        if not self.parted:
            end = self.frames.feed_one(data)
            if not self.peer.transport.is_closing():
                self.peer.transport.write(data[:end])
            data = data[end:]
            self._part_between()
        self.frames.feed(data)
        self._tunnel.answered(self)

    def eof_received(self) -> bool:
        """Pass on that this side sends no more; keep the transport while the other still sends."""
        self._finished = True
        self._tunnel.touch()
        if self._tunnel.parted:
            self._tunnel.answered(self)
            return True
        if self.peer.transport.is_closing():
            return False
        if self.peer._finished:  # noqa: SLF001 -- its own kind
            self.peer.transport.close()
            return False
        if self.peer.transport.can_write_eof():
            self.peer.transport.write_eof()
        return True

    @property
    def has_answered(self) -> bool:
        """Whether this side will say nothing more that counts."""
        return self._finished or (self.frames.closed and self.frames.between)

    def pause_writing(self) -> None:
        """This side takes bytes more slowly than they come."""
        if not self.peer.transport.is_closing() and not self.peer.parted:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        """This side has caught up."""
        if not self.peer.transport.is_closing():
            self.peer.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the owner, and let the other side finish what it has been given."""
        self.peer.finish()
        self._owner.connection_lost(exc)
        self._tunnel.gone()

    def finish(self) -> None:
        """The other side is gone: write out what it sent, then close."""
        if self._tunnel.parted and self.peer.parted:
            return  # this side has its Close frame, and its time to answer
        if not self.transport.is_closing():
            self.transport.close()

    def hang_up(self) -> None:
        """Close; at once, if what it has been given is not taken."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        elif not self.transport.is_closing():
            self.transport.close()
