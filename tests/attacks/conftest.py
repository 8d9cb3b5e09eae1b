"""Attacks are made against the gateway that the flows are tested on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import uvloop

from tests.support.issuers import provider
from tests.support.openid import idp
from tests.support.sockets import far

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

__all__ = ["far", "idp", "provider"]

ON_THE_LOOP_OF_PRODUCTION = frozenset(
    {"test_stream_outlives_session", "test_tls_plain", "test_tls_slow_handshake", "test_tls_truncation"}
)
"""What resets, flushes and paused transports do depends on the loop."""


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.path.stem in ON_THE_LOOP_OF_PRODUCTION:
        return {"uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}
