"""Row-level security on tables that the gateway reads: 503 and the table's name, and nobody is taken for a stranger."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg
import pytest

from authcore.errors import StoreUnavailable
from authcore.store.failures import classify
from authcore.store.kinds import FailureKind
from authcore.store.migrate import migrate, pending
from authcore.store.rights import NEEDS, hidden
from tests.support.admin import readiness
from tests.support.calls import ask, bearer, get, is_refusal, post
from tests.support.commands import run
from tests.support.databases import execute, fetch
from tests.support.domain import open_store
from tests.support.worlds import PASSWORD, with_granted_role

if TYPE_CHECKING:
    from tests.support.commands import Run
    from tests.support.worlds import Start, World

__all__ = ["run"]

LOGIN = post("/api/auth/login", {"email": "agent@example.com", "password": PASSWORD})
ON = "ALTER TABLE {} ENABLE ROW LEVEL SECURITY"
OFF = "ALTER TABLE {} DISABLE ROW LEVEL SECURITY"
WORDS = "row-level security hides rows of users"


async def test_hidden_rows_are_an_outage_from_the_first_request_on(world: World, start: Start) -> None:
    own = await with_granted_role(world.url)
    await world.sql(ON.format("users"))
    gate = await start(own)
    is_refusal(await ask(gate, get("/api/contacts", bearer(world.token(world.agent)))), 503)
    is_refusal(await ask(gate, LOGIN), 503)
    page = await readiness(gate)
    assert page["ready"] is False
    assert page["checks"]["database"].startswith(
        f"refuses (row_security): {WORDS}; the gateway has to see every row"
    )
    await world.sql(OFF.format("users"))
    assert (await readiness(gate))["ready"] is True
    assert (await ask(gate, LOGIN)).status == 200


async def test_rows_that_are_hidden_while_it_serves_are_noticed(world: World, start: Start) -> None:
    gate = await start(await with_granted_role(world.url))
    assert (await ask(gate, LOGIN)).status == 200
    await world.sql(ON.format("users"))
    await readiness(gate)
    is_refusal(await ask(gate, LOGIN), 503)


async def test_a_command_says_so_in_the_place_of_an_empty_list(
    run: Run,
    migrated_url: str,
) -> None:
    own = await with_granted_role(migrated_url)
    await execute(migrated_url, ON.format("users"))
    result = await asyncio.to_thread(run, "users", "list", GATEWAY_DATABASE_URL=own)
    assert (result.exit_code, result.stdout) == (1, "")
    assert WORDS in result.stderr
    assert "BYPASSRLS" in result.stderr


@pytest.mark.parametrize("table", dict.fromkeys(one.table for one in NEEDS if one.privilege != "EXECUTE"))
async def test_each_table_is_named(migrated_url: str, table: str) -> None:
    own = await asyncpg.connect(await with_granted_role(migrated_url))
    assert await hidden(own) == ()
    await execute(migrated_url, ON.format(table))
    assert await hidden(own) == (table,)
    await own.close()


@pytest.mark.parametrize(
    ("policies", "hides"),
    [
        (["FOR ALL USING (true)"], False),
        (["FOR ALL TO {role} USING (true)"], False),
        (["FOR ALL TO pg_monitor USING (true)"], True),
        (["FOR ALL USING (is_active)"], True),
        (["FOR SELECT USING (true)"], True),
        (["FOR SELECT USING (true)", "FOR INSERT WITH CHECK (true)", "FOR UPDATE USING (true)"], False),
        (["FOR SELECT USING (true)", "FOR INSERT WITH CHECK (is_active)", "FOR UPDATE USING (true)"], True),
        (["FOR ALL USING (true) WITH CHECK (is_active)"], True),
        (["FOR ALL USING (true)", "AS RESTRICTIVE FOR SELECT USING (is_active)"], True),
        (["FOR ALL USING (true)", "AS RESTRICTIVE FOR DELETE USING (is_active)"], False),
    ],
)
async def test_policies_that_let_every_row_pass_hide_none(
    migrated_url: str, policies: list[str], hides: bool
) -> None:
    url = await with_granted_role(migrated_url)
    own = await asyncpg.connect(url)
    role = await own.fetchval("SELECT current_user")
    await execute(migrated_url, ON.format("users"))
    for number, policy in enumerate(policies):
        kind, _, rest = policy.partition("FOR")
        await execute(migrated_url, f"CREATE POLICY p{number} ON users {kind} FOR{rest.format(role=role)}")
    assert await hidden(own) == (("users",) if hides else ())
    await own.close()


async def test_the_owner_and_a_role_that_bypasses_it_see_every_row(migrated_url: str) -> None:
    own = await with_granted_role(migrated_url)
    connection = await asyncpg.connect(own)
    await execute(migrated_url, ON.format("users"))
    assert await hidden(connection) == ("users",)
    await execute(migrated_url, f"ALTER ROLE {await connection.fetchval('SELECT current_user')} BYPASSRLS")
    assert await hidden(connection) == ()
    owner = await asyncpg.connect(migrated_url)
    assert await hidden(owner) == ()
    await owner.close()
    await connection.close()


async def test_a_table_whose_rows_are_hidden_is_not_filled_by_a_migration(database_url: str) -> None:
    # The owner is not exempt from FORCE, unless it is a superuser.
    owner = f"owner_{await fetch(database_url, 'SELECT right(current_database(), 8)')}"
    await execute(database_url, f"CREATE ROLE {owner} LOGIN", f"ALTER SCHEMA public OWNER TO {owner}")
    url = database_url.replace("gateway@", f"{owner}@", 1)
    await migrate(url)
    hide = "ALTER TABLE {0} ENABLE ROW LEVEL SECURITY; ALTER TABLE {0} FORCE ROW LEVEL SECURITY"
    await execute(database_url, hide.format("gateway_migrations"))
    for attempt in (migrate, pending):
        with pytest.raises(StoreUnavailable) as raised:
            await attempt(url)
        assert classify(raised.value.__cause__).kind is FailureKind.ROW_SECURITY
    store = await open_store(url)
    with pytest.raises(StoreUnavailable) as raised:
        await store.ping()
    assert classify(raised.value.__cause__).kind is FailureKind.ROW_SECURITY
    await store.close()
