"""Gaining rights by the deletion of what limited them: the row of a membership, gone for good."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg
import pytest

from authcore.store.locks import LOCK_USER
from tests.support.accounts import new_invitation
from tests.support.calls import ask, bearer, get, granted, is_refusal, post
from tests.support.peers import PATIENCE
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World


ENDS = [
    "DELETE FROM user_organizations WHERE user_id = $1",
    "DELETE FROM user_organizations WHERE $1::uuid IS NOT NULL",
    "UPDATE user_organizations SET organization_id = gen_random_uuid() WHERE user_id = $1",
    "TRUNCATE",
]


async def end(world: World, how: str) -> None:
    for constraint in await world.sql(
        "SELECT conname FROM pg_constraint WHERE contype = 'f' AND conrelid = 'user_organizations'::regclass"
    ):
        await world.sql(f"ALTER TABLE user_organizations DROP CONSTRAINT {constraint['conname']}")
    await (world.sql("TRUNCATE user_organizations") if how == "TRUNCATE" else world.sql(how, world.agent))


async def promoted_by_its_users_row_alone(world: World) -> None:
    """The agent's membership says agent; the row of the user says admin."""
    (admin,) = await world.sql(
        "SELECT id FROM custom_roles WHERE organization_id = $1 AND name = 'admin'", world.home
    )
    await world.sql("UPDATE users SET role_id = $2 WHERE id = $1", world.agent, admin["id"])


@pytest.mark.parametrize("how", ENDS)
async def test_a_membership_that_is_deleted_for_good_raises_nobodys_rights(
    world: World, start: Start, upstream: Upstream, how: str
) -> None:
    await promoted_by_its_users_row_alone(world)
    gateway = await start(world.url, preset="whatomate")
    users = get("/api/users", bearer(world.token(world.agent)))
    assert (await ask(gateway, users)).status == 403
    await end(world, how)
    async with asyncio.timeout(10):
        while (await ask(gateway, users)).status == 403:
            await asyncio.sleep(0.01)
    for _ in range(3):
        assert (await ask(gateway, users)).status == 401, "no member any more"
        assert (await ask(gateway, get("/api/me", bearer(world.token(world.agent))))).status == 401
    again = post("/api/auth/login", {"email": "agent@example.com", "password": PASSWORD})
    assert (await ask(gateway, again)).status in {401, 403}
    assert upstream.requests == []


@pytest.mark.parametrize(
    "how", [ENDS[0], "UPDATE user_organizations SET deleted_at = now() WHERE user_id = $1"]
)
async def test_a_removed_member_does_not_come_back_by_registering(
    world: World, start: Start, how: str
) -> None:
    gateway = await start(world.url)
    contacts = get("/api/contacts", bearer(world.token(world.agent)))
    assert (await ask(gateway, contacts)).status == 200
    await end(world, how)
    again = {"email": "agent@example.com", "password": PASSWORD, "full_name": "A"}
    for organization in (str(world.home), str(world.home).upper()):
        answer = await ask(gateway, post("/api/auth/register", {**again, "organization_id": organization}))
        is_refusal(answer, 403, "Registration is by invitation: send the invitation that you were given")
    assert (await ask(gateway, contacts)).status == 401
    invitation = await new_invitation(gateway, world)
    await granted(gateway, post("/api/auth/register", {**again, "invitation": invitation}))
    assert (await ask(gateway, contacts)).status == 200


async def test_a_member_who_is_removed_while_they_register_does_not_come_back(
    world: World, start: Start
) -> None:
    """A member who expects it registers again and again: one of the requests is at work at that moment."""
    gateway = await start(world.url)
    again = {"email": "both@example.com", "password": PASSWORD, "full_name": "B"}
    connection = await asyncpg.connect(world.url)
    try:
        async with asyncio.TaskGroup() as group, asyncio.timeout(PATIENCE), connection.transaction():
            await connection.execute(LOCK_USER, str(world.both))
            asked = group.create_task(
                ask(gateway, post("/api/auth/register", {**again, "organization_id": str(world.other)}))
            )
            waiting = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            while not await world.sql(waiting):
                await asyncio.sleep(0.01)
            await world.sql(
                "DELETE FROM user_organizations WHERE user_id = $1 AND organization_id = $2",
                *(world.both, world.other),
            )
    finally:
        await connection.close()
    is_refusal(asked.result(), 403, "Registration is by invitation: send the invitation that you were given")
    assert not await world.sql(
        "SELECT FROM user_organizations WHERE user_id = $1 AND organization_id = $2", world.both, world.other
    )


async def test_a_user_without_any_row_still_belongs_to_the_home_organization(
    world: World, start: Start
) -> None:
    await end(world, ENDS[0])
    await world.sql("DELETE FROM gateway_former_memberships")  # as if there had never been a row
    gateway = await start(world.url)
    assert (await ask(gateway, get("/api/contacts", bearer(world.token(world.agent))))).status == 200


async def test_a_membership_that_is_made_anew_counts(world: World, start: Start) -> None:
    await end(world, ENDS[0])
    await world.sql(
        "INSERT INTO user_organizations (user_id, organization_id, is_default) VALUES ($1, $2, true)",
        world.agent,
        world.home,
    )
    gateway = await start(world.url)
    assert (await ask(gateway, get("/api/contacts", bearer(world.token(world.agent))))).status == 200


async def test_a_writer_without_rights_on_the_gateways_tables_is_noted_and_never_fails(world: World) -> None:
    connection = await asyncpg.connect(world.url)
    await connection.execute("CREATE ROLE whatomate_only")
    try:
        await connection.execute("GRANT SELECT, DELETE ON user_organizations TO whatomate_only")
        await connection.execute("SET ROLE whatomate_only")
        await connection.execute("DELETE FROM user_organizations WHERE user_id = $1", world.agent)
        await connection.execute("RESET ROLE")
        noted = await connection.fetch("SELECT user_id FROM gateway_former_memberships")
        assert [row["user_id"] for row in noted] == [world.agent]
        await connection.execute("ALTER TABLE gateway_former_memberships RENAME TO away")
        await connection.execute("DELETE FROM user_organizations WHERE user_id = $1", world.both)
    finally:
        await connection.execute("RESET ROLE")
        await connection.execute("DROP OWNED BY whatomate_only")
        await connection.execute("DROP ROLE whatomate_only")
        await connection.close()
    assert not await world.sql("SELECT FROM user_organizations WHERE user_id = $1", world.both)
