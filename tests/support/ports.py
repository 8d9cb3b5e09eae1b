"""Ports of the loopback that a test chooses before anything listens on them, or comes back to."""

from __future__ import annotations

import itertools
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOWEST_PORT, _SLOTS, _PORTS_OF_A_SLOT = 10_000, 16, 1_400


def _ports() -> Iterator[int]:
    """Yield ports that no other process of pytest-xdist takes, and that the system gives to nobody who asks for any."""
    slot = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _SLOTS
    for number in itertools.count(os.getpid()):  # another test run may be under way, and begins elsewhere
        yield _LOWEST_PORT + slot * _PORTS_OF_A_SLOT + number % _PORTS_OF_A_SLOT


_PORTS: Final = _ports()


def free_port() -> int:
    """Return a port of the loopback that nothing listens on, another one each time."""
    for port in _PORTS:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("the ports never end")
