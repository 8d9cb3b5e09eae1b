"""Registration: who may register, and invitations."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from tests.support.calls import ask, bearer, get, granted, is_refusal, post, request
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.worlds import Start, World


REGISTER, INVITATIONS = "/api/auth/register", "/api/auth/invitations"
CLOSED = "Registration is closed. Please ask an administrator of your organization for an account."


def register(**fields: object) -> bytes:
    newcomer = {"email": "new@example.com", "password": "securepassword123", "full_name": "New Comer"}
    return post(REGISTER, {**newcomer, **fields})


async def invite(gate: Gateway, world: World, **fields: object) -> dict[str, Any]:
    return await granted(gate, post(INVITATIONS, fields, bearer(world.token(world.admin))))


async def role(world: World, name: str, organization: UUID | None = None) -> UUID:
    found = await world.store.role_id(organization or world.home, name)
    assert found is not None
    return found


# -- modes --------------------------------------------------------------------------------------------------------


async def test_where_registration_is_closed_nobody_registers_or_joins(world: World, start: Start) -> None:
    opened = await start(world.url)
    invitation = (await invite(opened, world))["invitation"]
    gate = await start(world.url, registration="closed")
    for fields in (
        {"organization_id": str(world.home)},
        {"organization_id": str(world.other), "email": "admin@example.com", "password": PASSWORD},
        {"organization_id": str(uuid4())},
        {"invitation": invitation},
    ):
        is_refusal(await ask(gate, register(**fields)), 403, CLOSED)
    await granted(gate, post("/api/auth/login", {"email": "admin@example.com", "password": PASSWORD}))


async def test_where_registration_is_by_invitation_nobody_comes_without(world: World, start: Start) -> None:
    gate = await start(world.url, registration="invite")
    for fields in (
        {"organization_id": str(world.home)},
        {"organization_id": str(world.other), "email": "admin@example.com", "password": PASSWORD},
    ):
        is_refusal(
            await ask(gate, register(**fields)),
            403,
            "Registration is by invitation: send the invitation that you were given",
        )
    assert await world.sql("SELECT FROM users WHERE email = 'new@example.com'") == []


async def test_an_invitation_lets_one_newcomer_in_as_what_it_says(world: World, start: Start) -> None:
    gate = await start(world.url, registration="invite")
    made = await invite(gate, world, role_id=str(await role(world, "manager")), email="New@Example.com")
    assert made["organization_id"] == str(world.home)
    assert made["invited_by"] == str(world.admin)
    content = await granted(gate, register(invitation=made["invitation"]))
    assert content["user"]["role"]["name"] == "manager"
    assert content["user"]["organization_id"] == str(world.home)
    again = register(invitation=made["invitation"], email="other@example.com")
    is_refusal(await ask(gate, again), 403, "Invitation has been used or revoked. Please ask for a new one.")
    row = (await world.sql("SELECT used_by, used_at FROM gateway_invitations"))[0]
    assert str(row["used_by"]) == content["user"]["id"]
    assert row["used_at"] is not None


async def test_an_invitation_is_honoured_where_everybody_may_register(world: World, start: Start) -> None:
    gate = await start(world.url)
    made = await invite(gate, world, role_id=str(await role(world, "manager")))
    content = await granted(gate, register(invitation=made["invitation"], organization_id=str(world.home)))
    assert content["user"]["role"]["name"] == "manager"


async def test_a_bad_invitation_is_refused_where_none_is_needed(world: World, start: Start) -> None:
    gate = await start(world.url)
    is_refusal(
        await ask(gate, register(invitation="x", organization_id=str(world.home))),
        403,
        "Invitation is not valid",
    )


async def test_an_existing_user_joins_by_invitation_with_its_role(world: World, start: Start) -> None:
    gate = await start(world.url, registration="invite")
    manager = await role(world, "manager", world.other)
    made = await granted(
        gate, post(INVITATIONS, {"role_id": str(manager)}, bearer(world.token(world.root, world.other)))
    )
    token = made["invitation"]
    joining = {"email": "admin@example.com", "full_name": "A", "invitation": token}
    is_refusal(await ask(gate, register(**joining, password="a wrong one")), 409)
    content = await granted(gate, register(**joining, password=PASSWORD))
    assert content["user"]["organization_id"] == str(world.other)
    assert content["user"]["role"]["name"] == "manager"


async def test_a_member_uses_no_invitation_up(world: World, start: Start) -> None:
    gate = await start(world.url, registration="invite")
    made = await invite(gate, world)
    is_refusal(
        await ask(
            gate, register(invitation=made["invitation"], email="agent@example.com", password=PASSWORD)
        ),
        409,
        "You are already a member of this organization",
    )
    await granted(gate, register(invitation=made["invitation"]))


async def test_a_registration_that_fails_uses_no_invitation_up(world: World, start: Start) -> None:
    gate = await start(world.url, registration="invite")
    made = await invite(gate, world)
    is_refusal(await ask(gate, register(invitation=made["invitation"], password="short")), 400)
    await granted(gate, register(invitation=made["invitation"]))


async def test_of_newcomers_at_once_with_one_invitation_one_is_let_in(world: World, start: Start) -> None:
    gate = await start(world.url, registration="invite")
    made = await invite(gate, world)
    answers = await asyncio.gather(
        *(
            ask(gate, register(invitation=made["invitation"], email=f"new{number}@example.com"))
            for number in range(8)
        )
    )
    assert sorted(answer.status for answer in answers) == [200] + [403] * 7
    assert len(await world.sql("SELECT FROM users WHERE email LIKE 'new%'")) == 1


# -- inviting -----------------------------------------------------------------------------------------------------


async def test_inviting_takes_the_permission(world: World, start: Start) -> None:
    gate = await start(world.url)
    for method, raw in (("POST", post), ("GET", None)):
        token = bearer(world.token(world.agent))
        answer = await ask(gate, raw(INVITATIONS, {}, token) if raw else get(INVITATIONS, token))
        is_refusal(answer, 403)
        assert "users:" in str(answer.json()["message"]), method
    is_refusal(await ask(gate, post(INVITATIONS, {})), 401)


async def test_nobody_grants_what_they_have_not(world: World, start: Start) -> None:
    gate = await start(world.url)
    manager = await role(world, "manager")
    await world.sql("UPDATE user_organizations SET role_id = $1 WHERE user_id = $2", manager, world.agent)
    await world.sql(
        "INSERT INTO role_permissions (custom_role_id, permission_id) "
        "SELECT $1, id FROM permissions WHERE resource = 'users' AND action = 'write'",
        manager,
    )
    token = bearer(world.token(world.agent))
    refused = await ask(gate, post(INVITATIONS, {"role_id": str(await role(world, "admin"))}, token))
    is_refusal(refused, 403)
    assert "api_keys:write" in str(refused.json()["message"])
    await granted(gate, post(INVITATIONS, {"role_id": str(manager)}, token))
    await granted(gate, post(INVITATIONS, {}, token))


async def test_a_role_of_another_organization_is_no_role_here(world: World, start: Start) -> None:
    gate = await start(world.url)
    for elsewhere in (await role(world, "agent", world.other), uuid4()):
        answer = await ask(
            gate, post(INVITATIONS, {"role_id": str(elsewhere)}, bearer(world.token(world.root)))
        )
        is_refusal(answer, 404, "Role not found")


async def test_a_role_that_is_gone_lets_nobody_in(world: World, start: Start) -> None:
    gate = await start(world.url)
    made = await invite(gate, world, role_id=str(await role(world, "manager")))
    await world.sql("UPDATE custom_roles SET deleted_at = now() WHERE name = 'manager'")
    is_refusal(
        await ask(gate, register(invitation=made["invitation"])),
        403,
        "The role of this invitation does not exist any more",
    )


async def test_invitations_are_listed_and_revoked_where_they_belong(world: World, start: Start) -> None:
    gate = await start(world.url)
    token = bearer(world.token(world.admin))
    first, second = await invite(gate, world, email="a@example.com"), await invite(gate, world)
    listed = (await granted(gate, get(INVITATIONS, token)))["invitations"]
    assert [one["id"] for one in listed] == [second["id"], first["id"]]
    assert listed[1]["email"] == "a@example.com"
    assert all("invitation" not in one for one in listed)
    one = f"{INVITATIONS}/{first['id']}"
    elsewhere = bearer(world.token(world.root, world.other))
    is_refusal(await ask(gate, request("DELETE", one, elsewhere)), 404, "Invitation not found")
    await granted(gate, request("DELETE", one, token))
    is_refusal(await ask(gate, request("DELETE", one, token)), 404, "Invitation not found")
    is_refusal(await ask(gate, request("DELETE", f"{INVITATIONS}/x", token)), 404, "Invitation not found")
    is_refusal(
        await ask(gate, register(invitation=first["invitation"], email="a@example.com")),
        403,
        "Invitation has been used or revoked. Please ask for a new one.",
    )
    assert [one["id"] for one in (await granted(gate, get(INVITATIONS, token)))["invitations"]] == [
        second["id"]
    ]


@pytest.mark.parametrize("end", ["used", "expired"])
async def test_an_invitation_that_has_ended_cannot_be_revoked(world: World, start: Start, end: str) -> None:
    gate = await start(world.url)
    made = await invite(gate, world)
    if end == "used":
        await granted(gate, register(invitation=made["invitation"]))
    else:
        await world.sql("UPDATE gateway_invitations SET expires_at = now() - interval '1 second'")
    one = request("DELETE", f"{INVITATIONS}/{made['id']}", bearer(world.token(world.admin)))
    is_refusal(await ask(gate, one), 404, "Invitation not found")
    assert (await world.sql("SELECT revoked_at FROM gateway_invitations"))[0]["revoked_at"] is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"role_id": "admin"}, "role_id must be a UUID"),
        ({"email": "no address"}, "Email is not acceptable"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at must be in the future"),
        ({"expires_at": "2030-01-01T00:00:00"}, "Invalid expires_at format. Use RFC3339 format"),
        ({"expires_at": 1900000000}, "Invalid expires_at format. Use RFC3339 format"),
    ],
)
async def test_an_invitation_that_cannot_be_is_refused(
    world: World, start: Start, fields: dict[str, str], message: str
) -> None:
    gate = await start(world.url)
    is_refusal(await ask(gate, post(INVITATIONS, fields, bearer(world.token(world.admin)))), 400, message)


async def test_joining_takes_the_password_there_is_however_short(world: World, start: Start) -> None:
    gate = await start(world.url, password={"min_length": 30})
    content = await granted(
        gate, register(email="admin@example.com", password=PASSWORD, organization_id=str(world.other))
    )
    assert content["user"]["organization_id"] == str(world.other)
    is_refusal(
        await ask(gate, register(password=PASSWORD, organization_id=str(world.other))),
        400,
        "Password must be at least 30 characters",
    )
