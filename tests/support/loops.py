"""Event loops of the tests: uvloop, as in production, and asyncio's own besides for what must hold on both."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import uvloop

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

BOTH_LOOPS = frozenset(
    {
        "test_connection",
        "test_upstream_faults",
        "test_websocket",
        "test_socket_frames",
        "test_socket_auth",
        "test_closing_upstreams",
        "test_upstream_tls",
        "test_tls_listener",
    }
)
"""What holds for bytes must hold on asyncio's own loop as well; everything runs on the loop of production."""


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Return the loops that a test runs on, by name."""
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"uvloop": uvloop.new_event_loop}
    if item.path.stem in BOTH_LOOPS:
        factories["asyncio"] = asyncio.new_event_loop
    return factories
