"""Gaining the owner's rights as the lesser role: objects of the caller's in the way of functions that have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import pytest

from authcore.store.migrate import migrate
from tests.support.databases import execute
from tests.support.worlds import with_granted_role

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.worlds import World

DEFINERS = """
SELECT p.oid::regprocedure::text AS name, p.proconfig AS settings FROM pg_proc p
WHERE p.prosecdef AND p.pronamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
"""
CHANGES = {
    "a row changes": "UPDATE user_organizations SET role_id = role_id WHERE user_id = $1",
    "a row is deleted": "DELETE FROM user_organizations WHERE user_id = $1",
    "a row moves": "UPDATE user_organizations SET organization_id = gen_random_uuid() WHERE user_id = $1",
    "all rows go": "TRUNCATE user_organizations",
}
# The rights of the caller are those that the statement has; what it runs shows whose it has become.
TRAP = """
CREATE TEMP TABLE trapped (who text);
CREATE FUNCTION pg_temp.trap() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO pg_temp.trapped VALUES (current_user); RETURN NEW; END $$;
CREATE TEMP TABLE {table} (LIKE public.{table} INCLUDING ALL);
CREATE TRIGGER trap BEFORE INSERT OR UPDATE OR DELETE ON pg_temp.{table}
    FOR EACH STATEMENT EXECUTE FUNCTION pg_temp.trap();
GRANT ALL ON pg_temp.trapped, pg_temp.{table} TO PUBLIC;
"""


@pytest.fixture
async def lesser(world: World) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection of the role that serves, which may delete memberships besides."""
    url = await with_granted_role(world.url)
    (role,) = await world.sql("SELECT rolname FROM pg_roles WHERE rolname = $1", url.split("@")[0][13:])
    await world.sql(f"GRANT UPDATE, DELETE, TRUNCATE ON user_organizations TO {role['rolname']}")
    for constraint in await world.sql(
        "SELECT conname FROM pg_constraint WHERE contype = 'f' AND conrelid = 'user_organizations'::regclass"
    ):
        await world.sql(f"ALTER TABLE user_organizations DROP CONSTRAINT {constraint['conname']}")
    connection = await asyncpg.connect(url)
    yield connection
    await connection.close()


async def test_every_function_with_its_owners_rights_looks_into_temporary_tables_last(
    migrated_url: str,
) -> None:
    connection = await asyncpg.connect(migrated_url)
    found = {row["name"]: row["settings"] or [] for row in await connection.fetch(DEFINERS)}
    await connection.close()
    assert len(found) == 3
    for name, settings in found.items():
        (path,) = [one for one in settings if one.startswith("search_path=")]
        assert path in {"search_path=public, pg_temp", "search_path=pg_catalog, pg_temp"}, name


async def test_functions_with_their_owners_rights_find_the_tables_of_the_schema_that_was_migrated(
    database_url: str,
) -> None:
    await execute(database_url, 'CREATE SCHEMA "W m"')
    await migrate(f"{database_url}&search_path=%22W%20m%22")
    connection = await asyncpg.connect(database_url)
    found = [row["settings"] for row in await connection.fetch(DEFINERS)]
    paths = sorted(one for settings in found for one in settings if one.startswith("search_path="))
    assert paths == [*['search_path="W m", pg_temp'] * 2, "search_path=pg_catalog, pg_temp"]
    await connection.execute('SET search_path = "W m"; SET session_replication_role = replica')
    await connection.execute(
        "INSERT INTO user_organizations (user_id, organization_id) VALUES (gen_random_uuid(), gen_random_uuid());"
        'SET search_path = public; DELETE FROM "W m".user_organizations'
    )
    assert await connection.fetchval('SELECT count(*) FROM "W m".gateway_former_memberships') == 1
    await connection.close()


@pytest.mark.parametrize("table", ["gateway_former_memberships", "user_organizations"])
@pytest.mark.parametrize("change", CHANGES)
async def test_a_temporary_table_of_the_lesser_role_is_not_written_as_the_owner(
    world: World, lesser: asyncpg.Connection[asyncpg.Record], table: str, change: str
) -> None:
    await lesser.execute(TRAP.format(table=table))
    statement = CHANGES[change].replace("user_organizations", "public.user_organizations")
    await lesser.execute(statement.replace("$1", f"'{world.agent}'"))
    assert await lesser.fetch("SELECT who FROM pg_temp.trapped") == []
    noted = "SELECT count(*) FROM public.gateway_former_memberships WHERE user_id = $1"
    assert await lesser.fetchval(noted, world.agent) == (0 if change == "a row changes" else 1)
