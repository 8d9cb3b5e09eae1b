"""Migrations: on nothing, on an existing Whatomate database, and by many at once."""

from __future__ import annotations

import asyncio
import re
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from authcore.credentials import ApiKey
from authcore.errors import LoginRejected, StoreUnavailable
from authcore.permissions import ALL
from authcore.store import accounts, keys, sessions, subjects
from authcore.store import migrate as migrations
from authcore.store.migrate import TRIGGERS, MigrationChanged, grant_to, migrate, pending
from tests.support.databases import execute, fetch
from tests.support.domain import NOW, World, hashed, open_store
from tests.support.processes import eventually
from tests.support.schemas import SCHEMA, objects

TABLES = (
    "organizations",
    "users",
    "user_organizations",
    "custom_roles",
    "permissions",
    "role_permissions",
    "api_keys",
    "sso_providers",
)
COLUMNS = """SELECT table_name, column_name, data_type, character_maximum_length, is_nullable, column_default
    FROM information_schema.columns WHERE table_name = ANY($1) ORDER BY table_name, ordinal_position"""
CONSTRAINTS = """SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE conrelid::regclass::text = ANY($1) ORDER BY conname"""
# bcrypt's `allmine` at cost 10, from the tests of golang.org/x/crypto/bcrypt.
GO_HASH = "$2a$10$XajjQvNhvvRt5GSeFk1xFeyqRrsxkhBkUiQeg0dt.wU1qD4aFDcga"
KEY = "whm_0123456789abcdef0123456789abcdef"
ORGANIZATION, USER, ROLE, GONE = UUID(int=1), UUID(int=2), UUID(int=3), UUID(int=9)


async def existing(url: str, width: int, key_hash: str) -> None:
    """A Whatomate database with rows, living and deleted, in every table; no membership row for the living user."""
    connection = await asyncpg.connect(url)
    await connection.execute(SCHEMA % width)
    values: list[tuple[str, dict[str, Any]]] = [
        ("organizations", {"name": "Acme", "slug": "acme", "settings": '{"timezone": "UTC"}'}),
        ("custom_roles", {"organization_id": ORGANIZATION, "name": "boss", "is_default": True}),
        ("permissions", {"resource": "contacts", "action": "read"}),
        ("users", {"organization_id": ORGANIZATION, "email": "Old@Example.com", "password_hash": GO_HASH,
                   "role_id": ROLE, "full_name": "Old User", "settings": '{"theme": "dark"}'}),
        ("api_keys", {"organization_id": ORGANIZATION, "user_id": USER, "name": "k", "key_prefix": KEY[4 : 4 + width],
                      "key_hash": key_hash}),
        ("sso_providers", {"organization_id": ORGANIZATION, "provider": "google", "client_secret": "s"}),
    ]  # fmt: skip
    ids = {"organizations": ORGANIZATION, "users": USER, "custom_roles": ROLE}
    for table, columns in values:
        await insert(connection, table, {"id": ids.get(table, UUID(int=5)), **columns})
        unique = {
            name: f"gone-{value}" for name, value in columns.items() if name in {"slug", "email", "resource"}
        }
        await insert(connection, table, {"id": GONE, **columns, **unique}, deleted=True)
    await insert(
        connection, "user_organizations", {"user_id": GONE, "organization_id": ORGANIZATION}, deleted=True
    )
    await connection.execute("INSERT INTO role_permissions VALUES ($1, $2)", ROLE, UUID(int=5))
    await connection.execute("INSERT INTO role_permissions VALUES ($1, $2)", ROLE, GONE)
    await connection.close()


async def insert(connection: Any, table: str, columns: dict[str, Any], *, deleted: bool = False) -> None:
    names = ", ".join(columns)
    places = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
    times = f"now(), now(), {'now()' if deleted else 'NULL'}"
    await connection.execute(
        f"INSERT INTO {table} ({names}, created_at, updated_at, deleted_at) VALUES ({places}, {times})",  # noqa: S608
        *columns.values(),
    )


async def snapshot(url: str) -> dict[str, Any]:
    """Every row of Whatomate's tables with its version and place, and every column and constraint of them."""
    connection = await asyncpg.connect(url)
    seen: dict[str, Any] = {}
    for table in TABLES:
        rows = await connection.fetch(f"SELECT t.xmin, t.ctid, t::text FROM {table} t ORDER BY t.ctid")  # noqa: S608
        seen[table] = [tuple(row) for row in rows]
    seen["columns"] = await connection.fetch(COLUMNS, TABLES)
    seen["constraints"] = await connection.fetch(CONSTRAINTS, TABLES)
    await connection.close()
    return seen


async def test_an_empty_database_gets_whatomates_tables_and_the_catalogue(database_url: str) -> None:
    names = [*(one.name for one in migrations.migrations()), TRIGGERS]
    assert await pending(database_url) == names
    assert await migrate(database_url) == names
    assert await pending(database_url) == []
    assert await migrate(database_url) == []
    assert set(TABLES) < await objects(database_url)
    connection = await asyncpg.connect(database_url)
    rows = await connection.fetch("SELECT resource || ':' || action AS name FROM permissions")
    await connection.close()
    assert {row["name"] for row in rows} == ALL


async def test_asking_what_is_pending_changes_nothing(database_url: str) -> None:
    before = await objects(database_url)
    await pending(database_url)
    assert await objects(database_url) == before


@pytest.mark.parametrize("width", [8, 16])
async def test_an_existing_database_keeps_every_row_and_column_and_works(
    database_url: str, width: int
) -> None:
    await existing(database_url, width, hashed(KEY))
    before, names = await snapshot(database_url), await objects(database_url)
    await migrate(database_url)
    await migrate(database_url)
    assert await snapshot(database_url) == before
    assert all(name.startswith("gateway_") for name in await objects(database_url) - names)

    store = await open_store(database_url)
    world = World(database_url, store)
    signed_in = await world.login("old@example.com", "allmine")
    assert (signed_in.user.id, signed_in.user.email, signed_in.user.settings) == (
        USER,
        "Old@Example.com",
        {"theme": "dark"},
    )
    assert signed_in.user.role is not None
    assert [str(one) for one in signed_in.user.role.permissions] == ["contacts:read"]
    with pytest.raises(LoginRejected):
        await world.login("gone-Old@Example.com", "allmine")
    principal = await world.authenticator.authenticate(ApiKey(KEY.encode()), None, NOW)
    assert (principal.user_id, principal.role, principal.permissions) == (
        USER,
        "boss",
        frozenset({"contacts:read"}),
    )
    assert await snapshot(database_url) == before

    row, key = await world.accounts.administration.create_api_key(USER, ORGANIZATION, "new")
    assert row.key_prefix == key[4 : 4 + width]
    await world.authenticator.authenticate(ApiKey(key.encode()), None, NOW)
    registered = await world.accounts.register(
        email="n@example.com",
        password="password",
        full_name="N",
        organization_id=ORGANIZATION,
        now=NOW,
    )
    assert registered.user.role_id == ROLE
    world.passwords.close()
    await store.close()


async def test_a_partly_existing_database_gets_what_it_lacks(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute(SCHEMA % 8)
    await connection.execute("DROP TABLE user_organizations, sso_providers")
    await connection.close()
    await migrate(database_url)
    assert set(TABLES) < await objects(database_url)


@pytest.mark.parametrize("has_tables", [False, True])
async def test_ten_migrations_at_once_are_one(database_url: str, has_tables: bool) -> None:
    if has_tables:
        await existing(database_url, 16, "x")
    applied = await asyncio.gather(*(migrate(database_url) for _ in range(10)))
    names = [one.name for one in migrations.migrations()]
    assert sorted(applied) == [[]] * 9 + [[*names, TRIGGERS]]
    assert await pending(database_url) == []


async def test_grants_at_once_all_succeed(database_url: str) -> None:
    await migrate(database_url)
    role = f"serving_{uuid4().hex[:8]}"
    await execute(database_url, f"CREATE ROLE {role}")
    try:
        for _ in range(3):
            given = await asyncio.gather(*(grant_to(database_url, role, run=True) for _ in range(10)))
            assert {tuple(one) for one in given} == {tuple(given[0])}
    finally:
        await execute(database_url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


async def test_a_failing_migration_leaves_nothing_behind(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await objects(database_url)
    broken = [
        *migrations.migrations(),
        migrations.Migration("9999_broken", "CREATE TABLE gateway_x (); SELECT 1/0"),
    ]
    monkeypatch.setattr(migrations, "migrations", lambda: broken)
    with pytest.raises(StoreUnavailable) as failed:
        await migrate(database_url)
    assert isinstance(failed.value.__cause__, asyncpg.DivisionByZeroError)
    assert await objects(database_url) == before


async def test_an_applied_migration_that_changed_is_refused(migrated_url: str) -> None:
    connection = await asyncpg.connect(migrated_url)
    await connection.execute("UPDATE gateway_migrations SET checksum = 'other' WHERE name LIKE '0001%'")
    await connection.close()
    for attempt in (migrate, pending):
        with pytest.raises(MigrationChanged, match="0001"):
            await attempt(migrated_url)


async def test_a_database_from_the_future_is_not_pending(migrated_url: str) -> None:
    connection = await asyncpg.connect(migrated_url)
    await connection.execute("INSERT INTO gateway_migrations VALUES ('9999_future', 'x')")
    await connection.close()
    assert await pending(migrated_url) == []


async def test_a_database_that_is_down_is_unavailable() -> None:
    for attempt in (migrate, pending):
        with pytest.raises(StoreUnavailable):
            await attempt("postgresql://nobody@/nowhere?host=/nonexistent")


async def test_every_statement_has_its_index(world: World) -> None:
    """With sequential scans priced out, the plan for any arguments holds none (but of the short permissions table)."""
    settings = {"enable_seqscan": "off", "plan_cache_mode": "force_generic_plan"}
    connection = await asyncpg.connect(world.url, server_settings=settings)
    checked = 0
    for module in (accounts, keys, sessions, subjects):
        for name, statement in vars(module).items():
            if name == "__doc__" or not isinstance(statement, str):
                continue
            if not re.match(
                r"\s*(SELECT|WITH|INSERT|UPDATE|DELETE)\b.*\b(FROM|UPDATE|INTO) [a-z]", statement, re.DOTALL
            ):
                continue  # a fragment, or none of ours
            if name == "_HIGHEST_COST":  # reads every hash, for a chore and once an hour
                continue
            parameters = (await connection.prepare(statement)).get_parameters()
            await connection.execute(f"PREPARE p AS {statement}")
            nulls = ", ".join("NULL" for _ in parameters)
            plan = await connection.fetch(f"EXPLAIN EXECUTE p({nulls})")
            await connection.execute("DEALLOCATE p")
            scans = [row[0] for row in plan if re.search(r"Seq Scan on (?!permissions|pg_)", row[0])]
            assert scans == [], f"{module.__name__}.{name}"
            checked += 1
    await connection.close()
    assert checked >= 20


# It is raised as the first statement makes an index; a sequence counts on though the transaction is rolled back.
DEADLOCK = """
CREATE SEQUENCE deadlocks;
CREATE FUNCTION deadlock() RETURNS event_trigger LANGUAGE plpgsql AS $body$
BEGIN
    IF nextval('public.deadlocks') <= {} THEN
        RAISE EXCEPTION 'deadlock detected' USING ERRCODE = 'deadlock_detected';
    END IF;
END $body$;
CREATE EVENT TRIGGER deadlock ON ddl_command_start WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION deadlock();
"""


async def test_a_deadlock_with_others_is_no_end_of_a_migration(database_url: str) -> None:
    await execute(database_url, DEADLOCK.format(2))
    assert await migrate(database_url) == [*(one.name for one in migrations.migrations()), TRIGGERS]
    assert await pending(database_url) == []


async def test_a_migration_that_meets_a_deadlock_each_time_fails_and_applies_nothing(
    database_url: str,
) -> None:
    await execute(database_url, DEADLOCK.format(1000))
    with pytest.raises(StoreUnavailable):
        await migrate(database_url)
    await execute(database_url, "DROP EVENT TRIGGER deadlock")
    assert len(await pending(database_url)) == len(migrations.migrations()) + 1


@pytest.mark.parametrize("limit", ["lock_timeout", "statement_timeout"])
async def test_one_that_migrates_waits_for_the_others_past_the_limits_of_its_role(
    migrated_url: str, limit: str
) -> None:
    holder = await asyncpg.connect(migrated_url)
    held = holder.transaction()
    await held.start()
    await holder.execute("SELECT pg_advisory_xact_lock($1::bigint)", migrations.LOCK)
    waiting = asyncio.ensure_future(migrate(f"{migrated_url}&{limit}=2000"))

    async def has_waited() -> bool:
        return waiting.done() or bool(await fetch(migrated_url, WAITED))

    try:
        await eventually(has_waited)
    finally:
        await held.rollback()
        await holder.close()
    assert await waiting == []


WAITED = """
SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()
               AND clock_timestamp() - query_start > interval '2.5 seconds')
"""
