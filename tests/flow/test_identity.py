"""Identity headers: what they say of the caller, and for how long it is so."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from authcore import permissions
from authcore.permissions import ROLES
from tests.support.calls import ask, bearer, get, is_refusal, whatomate_token
from tests.support.peers import PATIENCE

if TYPE_CHECKING:
    from uuid import UUID

    from gateway.app import Gateway
    from tests.support.peers import Message, Upstream
    from tests.support.worlds import Start, World


PATH = "/api/contacts?page=2"
BAD_TOKEN, BAD_KEY = "Invalid or expired token", "Invalid API key"


def key(text: str) -> str:
    return f"X-API-Key: {text}"


# -- what changes while a verdict is remembered -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("UPDATE users SET is_active = false", "Account is disabled"),
        ("UPDATE users SET deleted_at = now()", BAD_TOKEN),
        ("UPDATE organizations SET deleted_at = now()", BAD_TOKEN),
        ("UPDATE user_organizations SET deleted_at = now()", BAD_TOKEN),
    ],
)
async def test_a_verdict_does_not_outlive_its_seconds(
    world: World, start: Start, upstream: Upstream, change: str, message: str
) -> None:
    gate = await start(world.url, identity={"cache_seconds": 0.2})
    raw = get(PATH, bearer(world.token(world.agent)))
    assert (await ask(gate, raw)).status == 200
    await world.sql(change)
    await asyncio.sleep(0.25)
    is_refusal(await ask(gate, raw), 401, message)
    assert len(upstream.requests) == 1


async def test_a_changed_role_is_seen_when_the_verdict_is_read_anew(
    world: World, start: Start, upstream: Upstream
) -> None:
    gate = await start(world.url, identity={"cache_seconds": 0.2})
    raw = get(PATH, bearer(world.token(world.agent)))
    await ask(gate, raw)
    assert upstream.requests[-1].one("X-User-Role") == "agent"
    await world.sql(
        "UPDATE user_organizations SET role_id = (SELECT id FROM custom_roles WHERE name = 'admin' "
        "AND organization_id = $2) WHERE user_id = $1",
        world.agent,
        world.home,
    )
    await asyncio.sleep(0.25)
    await ask(gate, raw)
    assert upstream.requests[-1].one("X-User-Role") == "admin"


async def test_a_remembered_verdict_ends_with_its_token(
    gate: Gateway, world: World, upstream: Upstream
) -> None:
    ends = int(time.time()) + 4
    raw = get(PATH, bearer(world.token(world.agent, now=ends - 3600)))
    assert (await ask(gate, raw)).status == 200
    await asyncio.sleep(ends - time.time())
    async with asyncio.timeout(PATIENCE):  # its clock is the database's, and is compared with this one
        while (answer := await ask(gate, raw)).status == 200:
            await asyncio.sleep(0.01)
    is_refusal(answer, 401, BAD_TOKEN)


# -- the organization acted in ------------------------------------------------------------------------------------


async def test_the_organization_asked_for_is_acted_in_by_its_members(
    gate: Gateway, world: World, upstream: Upstream
) -> None:
    async def acting(user: UUID, organization: object) -> Message:
        return await ask(gate, get(PATH, bearer(world.token(user)), f"X-Organization-ID: {organization}"))

    for user, organization, role in (
        (world.both, world.other, "manager"),
        (world.both, world.home, "agent"),
        (world.root, world.other, None),
    ):
        assert (await acting(user, organization)).status == 200
        told = upstream.requests[-1]
        assert (told.one("X-Org-ID"), told.one("X-User-Role")) == (str(organization), role)
        assert told.one("X-User-ID") == str(user)
    seen = len(upstream.requests)
    is_refusal(await acting(world.agent, world.other), 403, "You are not a member of this organization")
    is_refusal(await acting(world.both, uuid4()), 403, "You are not a member of this organization")
    is_refusal(await acting(world.root, uuid4()), 404, "Organization not found")
    for nonsense in ("7", "not-a-uuid", f"{world.other}, {world.home}"):
        is_refusal(await acting(world.both, nonsense), 400)
    assert len(upstream.requests) == seen


async def test_two_organizations_asked_for_are_none(gate: Gateway, world: World, upstream: Upstream) -> None:
    raw = get(
        PATH,
        bearer(world.token(world.both)),
        f"X-Organization-ID: {world.home}",
        f"x-organization-id: {world.other}",
    )
    is_refusal(await ask(gate, raw), 400)
    assert upstream.seen == b""


async def test_a_verdict_in_one_organization_is_none_in_another(
    gate: Gateway, world: World, upstream: Upstream
) -> None:
    token = bearer(world.token(world.both))
    for organization in (world.home, world.other, world.home, world.other):
        await ask(gate, get(PATH, token, f"X-Organization-ID: {organization}"))
        assert upstream.requests[-1].one("X-Org-ID") == str(organization)


# -- what the upstream is told ------------------------------------------------------------------------------------


async def test_the_identity_is_told_whole(gate: Gateway, world: World, upstream: Upstream) -> None:
    token = bearer(world.token(world.agent))
    await ask(gate, get(PATH, token))
    told = upstream.requests[0]
    (row,) = await world.sql("SELECT role_id FROM user_organizations WHERE user_id = $1", world.agent)
    names = {name.decode(): value.decode() for name, value in told.lines}
    assert {
        name: value for name, value in names.items() if name.startswith(("X-User", "X-Org", "X-Auth"))
    } == {
        "X-User-ID": str(world.agent),
        "X-User-Email": "agent@example.com",
        "X-User-Name": "Agent",
        "X-User-Role": "agent",
        "X-User-Role-ID": str(row["role_id"]),
        "X-User-Permissions": ",".join(sorted(ROLES["agent"].permissions)),
        "X-User-Super-Admin": "false",
        "X-Org-ID": str(world.home),
        "X-Auth-Method": "jwt",
    }
    assert told.one("Authorization") == token.partition(": ")[2]  # the upstream may check it again
    assert told.start == b"GET /api/contacts?page=2 HTTP/1.1"


async def test_a_key_is_told_with_its_id_and_passes(gate: Gateway, world: World, upstream: Upstream) -> None:
    await ask(gate, get(PATH, key(world.api_key)))
    told = upstream.requests[0]
    assert told.one("X-Auth-Method") == "api_key"
    assert told.one("X-Auth-Key-ID") == str(world.api_key_id)
    assert told.one("X-User-ID") == str(world.admin)
    assert told.one("X-API-Key") == world.api_key


async def test_a_super_admin_has_every_permission(gate: Gateway, world: World, upstream: Upstream) -> None:
    await ask(gate, get(PATH, bearer(world.token(world.root)), f"X-Organization-ID: {world.other}"))
    told = upstream.requests[0]
    assert told.one("X-User-Super-Admin") == "true"
    granted = (told.one("X-User-Permissions") or "").split(",")
    assert granted == sorted(granted)
    assert set(granted) >= set(permissions.ALL)


async def test_the_claims_of_a_token_are_not_believed_but_looked_up(
    gate: Gateway, world: World, upstream: Upstream
) -> None:
    token = whatomate_token(
        world.agent, world.home, is_super_admin=True, email="root@example.com", role_id=str(uuid4())
    )
    await ask(gate, get(PATH, bearer(token)))
    told = upstream.requests[0]
    assert told.one("X-User-Super-Admin") == "false"
    assert told.one("X-User-Email") == "agent@example.com"
    assert told.one("X-User-Role") == "agent"


async def test_whatomates_own_token_opens_the_gateway(
    gate: Gateway, world: World, upstream: Upstream
) -> None:
    (row,) = await world.sql("SELECT role_id FROM users WHERE id = $1", world.agent)
    for role_id in (None, str(row["role_id"])):
        token = whatomate_token(world.agent, world.home, role_id=role_id)
        assert (await ask(gate, get(PATH, bearer(token)))).status == 200
    assert upstream.requests[0].one("X-User-ID") == str(world.agent)


async def test_the_previous_secret_verifies_and_does_not_sign(world: World, start: Start) -> None:
    current = "another secret of the tests, of 32 bytes or more"
    gate = await start(
        world.url, jwt={"secret": current, "previous_secrets": ("a-secret-of-the-tests-and-of-nobody-else",)}
    )
    assert (await ask(gate, get(PATH, bearer(world.token(world.agent))))).status == 200
    without = await start(world.url, jwt={"secret": current})
    is_refusal(await ask(without, get(PATH, bearer(world.token(world.agent)))), 401, BAD_TOKEN)


async def test_the_names_of_the_headers_are_settings(world: World, start: Start, upstream: Upstream) -> None:
    gate = await start(world.url, header={"user_id": "Remote-User", "org_id": "Tenant"})
    lines = ("Remote_User: root", "TENANT: root", "X-User-ID: root", bearer(world.token(world.agent)))
    await ask(gate, get(PATH, *lines))
    told = upstream.requests[0]
    assert told.all("Remote-User") == [str(world.agent)]
    assert told.all("Tenant") == [str(world.home)]
    assert told.one("X-User-ID") is None
    assert b"root" not in upstream.seen
