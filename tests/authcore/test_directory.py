"""The directory that an operator reads, held against what a verdict reads."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from authcore.store.directory_rows import Holdings, UserFilter

if TYPE_CHECKING:
    from tests.support.domain import World

OLD = datetime(2020, 1, 1, tzinfo=UTC)
SINCE = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 6, 1, tzinfo=UTC)


class Filler:
    """Rows as Whatomate, and those who write SQL by hand, may leave them."""

    def __init__(self, world: World, seed: int) -> None:
        self._world = world
        self._random = random.Random(seed)  # noqa: S311 -- rows, no secrets
        self.organizations: list[UUID] = []
        self.users: list[UUID] = []
        self._roles: list[UUID] = []

    def _gone(self, share: float) -> datetime | None:
        return OLD if self._random.random() < share else None

    def _some(self, *values: Any) -> Any:
        return self._random.choice(values)

    async def _insert(self, table: str, **columns: Any) -> UUID:
        one = UUID(int=self._random.getrandbits(128), version=4)
        columns = {"id": one, "created_at": self._some(None, OLD, SINCE), **columns}
        places = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
        await self._world.sql(
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})",  # noqa: S608 -- names of this module
            *columns.values(),
        )
        return one

    async def fill(self) -> None:
        # Older databases have no such index.
        await self._world.sql("DROP INDEX idx_user_org")
        for _ in range(4):
            name, slug = self._some("a", "b"), str(uuid4())
            one = await self._insert("organizations", name=name, slug=slug, deleted_at=self._gone(0.2))
            self.organizations.append(one)
            for number in range(2):
                role = await self._insert(
                    "custom_roles", organization_id=one, name=f"role {number}", deleted_at=self._gone(0.3)
                )
                self._roles.append(role)
        for _ in range(30):
            await self._user()

    async def _user(self) -> None:
        user = await self._insert(
            "users",
            organization_id=self._some(*self.organizations),
            email=f"{uuid4()}@example.com",
            full_name="A User",
            role_id=self._some(None, *self._roles),
            is_active=self._some(True, False, None),
            is_super_admin=self._some(True, False, False, None),
            deleted_at=self._gone(0.1),
        )
        self.users.append(user)
        for _ in range(self._random.randrange(4)):
            row = await self._insert(
                "user_organizations",
                user_id=user,
                organization_id=self._some(*self.organizations),
                role_id=self._some(None, *self._roles),
                is_default=self._some(True, False, None),
                deleted_at=self._gone(0.3),
            )
            if self._random.random() < 0.2:
                await self._world.sql("DELETE FROM user_organizations WHERE id = $1", row)


@pytest.mark.parametrize("seed", [1, 2])
async def test_memberships_are_those_that_a_verdict_finds(own_world: World, seed: int) -> None:
    filler, store = Filler(own_world, seed), own_world.store
    await filler.fill()
    members = dict.fromkeys(filler.organizations, 0)
    for user in filler.users:
        listed = {one.organization_id: one for one in await store.memberships(user)}
        for organization in filler.organizations:
            subject = await store.subject(user, organization)
            found = await store.users(UserFilter(organization_id=organization, user_id=user))
            assert bool(found) == (subject is not None and subject.is_member)
            if subject is None or not (subject.is_member and subject.organization_exists):
                assert organization not in listed
                continue
            members[organization] += 1
            assert (listed[organization].role_id, listed[organization].role) == (
                subject.role_id,
                subject.role,
            )
            assert (found[0].role, found[0].is_active, found[0].is_super_admin) == (
                subject.role,
                subject.is_active,
                subject.is_super_admin,
            )
            for state in (True, False):
                filtered = UserFilter(organization_id=organization, user_id=user, is_active=state)
                assert bool(await store.users(filtered)) == (subject.is_active is state)
    counted = {one.id: one.members for one in await store.organizations()}
    assert counted == {one: members[one] for one in counted}
    assert any(members.values())


async def test_sessions_that_a_verdict_refuses_are_neither_listed_nor_counted(world: World) -> None:
    user = await world.user(await world.organization())
    begun = """
        INSERT INTO gateway_sessions
            (id, user_id, organization_id, created_at, expires_at, revoked_at, password_fingerprint)
        SELECT $1, u.id, u.organization_id, $2, $3, $4, $5::bytea FROM users u"""
    later = NOW + timedelta(days=1)
    live = uuid4()
    for one, *columns in (
        (live, SINCE + timedelta(days=1), later, None, None),
        (uuid4(), SINCE, later, None, None),  # its lifetime is over
        (uuid4(), NOW, NOW, None, None),  # so is that of its tokens
        (uuid4(), NOW, later, NOW, None),
        (uuid4(), NOW, later, None, b"of another password"),
    ):
        await world.sql(begun, one, *columns)
    listed = await world.store.live_sessions(user, None, NOW, SINCE)
    assert [one.id for one in listed] == [live]
    assert await world.store.holdings(user, NOW, SINCE) == Holdings(sessions=1, api_keys=0)


async def test_a_key_that_is_off_over_or_came_of_one_is_not_counted_or_listed_so(world: World) -> None:
    organization = await world.organization()
    user = await world.user(organization)
    ids = [(await world.key(user, organization))[1] for _ in range(6)]
    live, off, over, deleted, parent, child = ids
    await world.sql("UPDATE api_keys SET is_active = false WHERE id = ANY ($1)", [off, parent])
    await world.sql("UPDATE api_keys SET expires_at = $2 WHERE id = ANY ($1)", [over], NOW)
    await world.sql(
        "UPDATE api_keys SET expires_at = $2 WHERE id = ANY ($1)", [parent], NOW + timedelta(days=1)
    )
    await world.sql("UPDATE api_keys SET deleted_at = now() WHERE id = $1", deleted)
    assert (await world.store.holdings(user, NOW, SINCE)).api_keys == 2
    await world.sql("INSERT INTO gateway_api_key_parents (key_id, parent_id) VALUES ($1, $2)", child, parent)
    listed = {one.id: one for one in await world.store.key_entries(user, None, None)}
    assert {one: row.is_active for one, row in listed.items()} == {
        live: True,
        off: False,
        over: True,
        parent: False,
        child: False,
    }
    assert listed[child].expires_at == NOW + timedelta(days=1)
    assert listed[live].expires_at is None


async def test_of_users_whose_emails_differ_in_case_the_one_that_is_spelled_so_comes_first(
    world: World,
) -> None:
    organization = await world.organization()
    for email in ("Ada@example.com", "ada@example.com", "ADA@example.com"):
        await world.sql(
            "INSERT INTO users (organization_id, email, full_name, created_at) VALUES ($1, $2, 'Ada', now())",
            organization,
            email,
        )
    for email in ("Ada@example.com", "ada@example.com", "ADA@example.com"):
        found = await world.store.users_named(email)
        assert len(found) == 3
        assert found[0].name == email
