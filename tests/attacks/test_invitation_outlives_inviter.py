"""An invitation in the hands of somebody who may not invite any more: a spare key for after the dismissal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from authcore.accounts.invitations import Invitations
from tests.support.accounts import new_invitation, register_by
from tests.support.calls import ask, bearer, granted, is_refusal, post
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.worlds import Start, World


UNFIT = "Whoever gave this invitation may not give it any more. Please ask for a new one."

ENDS = {
    "deleted": "UPDATE users SET deleted_at = now() WHERE id = $1",
    "deleted for good": (
        "WITH a AS (DELETE FROM user_organizations WHERE user_id = $1), b AS (DELETE FROM api_keys WHERE user_id = $1) "
        "DELETE FROM users WHERE id = $1"
    ),
    "switched off": "UPDATE users SET is_active = false WHERE id = $1",
    "no member": "UPDATE user_organizations SET deleted_at = now() WHERE user_id = $1",
    "no member, for good": "DELETE FROM user_organizations WHERE user_id = $1",
    "an agent now": (
        "UPDATE user_organizations SET role_id = (SELECT id FROM custom_roles WHERE name = 'agent' "
        "AND organization_id = user_organizations.organization_id) WHERE user_id = $1"
    ),
    "without one permission of the role": (
        "WITH i AS (INSERT INTO custom_roles (organization_id, name, created_at) "
        "SELECT organization_id, 'nearly', now() FROM users WHERE id = $1 RETURNING id), "
        "p AS (INSERT INTO role_permissions SELECT i.id, p.id FROM i, permissions p "
        "WHERE p.resource || ':' || p.action <> 'contacts:export') "
        "UPDATE user_organizations SET role_id = i.id FROM i WHERE user_id = $1"
    ),
}


@pytest.fixture
async def gate(world: World, start: Start) -> Gateway:
    return await start(world.url, registration="invite")


async def admin_role(world: World) -> str:
    return str(await world.store.role_id(world.home, "admin"))


@pytest.mark.parametrize("end", ENDS)
async def test_an_invitation_ends_with_the_right_to_give_it(gate: Gateway, world: World, end: str) -> None:
    invitations = [await new_invitation(gate, world, role_id=await admin_role(world)) for _ in range(2)]
    await granted(gate, register_by(invitations.pop(), email="before@example.com"))
    await world.sql(ENDS[end], world.admin)
    is_refusal(await ask(gate, register_by(invitations[0])), 403, UNFIT)
    assert await world.sql("SELECT FROM users WHERE email = 'new@example.com'") == []
    (row,) = await world.sql("SELECT used_at FROM gateway_invitations ORDER BY used_at NULLS FIRST LIMIT 1")
    assert row["used_at"] is None, "what lets nobody in is not used up"


async def test_a_user_with_an_account_does_not_join_by_the_invitation_of_a_former_admin(
    gate: Gateway, world: World
) -> None:
    other = await world.accounts.administration.create_organization("Third")
    await world.accounts.administration.create_user(
        email="elsewhere@example.com", password="correct horse", full_name="E", organization_id=other
    )
    invitation = await new_invitation(gate, world, role_id=await admin_role(world))
    await world.sql(ENDS["switched off"], world.admin)
    joining = register_by(invitation, email="elsewhere@example.com", password="correct horse")
    is_refusal(await ask(gate, joining), 403, UNFIT)
    await world.sql("UPDATE users SET is_active = true WHERE id = $1", world.admin)
    await granted(gate, joining)  # the inviter is back, and the invitation was not used up


@pytest.mark.parametrize(
    "end", ["no member", "no member, for good", "an agent now", "without one permission of the role"]
)
async def test_an_inviter_does_not_come_back_by_an_invitation_of_their_own(
    gate: Gateway, world: World, end: str
) -> None:
    invitation = await new_invitation(gate, world, role_id=await admin_role(world))
    await world.sql(ENDS[end], world.admin)
    await world.sql("UPDATE users SET role_id = NULL WHERE id = $1", world.admin)
    back = register_by(invitation, email="admin@example.com", password=PASSWORD)
    assert (await ask(gate, back)).status in {403, 409}
    (row,) = await world.sql(
        "SELECT count(*) AS number FROM user_organizations m JOIN custom_roles r ON r.id = m.role_id "
        "WHERE m.user_id = $1 AND m.deleted_at IS NULL AND r.name = 'admin'",
        world.admin,
    )
    assert row["number"] == 0


async def test_a_former_super_admin_does_not_enter_by_an_invitation_of_their_own(
    gate: Gateway, world: World
) -> None:
    (role,) = await world.sql(
        "SELECT id FROM custom_roles WHERE organization_id = $1 AND name = 'admin'", world.other
    )
    line = bearer(world.token(world.root, is_super_admin=True))
    made = post(
        "/api/auth/invitations", {"role_id": str(role["id"])}, line, f"X-Organization-ID: {world.other}"
    )
    invitation = (await granted(gate, made))["invitation"]
    await world.sql("UPDATE users SET is_super_admin = false WHERE id = $1", world.root)
    is_refusal(
        await ask(gate, register_by(invitation, email="root@example.com", password=PASSWORD)), 403, UNFIT
    )
    assert not await world.sql(
        "SELECT FROM user_organizations WHERE user_id = $1 AND organization_id = $2", world.root, world.other
    )


async def test_a_role_that_has_grown_beyond_its_inviter_is_not_granted(gate: Gateway, world: World) -> None:
    (role,) = await world.sql(
        "WITH i AS (INSERT INTO custom_roles (organization_id, name, created_at) VALUES ($1, 'grows', now()) "
        "RETURNING id), p AS (INSERT INTO role_permissions SELECT i.id, p.id FROM i, permissions p "
        "WHERE p.resource = 'contacts') SELECT id FROM i",
        world.home,
    )
    invitations = [await new_invitation(gate, world, role_id=str(role["id"])) for _ in range(2)]
    await granted(gate, register_by(invitations.pop(), email="before@example.com"))
    await world.sql(
        "WITH i AS (INSERT INTO permissions (resource, action, created_at) VALUES ('vault', 'open', now()) "
        "RETURNING id) INSERT INTO role_permissions SELECT $1, id FROM i",
        role["id"],
    )
    is_refusal(await ask(gate, register_by(invitations[0])), 403, UNFIT)
    await world.sql("UPDATE permissions SET deleted_at = now() WHERE resource = 'vault'")
    await granted(gate, register_by(invitations[0]))  # a deleted permission grants nothing


async def test_an_operators_invitation_stays_good(gate: Gateway, world: World) -> None:
    made = await operators(world)
    await world.sql("UPDATE users SET is_active = false")
    await granted(gate, register_by(made))


async def operators(world: World) -> str:
    """An invitation as the command makes it: nobody of this installation invites."""

    _, token = await Invitations(world.store, world.tokens).create(
        organization_id=world.home, now=time.time(), role_id=await world.store.role_id(world.home, "admin")
    )
    return token


async def test_a_super_admin_of_elsewhere_may_still_give_it_until_that_ends(
    gate: Gateway, world: World
) -> None:

    async def of_root() -> dict[str, Any]:
        role = await world.store.role_id(world.other, "admin")
        token = bearer(world.token(world.root, world.other))
        return await granted(gate, post("/api/auth/invitations", {"role_id": str(role)}, token))

    first, second = await of_root(), await of_root()
    await granted(gate, register_by(first["invitation"], email="first@example.com"))
    await world.sql("UPDATE users SET is_super_admin = false WHERE id = $1", world.root)
    is_refusal(await ask(gate, register_by(second["invitation"])), 403, UNFIT)
