"""After a 101: bytes both ways until either side ends (RFC 9110 section 7.8, RFC 6455).

Both transports are taken from their connections and given to the two ends of a :class:`Tunnel`. Laws:

- Bytes are not looked at: what arrives at one end is written at the other, in order, with backpressure.
- An end that finishes sending (FIN) is passed on as just that; the tunnel is over when both have, or either is lost.
- The connections are told of their loss when their transports are gone, as if they had kept them.
- A tunnel in which nothing moves either way for ``idle_seconds`` is closed. There is no total limit here.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway.wire.drive import Signal

if TYPE_CHECKING:
    from gateway.wire.deadlines import Deadlines


class Tunnel:
    """Two transports joined.

    Attributes:
        up: Bytes passed from the client to the upstream.
        down: Bytes passed from the upstream to the client.
        idled: It ended because nothing moved.
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

    def join(
        self,
        client: tuple[asyncio.Transport, asyncio.Protocol],
        upstream: tuple[asyncio.Transport, asyncio.Protocol],
    ) -> None:
        """Let bytes flow between two transports, each with the connection that had it."""
        near, far = _End(self, *client), _End(self, *upstream)
        near.peer, far.peer = far, near
        self._near = near
        self._far = far
        self._deadlines.watched.add(self)
        self.touch()
        for end in (near, far):
            end.transport.set_protocol(end)
        for end in (near, far):
            if end.transport.is_closing():
                end.peer.finish()
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
        self.abort()

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

    def __init__(self, tunnel: Tunnel, transport: asyncio.Transport, owner: asyncio.Protocol) -> None:
        self._tunnel = tunnel
        self._owner = owner
        self._finished = False
        self.transport = transport
        self.peer: _End = self

    def data_received(self, data: bytes) -> None:
        """Pass on what arrived."""
        self._tunnel.passed(self, len(data))
        if not self.peer.transport.is_closing():
            self.peer.transport.write(data)

    def eof_received(self) -> bool:
        """Pass on that this side sends no more; keep the transport while the other still sends."""
        self._finished = True
        self._tunnel.touch()
        if self.peer.transport.is_closing():
            return False
        if self.peer._finished:  # noqa: SLF001 -- its own kind
            self.peer.transport.close()
            return False
        if self.peer.transport.can_write_eof():
            self.peer.transport.write_eof()
        return True

    def pause_writing(self) -> None:
        """This side takes bytes more slowly than they come."""
        if not self.peer.transport.is_closing():
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
        if not self.transport.is_closing():
            self.transport.close()
