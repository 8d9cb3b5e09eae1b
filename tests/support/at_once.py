"""Peers that close their socket right behind their last byte, as nginx does; a TLS transport of asyncio waits first."""

from __future__ import annotations

import socket
import ssl
from contextlib import contextmanager, suppress
from threading import Thread
from typing import TYPE_CHECKING

from tests.support.peers import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SMALL = 4096
"""The receive buffer of a client that is to be slow, in bytes."""


def close_at_once(peer: socket.socket, *, farewell: bool = True) -> None:
    """Close a socket; one with TLS sends its ``close_notify`` before, if there is a `farewell`, and waits for none."""
    if isinstance(peer, ssl.SSLSocket) and farewell:
        peer.settimeout(0)
        with suppress(OSError):
            peer.unwrap()
    peer.close()


def read_to_the_end(peer: socket.socket, first: bytes = b"") -> bytes:
    """Return what comes until the other side closes, in whatever way it does."""
    pieces = [first]
    with suppress(OSError):
        while piece := peer.recv(65_536):
            pieces.append(piece)
    return b"".join(pieces)


def read_a_head(peer: socket.socket) -> bytes:
    """Return a head, and no byte behind it."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = peer.recv(1)
        if not byte:
            raise ConnectionResetError
        head += byte
    return head


def connected(address: tuple[str, int], context: ssl.SSLContext | None = None) -> socket.socket:
    """Return a client's socket with a small receive buffer; with `context` it speaks TLS."""
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    plain.settimeout(PATIENCE)
    plain.connect(address)
    return plain if context is None else context.wrap_socket(plain, server_hostname="gateway.example")


@contextmanager
def serving(serve: Callable[[socket.socket], None], context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server that gives each connection to `serve`, in a thread of its own, and then closes it; yields its port."""

    def one(plain: socket.socket) -> None:
        plain.settimeout(PATIENCE)
        with suppress(OSError), plain:
            if context is None:
                serve(plain)
            else:
                with context.wrap_socket(plain, server_side=True) as secured:
                    serve(secured)

    def accept() -> None:
        while True:
            try:
                plain, _ = listening.accept()
            except OSError:
                return
            thread = Thread(target=one, args=(plain,), daemon=True)
            threads.append(thread)
            thread.start()

    threads: list[Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        accepting = Thread(target=accept)
        accepting.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            accepting.join(PATIENCE)
            for thread in threads:
                thread.join(PATIENCE)
