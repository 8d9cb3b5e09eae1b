"""Graceful close of a transport, also under TLS: it ends once the peer has taken all buffered bytes.

A closed plain transport writes out its buffer and ends. A TLS transport then also waits for the peer's
``close_notify``, and event loops have one timer for both. Below the buffer whose size a TLS transport reports is a
second one, whose size is not reported: the first may not change while the peer takes bytes from the second. Laws:

- A peer that goes on taking bytes has time for all of them. The transport's owner decides how long it may take none.
- A peer that has taken everything and sends no ``close_notify`` is dropped after ``ANSWER_SECONDS`` to twice that.
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
"""The event loop's timer for closing TLS. The deadlines of connections are shorter and decide."""
ANSWER_SECONDS: Final = 2.0
"""Time that the peer has to send its ``close_notify``; data that it still sends is dropped."""
_ALL: Final = 1 << 61
_TCP_STATE: Final = struct.Struct("=24xI92xQ16xI")
"""Linux's ``struct tcp_info``: ``tcpi_unacked``, ``tcpi_bytes_acked`` and ``tcpi_notsent_bytes``."""


def untaken(transport: asyncio.Transport) -> int:
    """Return a number that is 0 if the peer has taken everything, and falls whenever it takes something.

    For a plain transport it is the number of bytes in its buffer. For TLS it is only a measure: the lower buffer shows
    itself by what TCP has not sent and what the peer has acknowledged. On a system that does not report these (not
    Linux), or without TCP, only the TLS transport's own buffer counts.
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
    """Watch over a closing TLS transport.

    Attributes:
        deadline: See :mod:`~gateway.wire.deadlines`.
    """

    def __init__(self, transport: asyncio.Transport, deadlines: Deadlines) -> None:
        self._transport = transport
        self._deadlines = deadlines
        self._taken = False
        self.deadline: float | None = deadlines.after(ANSWER_SECONDS)

    def expire(self) -> None:
        """Drop the transport if its peer had taken everything now and at the last call."""
        taken = untaken(self._transport) == 0
        gone = self._transport.get_extra_info("socket") is None
        if gone or (taken and self._taken):
            self._deadlines.watched.discard(self)
            self._transport.abort()
        else:
            self._taken = taken
            self.deadline = self._deadlines.after(ANSWER_SECONDS)
