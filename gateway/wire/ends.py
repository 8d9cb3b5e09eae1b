"""One end of a tunnel: what a transport talks to, and how its bytes get to the other end.

Laws: those of :mod:`gateway.wire.tunnel`, for one direction.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from gateway.wire.frames import Frames

if TYPE_CHECKING:
    from gateway.wire.tunnel import Tunnel


class Owner(Protocol):
    """The connection that had a transport."""

    @property
    def full(self) -> bool:
        """Whether its peer lags behind what was written."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Take in that the transport is gone."""


class End(asyncio.Protocol):
    """What a transport talks to while it is one end of a tunnel.

    Attributes:
        frames: Those of what arrives here, and goes to the peer.
        parted: What arrives here goes nowhere any more: the peer has had its Close frame.
        full: This side takes bytes more slowly than they come.
        waits: Nothing is to be read here for now, whatever the peer could take.
        transport: The transport.
        peer: The other end.
    """

    def __init__(self, tunnel: Tunnel, transport: asyncio.Transport, owner: Owner) -> None:
        self._tunnel = tunnel
        self._owner = owner
        self._finished = False
        self._farewell = b""
        self.frames = Frames()
        self.parted = self.full = self.waits = False
        self.transport = transport
        self.peer: End = self

    def data_received(self, data: bytes) -> None:
        """Pass on what arrived."""
        self._tunnel.passed(self, len(data))
        if self._tunnel.parted:
            self.drop(data)
        else:
            self.pass_on(data)

    def pass_on(self, data: bytes) -> None:
        """Give bytes of this side to the other."""
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

    def drop(self, data: bytes) -> None:
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
        self.full = True
        if not self.peer.transport.is_closing() and not self.peer.parted:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        """This side has caught up."""
        self.full = False
        if not (self.peer.waits or self.peer.transport.is_closing()):
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
