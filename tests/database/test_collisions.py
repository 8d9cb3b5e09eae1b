"""Statements that collide with another transaction: one is run once more, and rows are locked in one order."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID, uuid4

import asyncpg
import pytest

from authcore.quotas import Ask, Batch, Period, QuotaKey, SubjectKind
from tests.database.gateways import status_of_sign_in
from tests.support.calls import ask, bearer, granted, post
from tests.support.databases import execute, fetch
from tests.support.processes import eventually
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.support.worlds import Start, World

T = TypeVar("T")

LOGIN = {"email": "admin@example.com", "password": PASSWORD}
# A sequence counts on though the transaction is rolled back.
COLLIDES = """
CREATE SEQUENCE collisions;
CREATE FUNCTION collide() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    IF nextval('collisions') <= {times} THEN
        RAISE EXCEPTION 'collided' USING ERRCODE = '{code}';
    END IF;
    RETURN NEW;
END $body$;
CREATE TRIGGER collides BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION collide();
"""
COPY_OF_KEY = """
INSERT INTO api_keys (id, organization_id, user_id, name, key_prefix, key_hash, is_active)
SELECT $1::uuid, organization_id, user_id, name, left($1::uuid::text, 8), '', true FROM api_keys LIMIT 1
"""
WAITING = """
SELECT EXISTS (SELECT FROM pg_stat_activity
               WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0)
"""


@pytest.mark.parametrize("code", ["40P01", "40001"])
async def test_a_statement_that_collides_is_run_once_more(world: World, start: Start, code: str) -> None:
    await execute(world.url, COLLIDES.format(table="gateway_sessions", code=code, times=1))
    assert await status_of_sign_in(await start(world.url)) == 200
    assert await fetch(world.url, "SELECT last_value FROM collisions") == 2


async def test_a_statement_that_collides_twice_is_503(world: World, start: Start) -> None:
    await execute(world.url, COLLIDES.format(table="gateway_sessions", code="40P01", times=2))
    gateway = await start(world.url)
    assert await status_of_sign_in(gateway) == 503
    assert await status_of_sign_in(gateway) == 200


@pytest.mark.parametrize(("times", "status"), [(1, 200), (2, 503)])
async def test_a_transaction_that_collides_is_run_once_more(
    world: World, start: Start, times: int, status: int
) -> None:
    gateway = await start(world.url)
    login = await granted(gateway, post("/api/auth/login", LOGIN))
    await execute(world.url, COLLIDES.format(table="api_keys", code="40P01", times=times))
    new = post("/api/api-keys", {"name": "new"}, bearer(login["access_token"]))
    assert (await ask(gateway, new)).status == status
    assert await fetch(world.url, "SELECT count(*) FROM api_keys WHERE name = 'new'") == (status == 200)


async def locks_in_order(url: str, first: str, second: str, work: Awaitable[object]) -> None:
    """Hold the row that the query `first` finds; `work` waits for it, and holds that of `second` not yet."""
    holder, other = await asyncpg.connect(url), await asyncpg.connect(url)

    async def waits() -> bool:
        return bool(await other.fetchval(WAITING))

    held = holder.transaction()
    await held.start()
    assert await holder.fetchrow(f"{first} FOR UPDATE") is not None
    working = asyncio.ensure_future(work)
    try:
        await eventually(waits)
        assert await other.fetchrow(f"{second} FOR UPDATE NOWAIT") is not None
    finally:
        await held.rollback()
        await asyncio.gather(working, holder.close(), other.close())


async def while_whatomate_adds(world: World, work: Callable[[UUID, UUID], Awaitable[T]]) -> T:
    """Return what becomes of `work` on a membership that Whatomate adds, and commits while `work` waits for it."""
    organization = world.home
    (row,) = await world.sql(
        "INSERT INTO users (organization_id, email, full_name) VALUES ($1, 'new@example.com', 'New') RETURNING id",
        organization,
    )
    other = world.other
    holder = await asyncpg.connect(world.url)
    try:
        async with holder.transaction():
            for place in (organization, other):
                await holder.execute(
                    "INSERT INTO user_organizations (user_id, organization_id) VALUES ($1, $2)",
                    row["id"],
                    place,
                )
            working = asyncio.ensure_future(work(row["id"], other))

            async def waits() -> bool:
                return bool(await fetch(world.url, WAITING))

            await eventually(waits)
        return await working
    finally:
        await holder.close()


async def test_a_membership_that_whatomate_adds_at_the_same_moment_is_one_already(world: World) -> None:
    async def add(user_id: UUID, organization_id: UUID) -> bool:
        return await world.store.add_member(user_id, organization_id, None)

    assert await while_whatomate_adds(world, add) is False


async def test_a_membership_that_whatomate_adds_at_the_same_moment_is_removed(world: World) -> None:
    async def remove(user_id: UUID, _: UUID) -> bool:
        await world.store.remove_member(user_id, world.home, even_last=True)
        return [one.organization_id for one in await world.store.memberships(user_id)] == [world.other]

    assert await while_whatomate_adds(world, remove)


async def test_last_uses_of_the_same_keys_are_locked_in_one_order(world: World) -> None:
    # By the place in the table, and by any index of it, the greater id comes first.
    least, greatest = "00000000-0000-4000-8000-000000000000", "ffffffff-ffff-4fff-8fff-ffffffffffff"
    for one in (greatest, least):
        await world.sql(COPY_OF_KEY, UUID(one))
    ids = [row["id"] for row in await world.sql("SELECT id FROM api_keys")]
    await locks_in_order(
        world.url,
        f"SELECT FROM api_keys WHERE id = '{least}'",
        f"SELECT FROM api_keys WHERE id = '{greatest}'",
        world.store.mark_used(ids, datetime.now(UTC)),
    )


async def test_counts_of_quotas_are_locked_in_one_order(world: World) -> None:
    store = world.store
    keys = [
        QuotaKey(SubjectKind.ORGANIZATION, world.home, Period.DAY, 0.0),
        QuotaKey(SubjectKind.API_KEY, world.api_key_id, Period.DAY, 0.0),
    ]
    asks = tuple(Ask(key, 1, 0) for key in keys)
    process = uuid4()
    await store.settle_quotas(process, Batch(1, asks), {})
    await locks_in_order(
        world.url,
        "SELECT FROM gateway_quota_usage WHERE kind = 'api_key'",
        "SELECT FROM gateway_quota_usage WHERE kind = 'organization'",
        store.settle_quotas(process, Batch(2, asks), {}),
    )
