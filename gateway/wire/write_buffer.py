"""Write buffer of all connections: small writes wait for the end of the loop's turn, and then leave together.

A write to a socket wakes the reader at its other end. Between the work on two requests, each write wakes a peer that
has just gone to sleep again, at the price of an interrupt to another core. In a row, the first write wakes the peer and
the others find it awake. Pieces for one transport that come in one turn leave in one write. Laws:

- Bytes written to one transport leave in the order in which they were written, whether they waited or not.
- A write waits at most for the end of the loop's turn, and for at most ``MOST`` other buffers. No transport has more
  than ``LARGEST`` bytes waiting: a larger piece is written at once, so that its writer notices a slow peer.
- A transport is closed, measured and given away through its buffer, which flushes first. Where asyncio closes it by
  itself, after ``eof_received``, its protocol flushes there.
- A failure of one transport does not delay the others.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Final

from gateway.wire.drive import report
from gateway.wire.farewell import close, untaken

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from gateway.wire.deadlines import Deadlines

LARGEST: Final = 16_384
MOST: Final = 64
_NO_LINGER: Final = struct.pack("ii", 1, 0)


class WriteBatch:
    """Write buffers that wait to be flushed together, of all connections of one loop."""

    __slots__ = ("_flush", "_holding", "_later")

    def __init__(self, later: Callable[[Callable[[], None]], object]) -> None:
        """`later` schedules a call for the end of the loop's present turn, as ``loop.call_soon`` does."""
        self._later = later
        # Made once: making a bound method in each turn of the loop costs more than the call.
        self._flush = self.flush
        self._holding: list[WriteBuffer] = []

    def add(self, buffer: WriteBuffer) -> None:
        """Flush `buffer` at the end of this turn, or as soon as ``MOST`` buffers wait."""
        if not self._holding:
            self._later(self._flush)
        self._holding.append(buffer)
        if len(self._holding) >= MOST:
            self.flush()

    def flush(self) -> None:
        """Flush every waiting buffer."""
        holding, self._holding = self._holding, []
        for buffer in holding:
            try:
                buffer.flush()
            except Exception as error:  # noqa: BLE001 -- reported; the others must not wait for it
                report("a transport let an exception escape", error)
                buffer.transport.abort()


class WriteBuffer:
    """Write buffer of one transport.

    Attributes:
        transport: The transport.
        is_closing: The transport's method, looked up once instead of for each write.
        writes_flushed: How many writes left it, those included that were dropped because the transport was closing.
    """

    __slots__ = ("_transport_write", "_waiting", "_write_batch", "is_closing", "transport", "writes_flushed")

    def __init__(self, write_batch: WriteBatch, transport: asyncio.Transport) -> None:
        self._write_batch = write_batch
        self.transport = transport
        self._transport_write = transport.write
        self.is_closing = transport.is_closing
        self._waiting = b""
        self.writes_flushed = 0

    def write(self, piece: bytes) -> None:
        """Write `piece` at the end of this turn, or at once if it is large."""
        waiting = self._waiting
        if len(waiting) + len(piece) > LARGEST:
            self.flush()
            self._depart(piece)
        elif waiting:
            self._waiting = waiting + piece
        else:
            self._waiting = piece
            self._write_batch.add(self)

    def flush(self) -> None:
        """Write what waits; it is dropped if the transport is closing."""
        waiting = self._waiting
        if waiting:
            self._waiting = b""
            self._depart(waiting)

    def _depart(self, piece: bytes) -> None:
        self.writes_flushed += 1
        if not self.is_closing():
            self._transport_write(piece)

    def buffered(self) -> int:
        """Flush, and return how much the peer has not taken, as :func:`~gateway.wire.farewell.untaken` measures it.

        It is 0 if the peer has taken everything, and falls whenever it takes something. Without TLS it counts bytes.
        """
        self.flush()
        return untaken(self.transport)

    def close(self, deadlines: Deadlines) -> None:
        """Flush, and close the transport when the peer has taken everything."""
        self.flush()
        close(self.transport, deadlines)

    def end(self) -> None:
        """Flush, and end the stream behind what the peer has not taken; a peer that is gone is dropped."""
        self.flush()
        try:
            self.transport.write_eof()
        except OSError:  # asyncio's own loop raises it, where uvloop ends the transport
            self.transport.abort()

    def abort(self) -> None:
        """Flush, and drop the transport at once; the peer may still receive what was written before."""
        self.flush()
        self.transport.abort()

    def drop(self) -> None:
        """Drop the transport at once, together with what waits."""
        self._waiting = b""
        self.transport.abort()

    def reset(self) -> None:
        """Drop the transport so that its peer sees a reset, and takes what it received for broken off."""
        made = self.transport.get_extra_info("socket")
        if made is not None:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.transport.abort()

    def give_away(self) -> asyncio.Transport:
        """Flush, and return the transport to its next owner, which writes to it directly."""
        self.flush()
        return self.transport
