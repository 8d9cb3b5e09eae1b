"""Persistent client connection of a benchmark, on which one request at a time is under way."""

from __future__ import annotations

import socket
from typing import Final

HEAD_END: Final = b"\r\n\r\n"
TIMEOUT_SECONDS: Final = 10.0


class Connection:
    """Persistent connection to 127.0.0.1:`port`.

    Attributes:
        socket: The socket.
        due: When the request under way was due.
    """

    __slots__ = ("_received", "due", "recv", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.recv = self.socket.recv
        self.due = 0.0
        self._received = b""

    def read(self, received: bytes) -> int:
        """Take received bytes; return the answer's status if it is whole, else 0.

        Raises:
            ConnectionError: the connection has ended.
        """
        if not received:
            raise ConnectionError("the proxy closed a connection in the middle of the run")
        received = self._received = self._received + received
        head, end, body = received.partition(HEAD_END)
        if not end:
            return 0
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if len(body) < int(length):
            return 0
        self._received = b""
        return int(head[9:12])
