"""Unread bytes of a connection: those in the kernel's buffer, and those that a TLS transport has not passed on.

An upstream that refuses a body answers and closes while the body still comes. Its kernel then resets the connection.
The event loop ends a transport at the first failed write, although the answer arrived before the reset. And an upstream
that closes a connection behind an answer has done so before the loop hears of it.

A plain transport whose reading is paused does not hear of the end of the stream. One with TLS does: uvloop ends it at
once, although it has received bytes that it was not allowed to pass on.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
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


def unread(transport: asyncio.Transport, error: Exception | None) -> bytes:
    """Return what can still be read from a connection whose transport has just ended, with `error` if that is given.

    It is called in ``connection_lost``, once, while the socket still exists. Of a plain connection that ended with an
    error it is up to 256 KiB; any other has been read. Of one with TLS it is what the event loop has received and not
    passed on: up to 512 KiB, since a loop reads up to 256 KiB at a time, and no more once it has so much. What is
    in the kernel's buffer would be ciphertext.
    """
    secured: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    pieces: list[bytes] = []
    if secured is not None:
        with suppress(ssl.SSLError, ValueError):
            while decrypted := secured.read(_MOST):
                pieces.append(decrypted)
        return b"".join(pieces)
    made = transport.get_extra_info("socket")
    if made is None or error is None:
        return b""
    size = 0
    with suppress(OSError), socket.socket(fileno=os.dup(made.fileno())) as rest:
        rest.settimeout(0)
        while size < _MOST and (piece := rest.recv(_MOST - size)):
            pieces.append(piece)
            size += len(piece)
    return b"".join(pieces)
