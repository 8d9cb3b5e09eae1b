"""Gateways as processes of their own, over one real database."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from tests.support.commands import run
from tests.support.issuers import provider
from tests.support.loops import pytest_asyncio_loop_factories
from tests.support.processes import Process, ended, environment_before, spawn

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
                # So long that nothing in a test is ever noticed by the end of its time.
                "IDENTITY_CACHE_SECONDS": "3600",
                "IDENTITY_REFUSED_SECONDS": "3600",
                "TIMEOUT_DRAIN_SECONDS": "1",
                **settings,
            }
            complete = {**environment_before(upstream, **environment), **(preloaded or {})}
            begun = await asyncio.gather(*(spawn(complete) for _ in range(count)))
            for one in begun:
                stack.push_async_callback(ended, one)
            return list(begun)

        yield begin
