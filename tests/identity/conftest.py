"""Gateways as processes of their own, over one real database."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from tests.support.commands import run
from tests.support.issuers import provider
from tests.support.loops import pytest_asyncio_loop_factories
from tests.support.processes import Process, ended, spawn
from tests.support.worlds import SECRET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.support.peers import Upstream
    from tests.support.worlds import World

__all__ = ["provider", "pytest_asyncio_loop_factories", "run"]


@pytest.fixture
async def gateways(
    world: World, upstream: Upstream
) -> AsyncIterator[Callable[..., Awaitable[list[Process]]]]:
    """Start gateways on the world's database; keyword arguments are settings (``IDENTITY_STALE_SECONDS="0"``).

    `preloaded` is environment of a library that is loaded into them.
    """
    async with AsyncExitStack() as stack:

        async def begin(
            count: int = 2, preloaded: dict[str, str] | None = None, **settings: str
        ) -> list[Process]:
            environment = {
                "DATABASE_URL": world.url,
                "JWT_SECRET": SECRET,
                "UPSTREAM_URL": f"http://127.0.0.1:{upstream.port}",
                "LISTEN": "127.0.0.1:0",
                "ADMIN_LISTEN": "127.0.0.1:0",
                "ADMIN_HOSTS": "gateway.test",
                "LOG_ACCESS": "false",
                # So long that nothing in a test is ever noticed by the end of its time.
                "IDENTITY_CACHE_SECONDS": "3600",
                "IDENTITY_REFUSED_SECONDS": "3600",
                "TIMEOUT_DRAIN_SECONDS": "1",
                **settings,
            }
            prefixed = {f"GATEWAY_{name}": value for name, value in environment.items()}
            begun = await asyncio.gather(*(spawn({**prefixed, **(preloaded or {})}) for _ in range(count)))
            for one in begun:
                stack.push_async_callback(ended, one)
            return list(begun)

        yield begin
