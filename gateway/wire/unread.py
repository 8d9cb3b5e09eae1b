"""Recovery of unread bytes: what a peer sent before its connection broke may still be in the kernel's buffer.

An upstream that refuses a body answers and closes while the body still comes. Its kernel then resets the connection.
The event loop ends a transport at the first failed write, although the answer arrived before the reset.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

_MOST: Final = 262_144


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
