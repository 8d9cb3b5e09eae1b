"""Connections that somebody ends: what only reads is read on another, and the server is not taken for silent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from authcore.errors import StoreUnavailable
from authcore.store.failures import classify
from authcore.store.kinds import ENDED
from tests.database.gateways import value
from tests.support.databases import execute, fetch
from tests.support.domain import open_store
from tests.support.processes import eventually

if TYPE_CHECKING:
    from authcore.store.postgres import PostgresStore

END = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'whatomate-gateway'"
ASLEEP = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
CONNECTIONS = 5


async def ended(url: str, store: PostgresStore, statement: str) -> list[object]:
    """Return what becomes of a statement on every connection at once when all of them are ended meanwhile."""
    pool = store._pool  # noqa: SLF001 -- no call of a store takes a time of the test's choice
    asked = [asyncio.ensure_future(pool.fetchval(statement)) for _ in range(CONNECTIONS)]

    async def all_asleep() -> bool:
        return bool(await fetch(url, f"{ASLEEP} AND datname = current_database()") == CONNECTIONS)

    await eventually(all_asleep)
    await execute(url, f"{END} AND datname = current_database()")
    async with asyncio.timeout(10):
        return list(await asyncio.gather(*asked, return_exceptions=True))


async def test_what_only_reads_is_read_again_and_the_circuit_stays_closed(migrated_url: str) -> None:
    store = await open_store(migrated_url, pool_max=CONNECTIONS)
    try:
        assert await ended(migrated_url, store, "SELECT 1 FROM pg_sleep(0.7)") == [1] * CONNECTIONS
        assert value(store, "circuit_opened") == 0
    finally:
        await store.close()


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO written SELECT 1 FROM pg_sleep(0.7) RETURNING 1",
        "WITH one AS (INSERT INTO written SELECT 1 FROM pg_sleep(0.7) RETURNING 1) SELECT count(*) FROM one",
    ],
)
async def test_what_writes_is_not_written_again(migrated_url: str, statement: str) -> None:
    await execute(migrated_url, "CREATE TABLE written (one int)")
    store = await open_store(migrated_url, pool_max=CONNECTIONS)
    try:
        outcomes = await ended(migrated_url, store, statement)
        assert {type(one) for one in outcomes} == {StoreUnavailable}
        causes = {classify(one.__cause__).kind for one in outcomes if isinstance(one, StoreUnavailable)}
        assert causes <= ENDED
        assert value(store, "circuit_opened") == 0
        await store.ping()
        assert await fetch(migrated_url, "SELECT count(*) FROM written") == 0
    finally:
        await store.close()
