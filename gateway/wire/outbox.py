"""Small writes wait until everything that the loop has read is dealt with, and then leave one after the other.

A write to a socket wakes whoever reads at its other end. Made between the work on two requests, each wakes a peer that
has just gone to sleep again, at the price of an interrupt to another core; made in a row, the first wakes it and the
others find it awake. Pieces for one transport that come in one turn leave in one write. Laws:

- What is written to one transport leaves in the order in which it was written, whether it waited or not.
- Nothing waits for more than what the loop finds to read next, nor for more than ``MOST`` others. No transport has more
  waiting than ``LARGEST`` bytes: what is larger is written at once, so that whoever writes it feels a slow peer.
- A transport is closed, measured and given away through its outlet, which flushes before; where asyncio closes it by
  itself, behind ``eof_received``, its protocol flushes there.
- Whatever happens to one transport, the others get theirs.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Final

from gateway.wire.drive import report

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

LARGEST: Final = 16_384
MOST: Final = 64
_NO_LINGER: Final = struct.pack("ii", 1, 0)


class Outbox:
    """The outlets in which something waits, of all connections of one loop."""

    __slots__ = ("_holding", "_later")

    def __init__(self, later: Callable[[Callable[[], None]], object]) -> None:
        """`later` calls what it is given when the loop has done what it is at, as ``loop.call_soon`` does."""
        self._later = later
        self._holding: list[Outlet] = []

    def add(self, outlet: Outlet) -> None:
        """Flush `outlet` at the end of this turn, or with the next few others."""
        if not self._holding:
            self._later(self.flush)
        self._holding.append(outlet)
        if len(self._holding) >= MOST:
            self.flush()

    def flush(self) -> None:
        """Let everything leave that waits."""
        holding, self._holding = self._holding, []
        for outlet in holding:
            try:
                outlet.flush()
            except Exception as error:  # noqa: BLE001 -- reported; the others are not to wait for it
                report("a transport let an exception escape", error)
                outlet.transport.abort()


class Outlet:
    """The way out to one transport.

    Attributes:
        transport: The transport.
        departures: How often something left through it, or would have, had the transport not been closing.
    """

    __slots__ = ("_outbox", "_waiting", "departures", "transport")

    def __init__(self, outbox: Outbox, transport: asyncio.Transport) -> None:
        self._outbox = outbox
        self.transport = transport
        self._waiting = b""
        self.departures = 0

    def write(self, piece: bytes) -> None:
        """Write `piece`: at the end of this turn, or, when it is large, at once."""
        waiting = self._waiting
        if len(waiting) + len(piece) > LARGEST:
            self.flush()
            self._depart(piece)
        elif waiting:
            self._waiting = waiting + piece
        else:
            self._waiting = piece
            self._outbox.add(self)

    def flush(self) -> None:
        """Let leave what waits; what waits for a transport that is closing is dropped with it."""
        waiting = self._waiting
        if waiting:
            self._waiting = b""
            self._depart(waiting)

    def _depart(self, piece: bytes) -> None:
        self.departures += 1
        if not self.transport.is_closing():
            self.transport.write(piece)

    def buffered(self) -> int:
        """Return how many bytes the peer has not taken."""
        self.flush()
        return self.transport.get_write_buffer_size()

    def close(self) -> None:
        """Close the transport when the peer has taken everything."""
        self.flush()
        self.transport.close()

    def abort(self) -> None:
        """Drop the transport at once; what was written before, the peer may still see."""
        self.flush()
        self.transport.abort()

    def drop(self) -> None:
        """Drop the transport at once, and what waits with it."""
        self._waiting = b""
        self.transport.abort()

    def reset(self) -> None:
        """Drop the transport so that its peer sees a reset, and takes what it has for broken off."""
        made = self.transport.get_extra_info("socket")
        if made is not None:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.transport.abort()

    def give_away(self) -> asyncio.Transport:
        """Return the transport, to whoever writes to it from now on."""
        self.flush()
        return self.transport
