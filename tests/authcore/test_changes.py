"""Triggers that tell of changed rows, and the listener that hears them: against whatever writes, however it writes."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import asyncpg
import pytest

from authcore.credentials import RefreshToken
from authcore.store import triggers
from authcore.store.changes import Changes, Hearing
from authcore.store.migrate import migrate, remove_triggers
from authcore.store.rows import Change
from authcore.store.triggers import parse
from tests.support.domain import NOW, PASSWORD, address_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.domain import World

PATIENCE = 10


class Ear:
    """Keeps what it is told."""

    changes_of: Changes

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.gaps: list[str] = []

    def hear(self, change: Change) -> None:
        self.changes.append(change)

    def begin_gap(self) -> None:
        self.gaps.append("begin")

    def end_gap(self) -> None:
        self.gaps.append("end")

    @property
    def rows(self) -> set[UUID]:
        return {row for change in self.changes for row in change.rows}


@pytest.fixture
async def ear(own_world: World) -> AsyncIterator[Ear]:
    """A listener at the world's database."""
    ear = Ear()
    changes = Changes(address_of(own_world.url), ear, own_world.store)
    task = asyncio.ensure_future(changes.run())
    async with asyncio.timeout(PATIENCE):
        await changes.tried.wait()
    assert changes.hearing is Hearing.PUSHED
    ear.changes_of = changes
    yield ear
    task.cancel()
    await asyncio.wait([task])


async def heard(world: World, ear: Ear) -> list[Change]:
    """All that has been told up to now: what is told last is a mark of ours."""
    mark = uuid4()
    await world.sql(f"NOTIFY {triggers.CHANNEL}, 'users {mark}'")
    async with asyncio.timeout(PATIENCE):
        while mark not in ear.rows:
            await asyncio.sleep(0.002)
    found = [change for change in ear.changes if mark not in change.rows]
    ear.changes.clear()
    return found


async def test_every_table_tells_of_its_rows(own_world: World, ear: Ear) -> None:
    organization = await own_world.organization()
    user = await own_world.user(organization)
    _, key = await own_world.key(user, organization)
    role = (await own_world.sql("SELECT id FROM custom_roles WHERE name = 'agent'"))[0]["id"]
    session = (await own_world.login(now=time.time())).tokens.session_id
    membership = Change(memberships=((user, organization),))
    await heard(own_world, ear)
    cases: list[tuple[str, Change]] = [
        ("UPDATE organizations SET deleted_at = now()", Change(rows=(organization,))),
        ("UPDATE users SET is_active = false", Change(rows=(user,))),
        ("UPDATE users SET email = 'New@Example.com'", Change(rows=(user,))),
        ("UPDATE user_organizations SET role_id = NULL", membership),
        ("DELETE FROM user_organizations", membership),
        (f"DELETE FROM role_permissions WHERE custom_role_id = '{role}'", Change(rows=(role,))),  # noqa: S608 - ours
        ("UPDATE custom_roles SET name = 'x' WHERE name = 'agent'", Change(rows=(role,))),
        ("UPDATE api_keys SET expires_at = now()", Change(rows=(key,), of_keys=True)),
        ("DELETE FROM api_keys", Change(rows=(key,), of_keys=True)),
        ("UPDATE permissions SET deleted_at = now() WHERE resource = 'chat'", Change(everything=True)),
        ("TRUNCATE role_permissions", Change(everything=True)),
        ("UPDATE gateway_sessions SET revoked_at = now()", Change(rows=(session,))),
        ("DELETE FROM gateway_sessions WHERE expires_at > now()", Change(rows=(session,))),
    ]
    for statement, change in cases:
        await own_world.sql(statement)
        assert await heard(own_world, ear) == [change], statement


async def test_what_no_verdict_depends_on_is_not_told(own_world: World, ear: Ear) -> None:
    organization = await own_world.organization()
    user = await own_world.user(organization)
    await own_world.key(user, organization)
    await own_world.login()
    await heard(own_world, ear)
    for statement in (
        "UPDATE api_keys SET last_used_at = now(), updated_at = now()",
        "UPDATE users SET is_available = NOT is_available, settings = '{\"a\": 1}', updated_at = now()",
        "UPDATE organizations SET settings = '{}', updated_at = now()",
        "UPDATE users SET is_active = is_active",
        "UPDATE users SET is_active = false WHERE false",
        "DELETE FROM api_keys WHERE false",
        "UPDATE gateway_sessions SET last_used_at = now(), device = 'x', expires_at = now()",
        "DELETE FROM gateway_sessions",  # it has expired, and is purged
    ):
        await own_world.sql(statement)
        assert await heard(own_world, ear) == [], statement
    for time_of in (0, 1, 2):
        pair = (await own_world.login(now=NOW + time_of)).tokens
        await own_world.sessions.refresh(RefreshToken(pair.refresh_token), NOW + time_of)
    assert await heard(own_world, ear) == []


async def test_a_transaction_tells_when_it_is_committed_and_a_rollback_never(
    own_world: World, ear: Ear
) -> None:
    user = await own_world.user(await own_world.organization())
    await heard(own_world, ear)
    connection = await asyncpg.connect(own_world.url)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("UPDATE users SET is_active = false")
    assert await heard(own_world, ear) == []
    await transaction.rollback()
    assert await heard(own_world, ear) == []
    async with connection.transaction():
        for _ in range(3):
            await connection.execute("UPDATE users SET is_active = NOT is_active")
    await connection.close()
    assert await heard(own_world, ear) == [Change(rows=(user,))]


async def test_many_rows_are_told_in_messages_that_fit_and_too_many_as_everything(
    own_world: World, ear: Ear
) -> None:
    organization = await own_world.organization()
    await own_world.user(organization)
    await own_world.sql(
        "INSERT INTO users (organization_id, email, full_name) "
        "SELECT $1, n || '@x', 'x' FROM generate_series(1, 899) n",
        organization,
    )
    await own_world.sql(
        "INSERT INTO user_organizations (user_id, organization_id) "
        "SELECT id, $1 FROM users WHERE full_name = 'x'",
        organization,
    )
    await heard(own_world, ear)
    await own_world.sql("UPDATE users SET is_active = false")
    told = await heard(own_world, ear)
    assert len(told) == 9
    assert len({row for change in told for row in change.rows}) == 900
    await own_world.sql("DELETE FROM user_organizations")
    told = await heard(own_world, ear)
    assert sum(len(change.memberships) for change in told) == 900
    await own_world.sql(
        "INSERT INTO users (organization_id, email, full_name) "
        "SELECT $1, n || '@y', 'x' FROM generate_series(1, 5000) n",
        organization,
    )
    assert await heard(own_world, ear) == [Change(everything=True)]


async def test_the_writer_never_fails_for_the_triggers_sake(own_world: World, ear: Ear) -> None:
    await own_world.user(await own_world.organization())
    await own_world.sql("ALTER TABLE user_organizations RENAME COLUMN user_id TO member_id")
    await heard(own_world, ear)
    await own_world.sql("UPDATE user_organizations SET is_default = false, role_id = NULL")
    assert await heard(own_world, ear) == [Change(everything=True)]
    await own_world.sql("ALTER TABLE users DROP COLUMN is_available, ADD COLUMN colour text")
    await own_world.sql("UPDATE users SET colour = 'blue'")
    assert len(await heard(own_world, ear)) == 1


async def test_a_lost_connection_is_a_gap_with_two_ends(own_world: World, ear: Ear) -> None:
    assert ear.gaps == ["end"]
    await own_world.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE '%changes'"
    )
    async with asyncio.timeout(PATIENCE):
        while ear.gaps != ["end", "begin", "end"]:
            await asyncio.sleep(0.005)
    user = await own_world.user(await own_world.organization(), password=PASSWORD)
    await heard(own_world, ear)
    await own_world.sql("UPDATE users SET is_active = false")
    assert await heard(own_world, ear) == [Change(rows=(user,))]


async def test_triggers_are_removed_and_come_back_and_their_absence_is_a_gap(
    own_world: World, ear: Ear
) -> None:
    changes = ear.changes_of
    assert await remove_triggers(own_world.url)
    assert not await remove_triggers(own_world.url)
    left = "SELECT FROM pg_proc WHERE proname LIKE 'gateway%' AND proname NOT LIKE 'gateway_audit%'"
    assert await own_world.sql(left) == []  # those of the audit trail are its own
    async with asyncio.timeout(PATIENCE):
        while changes.hearing != "untold":
            await asyncio.sleep(0.01)
    assert ear.gaps == ["end", "begin"]
    assert await migrate(own_world.url, with_triggers=False) == []
    assert changes.hearing == "untold"
    assert await migrate(own_world.url) == ["triggers"]
    assert await migrate(own_world.url) == []
    async with asyncio.timeout(PATIENCE):
        while changes.hearing != "pushed":
            await asyncio.sleep(0.01)
    assert ear.gaps == ["end", "begin", "end"]


async def test_writers_in_the_role_of_a_replica_are_told_of(own_world: World, ear: Ear) -> None:
    user = await own_world.user(await own_world.organization())
    await heard(own_world, ear)
    connection = await asyncpg.connect(own_world.url)
    await connection.execute("SET session_replication_role = replica")
    await connection.execute("UPDATE users SET is_active = false")
    await connection.close()
    assert await heard(own_world, ear) == [Change(rows=(user,))]


async def test_triggers_that_were_switched_off_for_a_moment_are_a_gap(own_world: World, ear: Ear) -> None:
    assert ear.gaps == ["end"]
    for switch in ("DISABLE", "ENABLE"):
        await own_world.sql(f"ALTER TABLE users {switch} TRIGGER gateway_changed_update")
    async with asyncio.timeout(PATIENCE):
        while ear.gaps != ["end", "begin", "end"]:
            await asyncio.sleep(0.005)


ONE = UUID("0b7d6f3e-6a43-4a5c-9d0e-5f1a2b3c4d5e")


@pytest.mark.parametrize(
    "payload",
    [
        *(
            "",
            " ",
            "users",
            "users ",
            "users x",
            "users *",
            f"users {ONE},",
            "permissions 1",
            "of_the_future 1",
        ),
        *("user_organizations 1", f"user_organizations {ONE}", f"user_organizations {ONE}/x"),
    ],
)
def test_what_cannot_be_read_concerns_everything(payload: str) -> None:
    assert parse(payload) == Change(everything=True)
