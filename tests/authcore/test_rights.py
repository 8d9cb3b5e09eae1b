"""Rights of the role that serves: those that are granted are those that the statements need, one by one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest

from authcore.errors import StoreUnavailable
from authcore.store.grants import grant
from authcore.store.kinds import FailureKind
from authcore.store.rights import NEEDS, Right, lacking
from tests.support.databases import execute, fetch, finish
from tests.support.domain import open_store
from tests.support.schemas import statements

if TYPE_CHECKING:
    from collections.abc import Iterator

# Of migrations and of the commands that the owner runs.
OF_THE_OWNER = re.compile(r"^(migrate\.(?!_APPLIED)|triggers\.|grants\.)")


@pytest.fixture
def role(migrated_url: str) -> Iterator[str]:
    """A role that has what `migrate --grant-to` gives."""
    name = f"serving_{uuid4().hex[:8]}"
    finish(execute(migrated_url, f"CREATE ROLE {name} LOGIN"))

    async def give() -> None:
        connection = await asyncpg.connect(migrated_url)
        await grant(connection, name)
        await connection.close()

    finish(give())
    yield name
    finish(execute(migrated_url, f"DROP OWNED BY {name}", f"DROP ROLE {name}"))


@pytest.mark.parametrize("name", ["public", "none", "", "nobody_here"])
async def test_rights_are_granted_only_to_an_existing_role(migrated_url: str, name: str) -> None:
    before = await acl(migrated_url)
    connection = await asyncpg.connect(migrated_url)
    with pytest.raises(asyncpg.PostgresError):
        await grant(connection, name)
    await connection.close()
    assert await acl(migrated_url) == before


async def acl(url: str) -> str:
    """The rights on all tables."""
    return str(await fetch(url, "SELECT array_agg((oid, relacl)::text ORDER BY oid) FROM pg_class"))


def as_role(url: str, role: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{role}@{parts.netloc.rpartition('@')[2]}"))


async def refused(connection: asyncpg.Connection[asyncpg.Record], prepared: dict[str, str]) -> set[str]:
    """Return the names of the statements that the user may not run; nothing is run."""
    found = set()
    for name, call in prepared.items():
        try:
            await connection.execute(f"EXPLAIN EXECUTE {call}")
        except asyncpg.InsufficientPrivilegeError:
            found.add(name)
    return found


async def prepare(connection: asyncpg.Connection[asyncpg.Record]) -> dict[str, str]:
    """Prepare every statement that serving runs, and return how each is called."""
    calls = {}
    for number, (name, statement) in enumerate(statements()):
        if OF_THE_OWNER.match(name):
            continue
        parameters = len((await connection.prepare(statement)).get_parameters())
        await connection.execute(f"PREPARE s{number} AS {statement}")
        nulls = ", ".join(["NULL"] * parameters)
        calls[name] = f"s{number}({nulls})" if parameters else f"s{number}"
    return calls


def revoking(right: Right, role: str) -> tuple[str, str]:
    """Return statements that take a right away and give it back."""
    columns = f" ({right.column})" if right.column and right.privilege == "UPDATE" else ""
    kind = "FUNCTION " if right.privilege == "EXECUTE" else ""
    what = f"{right.privilege}{columns} ON {kind}{right.table}"
    return f"REVOKE {what} FROM {role}", f"GRANT {what} TO {role}"


async def test_what_is_granted_is_what_the_statements_need(migrated_url: str, role: str) -> None:
    owner, connection = (
        await asyncpg.connect(migrated_url),
        await asyncpg.connect(as_role(migrated_url, role)),
    )
    prepared = await prepare(connection)
    assert len(prepared) > 50
    assert await refused(connection, prepared) == set()
    unneeded = []
    seen = set()
    for right in NEEDS:
        revoke, again = revoking(right, role)
        if revoke in seen:  # reading is granted by table
            continue
        seen.add(revoke)
        await owner.execute(revoke)
        if not await refused(connection, prepared):
            unneeded.append(revoke)
        named = (await lacking(connection)).rights
        assert any(f"{right.privilege}" in one and one.endswith(f" on {right.table}") for one in named), (
            revoke,
            named,
        )
        await owner.execute(again)
    assert not await lacking(connection)
    await connection.close()
    await owner.close()
    assert unneeded == []


@pytest.mark.parametrize(
    ("revoke", "named"),
    [
        ("INSERT ON gateway_sessions", ["INSERT on gateway_sessions"]),
        ("SELECT ON users", ["SELECT on users"]),
        ("UPDATE (is_active) ON api_keys", ["UPDATE (is_active) on api_keys"]),
        (
            "SELECT, DELETE ON gateway_used_tickets",
            ["SELECT on gateway_used_tickets", "DELETE on gateway_used_tickets"],
        ),
        ("SELECT ON gateway_migrations", ["SELECT on gateway_migrations"]),
        (
            "EXECUTE ON FUNCTION gateway_audit_upkeep(integer)",
            ["EXECUTE on gateway_audit_upkeep(integer)"],
        ),
        ("ALL ON SCHEMA public", ["USAGE on schema public"]),
    ],
)
async def test_a_right_that_is_missing_is_named_with_its_object(
    migrated_url: str, role: str, revoke: str, named: list[str]
) -> None:
    owner, connection = (
        await asyncpg.connect(migrated_url),
        await asyncpg.connect(as_role(migrated_url, role)),
    )
    await owner.execute(f"REVOKE {revoke} FROM PUBLIC")
    await owner.execute(f"REVOKE {revoke} FROM {role}")
    assert list((await lacking(connection)).rights) == named
    await owner.close()
    await connection.close()


async def test_rights_on_the_columns_that_are_needed_will_do(migrated_url: str, role: str) -> None:
    owner, connection = (
        await asyncpg.connect(migrated_url),
        await asyncpg.connect(as_role(migrated_url, role)),
    )
    columns = [right.column for right in NEEDS if right.table == "users" and right.privilege == "SELECT"]
    await owner.execute(revoking(Right("users", "", "SELECT"), role)[0])
    await owner.execute(f"GRANT SELECT ({', '.join(columns[1:])}) ON users TO {role}")
    assert (await lacking(connection)).rights == (f"SELECT ({columns[0]}) on users",)
    await owner.execute(f"GRANT SELECT ({columns[0]}) ON users TO {role}")
    assert not await lacking(connection)
    await owner.close()
    await connection.close()


async def test_what_is_refused_for_a_right_is_over_when_the_right_is_there(
    migrated_url: str, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("authcore.store.present_failures.QUIET_SECONDS", 0.0)
    owner = await asyncpg.connect(migrated_url)
    store = await open_store(as_role(migrated_url, role))
    try:
        revoke, again = revoking(Right("users", "", "SELECT"), role)
        await owner.execute(revoke)
        with pytest.raises(StoreUnavailable):
            await store.logins("x@example.com")
        await store.look_at_schema()
        assert list(store.lacking.rights) == ["SELECT on users"]
        assert list(store.failing) == [FailureKind.PRIVILEGE]
        await owner.execute(again)
        await store.look_at_schema()
        assert (list(store.lacking.rights), list(store.failing)) == ([], [])
    finally:
        await store.close()
        await owner.close()
