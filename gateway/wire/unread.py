"""Look into the kernel's buffer: what a peer sent, and the event loop has not read.

An upstream that refuses a body answers and closes while the body still comes. Its kernel then resets the connection.
The event loop ends a transport at the first failed write, although the answer arrived before the reset. And an upstream
that closes a connection behind an answer has done so before the loop hears of it.
"""

from __future__ import annotations

import os
import select
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

_MOST: Final = 262_144


def is_silent(transport: asyncio.Transport) -> bool:
    """Return whether nothing has arrived on an idle connection: neither bytes nor its end. It costs one system call."""
    made = transport.get_extra_info("socket")
    descriptor = -1 if made is None else made.fileno()
    if descriptor < 0 or not hasattr(select, "poll"):  # Windows has no poll()
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return not poll.poll(0)


def unread(transport: asyncio.Transport) -> bytes:
    """Return what can still be read from a plain connection whose transport has just ended: up to 256 KiB, at once.

    It is called in ``connection_lost``, while the socket still exists. A TLS connection gives nothing: the bytes would
    be ciphertext.
    """
    made = transport.get_extra_info("socket")
    if made is None or transport.get_extra_info("ssl_object") is not None:
        return b""
    pieces: list[bytes] = []
    size = 0
    with suppress(OSError), socket.socket(fileno=os.dup(made.fileno())) as rest:
        rest.settimeout(0)
        while size < _MOST and (piece := rest.recv(_MOST - size)):
            pieces.append(piece)
            size += len(piece)
    return b"".join(pieces)
