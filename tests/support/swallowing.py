"""An address that swallows: it is there, and never accepts."""

from __future__ import annotations

import socket
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST = 8


@contextmanager
def swallowing(host: str, port: int) -> Iterator[None]:
    """Hold a listener whose backlog is full: Linux drops each further SYN."""
    with ExitStack() as held:
        listener = held.enter_context(socket.socket(socket.AF_INET))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(_MOST):
            knocking = held.enter_context(socket.socket(socket.AF_INET))
            knocking.setblocking(False)
            knocking.connect_ex((host, port))
        yield
