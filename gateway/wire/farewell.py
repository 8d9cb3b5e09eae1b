"""End of a transport, under TLS too: it is closed when its peer has taken everything, and not later than that.

A plain transport that is closed writes out its buffer and is gone. One with TLS then waits for the peer's
``close_notify``, and event loops have one timer for both. Below the buffer that a TLS transport measures is another,
whose size cannot be asked for: the first may stay as it is while the peer takes what is in the second. Laws:

- A peer that takes bytes has time to take all of them. How long one may take none is decided by the transport's owner.
- A peer that has taken everything, and answers no ``close_notify``, is dropped ``ANSWER_SECONDS`` later, or up to twice
  that.
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

    from gateway.wire.deadlines import Deadlines

END_SECONDS: Final = 3600.0
"""The event loop's timer of the end of a TLS connection, which the deadlines of connections come before."""
ANSWER_SECONDS: Final = 2.0
"""How long the peer's ``close_notify`` is waited for; data that it still sends is dropped meanwhile."""
_ALL: Final = 1 << 61
_TCP_STATE: Final = struct.Struct("=24xI92xQ16xI")
"""Linux's ``struct tcp_info``: ``tcpi_unacked``, ``tcpi_bytes_acked`` and ``tcpi_notsent_bytes``."""


def untaken(transport: asyncio.Transport) -> int:
    """Return a number that is 0 if the peer has taken everything, and falls whenever it takes something.

    Of a plain transport it is the bytes in its buffer. Of one with TLS it is no number of bytes: the buffer below it
    can only be seen by what TCP has not sent, and by what the peer has acknowledged. Where the system does not say that
    (it is not Linux, or no TCP), the TLS transport's own buffer counts alone.
    """
    size = transport.get_write_buffer_size()
    if transport.get_extra_info("ssl_object") is None:
        return size
    made = transport.get_extra_info("socket")
    if made is not None and hasattr(socket, "TCP_INFO"):
        with suppress(OSError, struct.error):
            state = made.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_STATE.size)
            unacknowledged, acknowledged, unsent = _TCP_STATE.unpack(state)
            return _ALL - acknowledged + size if size or unacknowledged or unsent else 0
    return size


def close(transport: asyncio.Transport, deadlines: Deadlines) -> None:
    """Close a transport when its peer has taken everything; under TLS, wait for the peer's end for a while."""
    transport.close()
    if transport.get_extra_info("ssl_object") is not None:
        deadlines.watched.add(_Farewell(transport, deadlines))


class _Farewell:
    """Watch over a TLS transport that is being closed.

    Attributes:
        deadline: See :mod:`~gateway.wire.deadlines`.
    """

    def __init__(self, transport: asyncio.Transport, deadlines: Deadlines) -> None:
        self._transport = transport
        self._deadlines = deadlines
        self._taken = False
        self.deadline: float | None = deadlines.after(ANSWER_SECONDS)

    def expire(self) -> None:
        """Drop the transport if its peer had taken everything at the last look as well."""
        taken = untaken(self._transport) == 0
        gone = self._transport.get_extra_info("socket") is None
        if gone or (taken and self._taken):
            self._deadlines.watched.discard(self)
            self._transport.abort()
        else:
            self._taken = taken
            self.deadline = self._deadlines.after(ANSWER_SECONDS)
