"""Defaults of a role or a database, such as its isolation, that differ from PostgreSQL's change nothing."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import asyncpg
import pytest

from authcore.store.migrate import migrate
from authcore.store.rows import NewUser
from tests.database.gateways import status_of_sign_in
from tests.support.databases import execute, fetch
from tests.support.domain import open_store
from tests.support.processes import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.worlds import Start, World

WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
LOCK = "SELECT pg_advisory_xact_lock(1466457701, hashtext($1))"  # that of a new user, by the e-mail
EMAIL = "new@example.com"


@pytest.fixture(params=["repeatable read", "serializable"])
async def level(request: pytest.FixtureRequest, database_url: str) -> str:
    """The default isolation of the test's database."""
    await set_level(database_url, str(request.param))
    return str(request.param)


async def set_level(url: str, level: str) -> None:
    name = urlsplit(url).path[1:]
    await execute(url, f"ALTER DATABASE {name} SET default_transaction_isolation = '{level}'")


@asynccontextmanager
async def holding(
    url: str, statement: str, *arguments: object
) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """Hold an advisory lock until the block ends."""
    holder = await asyncpg.connect(url)
    async with holder.transaction():
        await holder.execute(statement, *arguments)
        yield holder
    await holder.close()


async def test_of_users_of_one_email_at_once_one_is_made_behind_a_pooler_too(
    pooled: str, world: World
) -> None:
    await set_level(world.url, "repeatable read")
    store = await open_store(pooled)
    users = [
        NewUser(email=email, password_hash="", full_name="New", organization_id=world.home, role_id=None)
        for email in (EMAIL, EMAIL.upper(), EMAIL.title())
    ]
    async with holding(world.url, LOCK, EMAIL) as holder:
        made = [asyncio.ensure_future(store.add_user(user)) for user in users]

        async def all_wait() -> bool:
            return bool(await holder.fetchval(WAITING) == len(users))

        await eventually(all_wait)
    outcomes = await asyncio.gather(*made, return_exceptions=True)
    await store.close()
    assert sorted(type(one).__name__ for one in outcomes) == ["NoneType", "NoneType", "UUID"]


async def test_sign_ins_of_one_user_at_once_are_all_right(world: World, start: Start) -> None:
    await set_level(world.url, "serializable")
    gateway = await start(world.url)
    for _ in range(3):
        statuses = await asyncio.gather(*(status_of_sign_in(gateway) for _ in range(8)))
        assert statuses == [200] * 8


async def test_a_connection_of_another_program_behind_a_pooler_keeps_its_isolation(
    pooled: str, world: World, start: Start
) -> None:
    await set_level(world.url, "repeatable read")
    gateway = await start(pooled)
    assert await status_of_sign_in(gateway) == 200
    for _ in range(10):
        assert await fetch(pooled, "SHOW default_transaction_isolation") == "repeatable read"


async def test_migrations_at_once_are_one_at_every_isolation(level: str, database_url: str) -> None:
    applied = await asyncio.gather(*(migrate(database_url) for _ in range(5)))
    assert sum(bool(one) for one in applied) == 1


async def test_whatomates_tables_are_the_same_where_identifiers_are_quoted(database_url: str) -> None:
    name = urlsplit(database_url).path[1:]
    await execute(database_url, f"ALTER DATABASE {name} SET quote_all_identifiers = on")
    await migrate(database_url)
    asked = (
        "SELECT attnotnull FROM pg_attribute WHERE attrelid = 'users'::regclass AND attname = 'created_at'"
    )
    assert await fetch(database_url, asked) is False


async def test_the_highest_cost_is_found_where_backslashes_escape(world: World) -> None:
    """An unknown user's password takes as long as the dearest hash."""
    name = urlsplit(world.url).path[1:]
    await execute(world.url, f"ALTER DATABASE {name} SET standard_conforming_strings = off")
    for user, cost in ((world.admin, 11), (world.agent, 99)):
        await world.sql("UPDATE users SET password_hash = $2 WHERE id = $1", user, f"$2b${cost}$" + "x" * 53)
    store = await open_store(world.url)
    found = await store.highest_password_cost()
    await store.close()
    assert found == 11
