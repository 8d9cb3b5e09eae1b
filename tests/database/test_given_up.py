"""Statements that are given up, as they wait for a lock, leave nothing behind at the server."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg
import pytest

from authcore.errors import StoreUnavailable
from tests.support.domain import open_store
from tests.support.processes import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from authcore.store.postgres import PostgresStore
    from tests.support.worlds import World

WAITING = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""
MOST = 2


@asynccontextmanager
async def locked(url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """Hold a lock for which every statement on users waits; lend the connection that holds it."""
    holder = await asyncpg.connect(url)
    try:
        async with holder.transaction():
            await holder.execute("LOCK TABLE users")
            yield holder
    finally:
        await holder.close()


async def give_up(store: PostgresStore) -> None:
    """Let statements run into their time limit, and then callers leave."""
    outcomes = await asyncio.gather(*(store.logins("a@b.c") for _ in range(MOST)), return_exceptions=True)
    assert all(isinstance(one, StoreUnavailable) for one in outcomes)
    for _ in range(2 * MOST):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await store.logins("a@b.c")


async def leaves_none(store: PostgresStore, holder: asyncpg.Connection[asyncpg.Record]) -> None:
    async def none_waits() -> bool:
        return bool(await holder.fetchval(WAITING) == 0)

    await give_up(store)
    await eventually(none_waits)


async def test_a_statement_that_is_given_up_is_cancelled_at_the_server(world: World) -> None:
    store = await open_store(world.url, pool_max=MOST, statement_timeout_seconds=0.2)
    async with locked(world.url) as holder:
        await leaves_none(store, holder)
    assert await store.logins("agent@example.com")
    await store.close()


async def test_a_statement_that_is_given_up_behind_a_pooler_is_cancelled_at_the_server(
    pooled: str, world: World
) -> None:
    store = await open_store(pooled, pool_max=MOST, statement_timeout_seconds=0.2)
    async with locked(world.url) as holder:
        await leaves_none(store, holder)
    assert await store.logins("agent@example.com")
    await store.close()
