"""Whatomate's schema: what the statements need of it, what is missing in words, and the shape of what is made here."""

from __future__ import annotations

import re
from typing import Any

import asyncpg
import pytest

from authcore.errors import StoreUnavailable
from authcore.store import migrate as migrations
from authcore.store import schema, triggers
from authcore.store.migrate import migrate, pending
from authcore.store.schema import NEEDED, ColumnKind, SchemaUnfit
from tests.support.databases import execute, finish
from tests.support.domain import open_store
from tests.support.schemas import OF_2025, SCHEMA, objects, statements

TYPES = {
    ColumnKind.UUID: "uuid",
    ColumnKind.TEXT: "varchar(255)",
    ColumnKind.BOOLEAN: "boolean",
    ColumnKind.TIME: "timestamptz",
    ColumnKind.JSON: "jsonb",
}
EVERY_COLUMN = [(table, column) for table, columns in NEEDED.items() for column in columns]

# What GORM 1.25.7 was seen to run on the tables that `migrate` makes, for structs of Whatomate's columns.
OF_GORM = (
    'ALTER TABLE "organizations" ALTER COLUMN "slug" TYPE varchar(100) USING "slug"::varchar(100)',
    'ALTER TABLE "organizations" ALTER COLUMN "slug" SET NOT NULL',
    'CREATE INDEX IF NOT EXISTS "idx_users_role_id" ON "users" ("role_id")',
    'CREATE INDEX IF NOT EXISTS "idx_users_deleted_at" ON "users" ("deleted_at")',
    "CREATE UNIQUE INDEX IF NOT EXISTS idx_user_org_unique ON user_organizations (user_id, organization_id) "  # noqa: ISC004
    "WHERE deleted_at IS NULL",
    'ALTER TABLE "sso_providers" ALTER COLUMN "client_secret" SET NOT NULL',
)
# It asks this first: for a column of its answer it runs ALTER TABLE … DROP CONSTRAINT uni_<table>_<column>, and fails.
UNIQUE_COLUMNS = """
SELECT c.column_name FROM information_schema.table_constraints tc
JOIN information_schema.constraint_column_usage AS ccu
    USING (constraint_schema, constraint_catalog, table_name, constraint_name)
JOIN information_schema.columns AS c ON c.table_schema = tc.constraint_schema AND tc.table_name = c.table_name
    AND ccu.column_name = c.column_name
WHERE constraint_type = 'UNIQUE' AND tc.table_schema = CURRENT_SCHEMA() AND tc.table_name = ANY($1::text[])
"""
INDEXES = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
UNIQUE = {
    "idx_organizations_slug": "organizations USING btree (slug)",
    "idx_users_email": "users USING btree (email)",
    "idx_permission_resource_action": "permissions USING btree (resource, action)",
    "idx_user_org": "user_organizations USING btree (user_id, organization_id)",
    "idx_custom_roles_org_name": "custom_roles USING btree (organization_id, name)",
    "idx_sso_providers_org_provider": "sso_providers USING btree (organization_id, provider)",
}


def exactly_what_is_needed() -> str:
    tables = []
    for table, columns in NEEDED.items():
        lines = [
            f"{name} {TYPES[kind]}{' DEFAULT gen_random_uuid()' if name == 'id' else ''}"
            for name, kind in columns.items()
        ]
        key = "id" if "id" in columns else ", ".join(columns)
        tables.append(f"CREATE TABLE {table} ({', '.join(lines)}, PRIMARY KEY ({key}));")
    return "\n".join(tables)


@pytest.fixture
def sparse_url(database_url: str) -> str:
    """A database whose tables have the columns that are needed, and no other."""
    finish(execute(database_url, exactly_what_is_needed()))
    finish(migrate(database_url))
    return database_url


async def test_the_statements_name_the_columns_that_are_declared_and_no_other(sparse_url: str) -> None:
    connection = await asyncpg.connect(sparse_url)
    every = dict(statements())
    assert len(every) > 50
    for name, statement in every.items():
        try:
            await connection.prepare(statement)
        except (asyncpg.UndefinedColumnError, asyncpg.UndefinedTableError) as error:
            pytest.fail(f"{name} names what authcore/store/schema.py does not declare: {error}")
    await connection.execute("BEGIN")
    idle = []
    for table, column in EVERY_COLUMN:
        mentions = [one for one in every.values() if re.search(rf"\b{column}\b", one) and table in one]
        await connection.execute(f"SAVEPOINT p; ALTER TABLE {table} DROP COLUMN {column} CASCADE")
        for statement in mentions:
            try:
                await connection.execute("SAVEPOINT one")
                await connection.prepare(statement)
            except asyncpg.UndefinedColumnError:
                break
        else:
            idle.append(f"{table}.{column}")
        await connection.execute("ROLLBACK TO p")
    await connection.close()
    assert idle == []


async def test_a_database_of_2025_is_met_with_one_error_and_nothing_is_made(database_url: str) -> None:
    await execute(database_url, OF_2025)
    before = await objects(database_url)
    for attempt in (migrate, pending):
        with pytest.raises(SchemaUnfit) as raised:
            await attempt(database_url)
        text = str(raised.value)
        assert "beta-0.5" in text
        for missing in (
            "users.role_id",
            "users.is_super_admin",
            "table custom_roles",
        ):
            assert missing in text
        assert "user_organizations" not in text, "a Whatomate of early 2026 lacks it as well, and it is made"
        assert "organizations.slug" not in text
    assert await objects(database_url) == before


@pytest.mark.parametrize(("table", "column"), EVERY_COLUMN)
async def test_each_column_that_is_missing_or_of_another_type_is_named(
    migrated_url: str, table: str, column: str
) -> None:
    connection = await asyncpg.connect(migrated_url)
    try:
        assert not await schema.gaps(connection, makes_tables=False)
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(f"ALTER TABLE {table} RENAME COLUMN {column} TO away")
        gaps = await schema.gaps(connection, makes_tables=False)
        assert (gaps.missing, gaps.other) == ((f"{table}.{column}",), ())
        await connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} point")
        gaps = await schema.gaps(connection, makes_tables=False)
        kind = NEEDED[table][column]
        assert (gaps.missing, gaps.other) == ((), (f"{table}.{column} is point, not {kind}",))
    finally:
        await connection.close()


async def test_types_that_the_statements_work_with_fit(migrated_url: str) -> None:
    connection = await asyncpg.connect(migrated_url)
    await connection.execute(
        "CREATE DOMAIN short AS varchar(100); CREATE DOMAIN shorter AS short;"
        "ALTER TABLE users ALTER full_name TYPE shorter, ALTER settings TYPE json; "
        "ALTER TABLE custom_roles ALTER description TYPE text;"
    )
    gaps = await schema.gaps(connection, makes_tables=False)
    await connection.close()
    assert not gaps, str(gaps)


async def test_what_may_not_be_read_is_there_all_the_same(migrated_url: str) -> None:
    connection = await asyncpg.connect(migrated_url)
    await connection.execute("CREATE ROLE gateway_without_rights; SET ROLE gateway_without_rights")
    try:
        assert not await schema.gaps(connection, makes_tables=False)
    finally:
        await connection.execute("RESET ROLE; DROP ROLE gateway_without_rights")
        await connection.close()


async def test_what_search_path_finds_is_compared_be_it_a_view_or_partitioned(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute(f"CREATE SCHEMA wm; SET search_path TO wm; {exactly_what_is_needed()}")
    await connection.execute(
        "ALTER TABLE custom_roles RENAME TO roles; CREATE VIEW custom_roles AS SELECT * FROM roles;"
        "DROP TABLE user_organizations; CREATE TABLE user_organizations (id uuid, created_at timestamptz, "
        "updated_at timestamptz, deleted_at timestamptz, user_id uuid, organization_id uuid, role_id uuid, "
        "is_default boolean) PARTITION BY HASH (user_id);"
    )
    assert not await schema.gaps(connection, makes_tables=False)
    await connection.execute("SET search_path TO public; CREATE TABLE t (i int); CREATE INDEX users ON t (i)")
    gaps = await schema.gaps(connection, makes_tables=False)
    await connection.close()
    assert gaps.missing == tuple(f"table {table}" for table in NEEDED)


async def test_memberships_alone_are_made_beside_what_is_there(database_url: str) -> None:
    await execute(database_url, SCHEMA % 8, "DROP TABLE user_organizations, sso_providers")
    await migrate(database_url)
    await execute(database_url, "DROP TABLE user_organizations")
    with pytest.raises(SchemaUnfit, match="table user_organizations"):
        await migrate(database_url)


async def test_a_store_refuses_while_the_schema_is_known_not_to_fit_and_goes_on_when_it_does(
    migrated_url: str,
) -> None:
    store = await open_store(migrated_url)
    try:
        await execute(
            migrated_url, "ALTER TABLE users ALTER is_active DROP DEFAULT, ALTER is_active TYPE text"
        )
        _, gaps = await store.look_at_schema()
        assert gaps.other == ("users.is_active is text, not boolean",)
        with pytest.raises(StoreUnavailable):
            await store.ping()
        await execute(migrated_url, "ALTER TABLE users ALTER is_active TYPE boolean USING is_active::boolean")
        assert not (await store.look_at_schema())[1]
        await store.ping()
    finally:
        await store.close()


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE users DROP COLUMN email CASCADE",
        "ALTER TABLE users ALTER email TYPE bytea USING email::bytea",
        "DROP TABLE users CASCADE",
    ],
)
async def test_a_schema_that_stops_fitting_is_an_outage_before_anybody_has_looked(
    migrated_url: str, change: str
) -> None:
    store = await open_store(migrated_url)
    try:
        await store.logins("a@example.com")
        await execute(migrated_url, "DROP INDEX gateway_users_email", change)
        with pytest.raises(StoreUnavailable):
            await store.logins("a@example.com")
    finally:
        await store.close()


async def test_on_an_empty_database_whatomates_own_migration_finds_its_indexes_and_no_constraint(
    migrated_url: str,
) -> None:
    connection = await asyncpg.connect(migrated_url)
    try:
        assert await connection.fetch(UNIQUE_COLUMNS, list(NEEDED)) == []
        found = {row["indexname"]: row["indexdef"] for row in await connection.fetch(INDEXES)}
        for name, definition in UNIQUE.items():
            assert found[name] == f"CREATE UNIQUE INDEX {name} ON public.{definition}"
        for statement in OF_GORM:
            await connection.execute(statement)
    finally:
        await connection.close()
    assert await pending(migrated_url) == []
    assert await migrate(migrated_url) == []


async def test_an_older_gateways_constraints_become_indexes_and_its_rows_stay(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = migrations.migrations()
    with monkeypatch.context() as older:
        older.setattr(migrations, "migrations", lambda: [one for one in every if one.name < "0009"])
        await migrate(database_url, with_triggers=False)  # those of now are on tables that came later
    connection = await asyncpg.connect(database_url)
    try:
        assert {row[0] for row in await connection.fetch(UNIQUE_COLUMNS, ["users", "organizations"])} == {
            "email",
            "slug",
        }
        await connection.execute(
            "INSERT INTO organizations (id, name, slug) VALUES (gen_random_uuid(), 'A', 'a');"
            "INSERT INTO custom_roles (organization_id, name) SELECT id, 'twin' FROM organizations;"
            "INSERT INTO custom_roles (organization_id, name) SELECT id, 'twin' FROM organizations;"
        )
        await migrate(database_url)
        assert await connection.fetch(UNIQUE_COLUMNS, list(NEEDED)) == []
        found = {row["indexname"] for row in await connection.fetch(INDEXES)}
        # Two roles of one name were possible: they stay, and Whatomate's own migration says what it thinks of them.
        assert set(UNIQUE) - found == {"idx_custom_roles_org_name"}
        assert await connection.fetchval("SELECT count(*) FROM custom_roles") == 2
        with pytest.raises(asyncpg.UniqueViolationError):
            await connection.execute("INSERT INTO organizations (name, slug) VALUES ('B', 'a')")
    finally:
        await connection.close()


SESSION_OF_BEFORE = """
INSERT INTO sso_providers (id, organization_id, provider, is_enabled, token_url)
    VALUES (md5($1)::uuid, (SELECT id FROM organizations), $1, true,
            CASE $1 WHEN 'custom' THEN 'https://id.test/token' END);
INSERT INTO users (id, organization_id, email, full_name, sso_provider, sso_provider_id)
    VALUES (md5($1)::uuid, (SELECT id FROM organizations), $1, 'A', $1, '7');
INSERT INTO gateway_account_origins (user_id, email, origin) VALUES (md5($1)::uuid, $1, 'provider');
INSERT INTO gateway_sso_identities (user_id, provider, issuer, account)
    VALUES (md5($1)::uuid, $1, 'https://id.test/token', '7');
INSERT INTO gateway_sessions (id, user_id, organization_id, created_at, expires_at)
    VALUES (md5($1)::uuid, md5($1)::uuid, (SELECT id FROM organizations), now(), now() + interval '1 day');
INSERT INTO gateway_sso_sessions (session_id, provider_id, issuer, subject, sid)
    VALUES (md5($1)::uuid, md5($1)::uuid, 'https://id.test/token', '7', '')
"""


async def test_a_session_of_single_sign_on_from_before_is_founded_on_what_is_known_of_it(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = migrations.migrations()
    with monkeypatch.context() as older:
        older.setattr(migrations, "migrations", lambda: [one for one in every if one.name < "0030"])
        await migrate(database_url)
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("INSERT INTO organizations (name, slug) VALUES ('A', 'a')")
        for kind in ("custom", "google"):
            await connection.execute(SESSION_OF_BEFORE.replace("$1", f"'{kind}'"))
        await migrate(database_url)
        rows = await connection.fetch(
            "SELECT u.sso_provider, n.account, n.bound_to IS NOT NULL AS is_bound, o.origin "
            "FROM gateway_sso_sessions n JOIN users u ON u.id = n.session_id "
            "JOIN gateway_account_origins o ON o.user_id = u.id ORDER BY 1"
        )
        assert [tuple(row) for row in rows] == [
            ("custom", "7", True, "registration"),
            ("google", "7", False, "provider"),
        ]
    finally:
        await connection.close()


async def test_triggers_need_no_other_columns(sparse_url: str) -> None:
    connection = await asyncpg.connect(sparse_url)
    row: Any = await triggers.are_installed(connection)
    await connection.close()
    assert row
