"""Whatever happens to its connections, the pool answers everybody, is never over its bound, and is whole in the end."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from authcore.errors import StoreUnavailable
from authcore.store.address import Address
from authcore.store.lender import Lender
from authcore.store.pool import Pool
from tests.conftest import execute, fetch, finish

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

MOST = 3
OURS = "datname = current_database() AND application_name = 'whatomate-gateway'"
COUNT = f"SELECT count(*) FROM pg_stat_activity WHERE {OURS}"  # noqa: S608 -- ours
KILL = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OURS}"  # noqa: S608 -- ours


async def write(pool: Pool) -> None:
    async with pool.transaction() as connection:
        await connection.execute("SELECT pg_sleep(0.002)")


async def fail(pool: Pool) -> None:
    async with pool.transaction() as connection:
        await connection.execute("SELECT 1")
        raise LookupError


async def cancel(pool: Pool) -> None:
    task = asyncio.ensure_future(pool.fetchval("SELECT pg_sleep(0.05)"))
    await asyncio.sleep(random.random() / 100)  # noqa: S311 -- no secret
    task.cancel()
    await asyncio.wait([task])


async def burst(pool: Pool) -> None:
    await asyncio.gather(*(pool.fetchval("SELECT pg_sleep(0.001)") for _ in range(3 * MOST)))


async def retire(pool: Pool) -> None:
    """Do what a fail-over does."""
    pool._lender.open.retire()  # noqa: SLF001 -- see above


async def kill(pool: Pool) -> None:
    await execute(pool._address._url(), KILL)  # noqa: SLF001 -- the same database


EVENTS: dict[str, Callable[[Pool], Awaitable[object]]] = {
    "read": lambda pool: pool.fetchval("SELECT 1"),
    "look": lambda pool: pool.look(),
    "write": write,
    "fail": fail,
    "cancel": cancel,
    "burst": burst,
    "retire": retire,
    "kill": kill,
}


async def happen(pool: Pool, events: Sequence[str]) -> None:
    """Let it all happen at once."""
    under_way = []
    for event in events:
        under_way.append(asyncio.ensure_future(EVENTS[event](pool)))
        await asyncio.sleep(0)
        assert len(pool._lender.open.every) <= MOST + 1  # noqa: SLF001 -- one more while one is renewed
    async with asyncio.timeout(20):
        outcomes = await asyncio.gather(*under_way, return_exceptions=True)
    allowed = (StoreUnavailable, LookupError)
    assert [one for one in outcomes if isinstance(one, BaseException) and not isinstance(one, allowed)] == []


@given(st.lists(st.sampled_from(sorted(EVENTS)), min_size=1, max_size=25))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_pool_is_whole_after_whatever_happened(database_url: str, events: list[str]) -> None:
    async def run() -> None:
        address = Address(lambda: database_url, connect_timeout_seconds=5, statement_timeout_seconds=5)
        pool = Pool(address, pool_min=0, pool_max=MOST, acquire_timeout_seconds=10, look_seconds=60)
        await happen(pool, events)
        for _ in range(4):  # three failures in a row open the circuit, and a sign of life closes it
            try:
                await pool.fetchval("SELECT 1")
            except StoreUnavailable:
                await asyncio.sleep(0.3)
        values = await asyncio.gather(*(pool.fetchval("SELECT 1") for _ in range(4 * MOST)))
        assert values == [1] * 4 * MOST
        lender = pool._lender  # noqa: SLF001 -- its own figures are what is held here
        assert len(lender.open.free) == len(lender.open.every) <= MOST
        await pool.close()
        async with asyncio.timeout(5):
            while await fetch(database_url, COUNT):
                await asyncio.sleep(0.01)

    finish(run())


async def test_a_connection_given_to_someone_who_goes_away_at_that_moment_is_not_lost(
    database_url: str,
) -> None:
    address = Address(lambda: database_url, connect_timeout_seconds=5, statement_timeout_seconds=5)
    lender = Lender(address, fewest=0, most=1, acquire_timeout_seconds=5, look_seconds=60)
    lent = await lender.acquire()
    waiting = asyncio.ensure_future(lender.acquire())
    await asyncio.sleep(0)
    lender.release(lent)  # to the one that waits
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    lender.release(await lender.acquire())
    assert len(lender.open.free) == 1
    await lender.close()
