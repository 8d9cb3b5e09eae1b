"""Statements that are given up, as they wait for a lock.

They leave nothing behind at the server, are reported, and do not make it count as silent: a probe shows whether it is.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
import structlog

from authcore.errors import StoreUnavailable
from authcore.store import present_failures
from authcore.store.circuit import FAILURES
from tests.database.gateways import status_of_sign_in, value
from tests.database.servers import Forwarder
from tests.support.admin import readiness
from tests.support.databases import fetch
from tests.support.domain import open_store
from tests.support.processes import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from authcore.store.postgres import PostgresStore
    from tests.support.worlds import Start, World

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
        with pytest.raises((TimeoutError, StoreUnavailable)):  # after a pause of this process both are due
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


@pytest.mark.parametrize("mode", ["serving", "strict"])
async def test_a_lock_that_holds_some_statements_is_named_for_as_long_as_it_lasts_and_takes_no_gateway_out(
    world: World, start: Start, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    gateway = await start(world.url, ready=mode, database={"statement_timeout_seconds": 1})
    with structlog.testing.capture_logs() as events:

        def named(name: str) -> list[str]:
            return [one["kind"] for one in events if one["event"] == name]

        async with locked(world.url):
            assert await status_of_sign_in(gateway) == 503
            for _ in range(3):  # each look is answered, since it does not need the locked table
                found = await readiness(gateway)
                assert found["checks"]["database"].startswith(
                    "leaves some statements without an answer (timeout)"
                )
                assert "pg_stat_activity" in found["checks"]["database"]
                assert found["ready"] is True
            assert (named("store_unavailable"), named("store_recovered")) == (["timeout"], [])
        monkeypatch.setattr(present_failures, "QUIET_SECONDS", 0.0)

        async def in_order() -> bool:
            return bool((await readiness(gateway))["checks"]["database"] == "ok")

        await eventually(in_order)
        assert named("store_recovered") == ["timeout"]


@asynccontextmanager
async def closing(url: str) -> AsyncIterator[PostgresStore]:
    """Open a store with a short limit for statements; close it whatever happens."""
    store = await open_store(url, statement_timeout_seconds=3)
    try:
        yield store
    finally:
        await store.close()


async def test_statements_that_wait_for_a_lock_stop_no_others(world: World) -> None:
    async with closing(world.url) as store, locked(world.url):

        async def all_wait() -> bool:
            return bool(await fetch(world.url, WAITING) == FAILURES)

        waiting = [asyncio.ensure_future(store.logins("a@b.c")) for _ in range(FAILURES)]
        await eventually(all_wait)
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(one, StoreUnavailable) for one in outcomes)
        await store.ping()
        assert value(store, "circuit_opened") == 0


async def test_one_statement_that_a_silent_server_leaves_without_an_answer_opens_the_circuit(
    world: World,
) -> None:
    url = urlsplit(world.url)
    async with (
        Forwarder(f"{parse_qs(url.query)['host'][0]}/.s.PGSQL.5432") as road,
        closing(road.url(url.path[1:])) as store,
    ):
        await store.ping()
        road.hold()
        with pytest.raises(StoreUnavailable):
            await store.ping()

        async def is_open() -> bool:
            return value(store, "circuit_open") == 1

        await eventually(is_open)
        road.go_on()
