from __future__ import annotations

from tests.flow.conftest import client, gateway, pytest_asyncio_loop_factories, start, upstream, world

__all__ = ["client", "gateway", "pytest_asyncio_loop_factories", "start", "upstream", "world"]
