"""Tunnel end: the asyncio protocol of one transport of a tunnel, which writes received bytes to the other end.

Laws: those of :mod:`gateway.wire.tunnel`, for one direction.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from gateway.wire.frames import Frames
from gateway.wire.tunnel_states import (
    BETWEEN,
    CUT,
    FIN,
    FINISHED,
    PARTED,
    PASSING,
    SILENT,
    STOP,
    STOPPING,
    TUNNEL_END,
)
from gateway.wire.unread import unread

if TYPE_CHECKING:
    from gateway.wire.flow import Owner
    from gateway.wire.tunnel import Tunnel


TURN_BYTES: Final = 65_536
"""A read of so much is the last one of this side in its turn of the event loop."""


class End(asyncio.Protocol):
    """Tunnel end: the protocol of one transport while it is tunnelled.

    Attributes:
        frames: The frame parser of the bytes that arrive here and go to the peer.
        full: The write buffer of this transport is full.
        waits: Reading is paused here for now, even if the peer could take bytes.
        transport: The transport.
        write: The transport's method, looked up once instead of for each message.
        is_closing: The transport's method, likewise.
        peer: The other end.
    """

    __deletable__ = ("_tunnel", "peer")  # for mypyc, whose attributes cannot be deleted otherwise

    def __init__(self, tunnel: Tunnel, transport: asyncio.Transport, owner: Owner) -> None:
        self._tunnel = tunnel
        self._owner = owner
        self._state: int = PASSING
        self._farewell = b""
        self.frames = Frames()
        self.full = self.waits = False  # flow control
        self.transport = transport
        self.write = transport.write
        self.is_closing = transport.is_closing
        self.peer: End = self

    def __repr__(self) -> str:
        return f"<tunnel end {TUNNEL_END.states[self._state]}>"

    @property
    def parted(self) -> bool:
        """True if bytes that arrive here are not written any more: the peer has been sent its Close frame."""
        return self._state >= PARTED

    @property
    def finished(self) -> bool:
        """True if this side has ended its stream."""
        return self._state in (FINISHED, CUT, SILENT)

    def data_received(self, data: bytes) -> None:
        """Write received bytes to the peer, or drop them if the socket is being closed here."""
        self._tunnel.passed(self, len(data))
        if len(data) >= TURN_BYTES:
            self._yield_turn()
        if self._tunnel.parted:
            self.drop(data)
        else:
            self.pass_on(data)

    def _yield_turn(self) -> None:
        """Read on in a later turn of the loop: a peer that sends without pause must not delay the other connections."""
        if not (self.waits or self.transport.is_closing()):
            self.waits = True
            self.transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._read_on)

    def _read_on(self) -> None:
        self.waits = False
        if not self.transport.is_closing() and (self.parted or not self.peer.full):
            self.transport.resume_reading()

    def pass_on(self, data: bytes) -> None:
        """Write bytes of this side to the other."""
        self.frames.feed(data)
        peer = self.peer
        if not peer.is_closing():
            peer.write(data)

    def part(self, farewell: bytes) -> None:
        """Write `farewell` to the peer when the present frame ends, and nothing after it."""
        self._farewell = farewell
        self._state = TUNNEL_END.after(self._state, STOP)
        self._part_between()

    def _part_between(self) -> None:
        if self._state not in (STOPPING, CUT) or not self.frames.between:
            return
        self._state = TUNNEL_END.after(self._state, BETWEEN)
        if not (self.frames.closed or self.finished or self.peer.transport.is_closing()):
            self.peer.transport.write(self._farewell)
        if not self.transport.is_closing():
            # Bytes are dropped from now on: the answer to the Close frame may be behind what the peer did not take.
            self.transport.resume_reading()

    def drop(self, data: bytes) -> None:
        """Write the rest of the present frame, drop what follows, and look for the answer to a Close frame."""
        if not self.parted:
            end = self.frames.feed_one(data)
            if not self.peer.transport.is_closing():
                self.peer.transport.write(data[:end])
            data = data[end:]
            self._part_between()
        self.frames.feed(data)
        self._tunnel.answered(self)

    def eof_received(self) -> bool:
        """Pass on that this side sends no more; the transport stays open while the other side still sends."""
        self._state = TUNNEL_END.after(self._state, FIN)
        self._tunnel.touch()
        if self._tunnel.parted:
            self._tunnel.answered(self)
            return self.transport.can_write_eof()
        if self.peer.transport.is_closing():
            return False
        if self.peer.finished:
            self._tunnel.end(self.peer.transport)
            return False
        if not (self.transport.can_write_eof() and self.peer.transport.can_write_eof()):
            return False  # under TLS there is no end of one direction alone: the end of either ends both
        self.peer.transport.write_eof()
        return True

    @property
    def has_answered(self) -> bool:
        """True if nothing that this side can still send matters."""
        return self.finished or (self.frames.closed and self.frames.between)

    def pause_writing(self) -> None:
        """Pause reading at the peer: this side takes bytes more slowly than they come."""
        self.full = True
        if not self.peer.transport.is_closing() and not self.peer.parted:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        """Resume reading at the peer: this side has caught up."""
        self.full = False
        if not (self.peer.waits or self.peer.transport.is_closing()):
            self.peer.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass the last received bytes on, and end as :meth:`lost` does."""
        if not self.peer.transport.is_closing():
            rest = unread(self.transport, exc)
            if rest:
                self.data_received(rest)
        self.lost(exc)

    def lost(self, exc: Exception | None) -> None:
        """Let the peer write out its buffer, and notify the owner and the tunnel."""
        self.peer.finish()
        self._owner.connection_lost(exc)
        self._tunnel.gone()

    def let_go(self) -> None:
        """Forget the tunnel and the other end, once both have ended: they would be a cycle."""
        del self.peer, self._tunnel

    def finish(self) -> None:
        """Write out what the lost peer sent, then close."""
        if self._tunnel.parted and self.peer.parted:
            return  # this side has been sent its Close frame, and has time to answer
        if not self.transport.is_closing():
            self._tunnel.end(self.transport)

    def hang_up(self) -> None:
        """Close the transport; drop it at once if its write buffer is not empty."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        elif not self.transport.is_closing():
            self._tunnel.end(self.transport)
