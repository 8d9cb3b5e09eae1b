"""Schemas of search_path: where tables are found, where they would be made, and what is done where these differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from authcore.store.grants import statements_on
from authcore.store.migrate import grant_to, migrate, pending, remove_triggers
from authcore.store.namespaces import Misplaced, NoNamespace, home
from authcore.store.schema import NEEDED
from tests.support.databases import execute
from tests.support.schemas import SCHEMA

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TABLES = "SELECT schemaname || '.' || tablename AS name FROM pg_tables WHERE schemaname IN ('public', 'gw') ORDER BY 1"


def with_path(url: str, path: str) -> str:
    return f"{url}&search_path={path}"


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A database with Whatomate's tables in ``public``, a user in them, and an empty schema ``gw``."""
    one = await asyncpg.connect(database_url)
    await one.execute(SCHEMA % 16)
    await one.execute(
        "INSERT INTO organizations (id, name, slug) VALUES (gen_random_uuid(), 'Acme', 'acme');"
        "INSERT INTO users (organization_id, email) SELECT id, 'a@acme.example' FROM organizations;"
        "CREATE SCHEMA gw"
    )
    yield one
    await one.close()


async def names(connection: Any) -> list[str]:
    return [row["name"] for row in await connection.fetch(TABLES)]


async def test_no_table_is_made_in_front_of_one_with_rows(
    database_url: str, connection: asyncpg.Connection[asyncpg.Record]
) -> None:
    before = await names(connection)
    url = with_path(database_url, "gw,public")
    for attempt in (migrate, pending):
        with pytest.raises(Misplaced, match=r"tables are in schema public, .* made in schema gw"):
            await attempt(url)
    assert await names(connection) == before
    await migrate(database_url)
    assert not [name for name in await names(connection) if name.startswith("gw.")]


async def test_a_schema_with_the_name_of_the_role_is_no_trap(
    database_url: str, connection: asyncpg.Connection[asyncpg.Record]
) -> None:
    # PostgreSQL's default search_path is "$user", public.
    await connection.execute("ALTER SCHEMA gw RENAME TO gateway")
    before = await names(connection)
    with pytest.raises(Misplaced, match="gateway"):
        await migrate(database_url)
    assert await names(connection) == before


async def test_a_schema_that_comes_first_after_the_migration_gets_no_second_set_of_tables(
    database_url: str, connection: asyncpg.Connection[asyncpg.Record]
) -> None:
    await migrate(database_url)
    before = await names(connection)
    url = with_path(database_url, "gw,public")
    assert await migrate(url) == []  # nothing is to be done, and nothing is written
    assert await pending(url) == []
    await execute(database_url, "DELETE FROM gateway_migrations WHERE name LIKE '0028%'")
    with pytest.raises(Misplaced):
        await migrate(url)
    assert await names(connection) == before


async def test_tables_in_several_schemas_are_named_with_each(
    database_url: str, connection: asyncpg.Connection[asyncpg.Record]
) -> None:
    await connection.execute("ALTER TABLE api_keys SET SCHEMA gw")
    with pytest.raises(Misplaced, match=r"organizations, users, .* in public; api_keys in gw"):
        await migrate(with_path(database_url, "public,gw"))


async def test_a_path_that_begins_with_the_schema_of_the_tables_is_right_wherever_it_goes_on(
    database_url: str, connection: asyncpg.Connection[asyncpg.Record]
) -> None:
    for table in NEEDED:
        await connection.execute(f"ALTER TABLE {table} SET SCHEMA gw")
    url = with_path(database_url, "gw,public")
    assert await migrate(url)
    assert not [name for name in await names(connection) if name.startswith("public.")]


async def test_rights_are_given_where_the_tables_are(
    database_url: str, connection: asyncpg.Connection[asyncpg.Record]
) -> None:
    await migrate(database_url)
    await connection.execute("SET search_path = gw, public")
    assert await home(connection) == "public"
    assert '"public"."users"' in " ".join(await statements_on(connection, "pg_monitor"))


async def test_a_path_that_leads_nowhere_is_named(database_url: str) -> None:
    url = with_path(database_url, "nonexist")
    attempts = [
        migrate(url),
        pending(url),
        grant_to(url, "somebody", run=False),
        grant_to(url, "somebody", run=True),
        remove_triggers(url),
    ]
    for attempt in attempts:
        with pytest.raises(NoNamespace, match="nonexist"):
            await attempt
