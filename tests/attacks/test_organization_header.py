"""X-Organization-ID: a wish, never a proof."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from tests.flow.calls import ask, bearer, claims_of, get, granted, is_refusal, post
from tests.flow.conftest import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.app import Gateway
    from tests.flow.conftest import World
    from tests.flow.peers import Upstream

    Start = Callable[..., Awaitable[Gateway]]

PATH = "/api/contacts"
BOUND = "This API key belongs to another organization"


@pytest.fixture
async def gate(world: World, start: Start) -> Gateway:
    return await start(world.url)


def at(organization: object) -> str:
    return f"X-Organization-ID: {organization}"


async def test_a_key_opens_no_other_organization_whoever_owns_it(
    gate: Gateway, world: World, upstream: Upstream
) -> None:
    await world.accounts.add_member(world.admin, world.other, "admin")
    _, roots = await world.accounts.create_api_key(world.root, world.home, "of a super admin")
    for key in (world.api_key, roots):
        line = f"X-API-Key: {key}"
        assert (await ask(gate, get(PATH, line, at(world.home)))).status == 200
        assert upstream.requests[-1].one("X-Org-ID") == str(world.home)
        seen = len(upstream.requests)
        for _ in range(2):  # from the store, and from memory
            for elsewhere in (world.other, uuid4()):
                is_refusal(await ask(gate, get(PATH, line, at(elsewhere))), 403, BOUND)
                is_refusal(await ask(gate, get("/api/api-keys", line, at(elsewhere))), 403, BOUND)
        assert len(upstream.requests) == seen
        assert (await ask(gate, get(PATH, line))).status == 200


async def test_who_is_no_member_is_not_told_which_organizations_there_are(
    gate: Gateway, world: World
) -> None:
    token = bearer(world.token(world.agent))
    there = await ask(gate, get(PATH, token, at(world.other)))
    nowhere = await ask(gate, get(PATH, token, at(uuid4())))
    assert (there.status, there.json()) == (nowhere.status, nowhere.json())
    assert there.status == 403


async def test_the_role_and_permissions_are_those_of_the_organization_asked_for(
    gate: Gateway, world: World, upstream: Upstream
) -> None:
    token = bearer(world.token(world.both))

    async def told(*lines: str) -> dict[str, str | None]:
        assert (await ask(gate, get(PATH, token, *lines))).status == 200
        names = ("X-Org-ID", "X-User-Role", "X-User-Role-ID", "X-User-Permissions")
        return {name: upstream.requests[-1].one(name) for name in names}

    for _ in range(2):  # interleaved, cold and remembered: no verdict crosses over
        home, other = await told(), await told(at(world.other))
        assert (home["X-User-Role"], other["X-User-Role"]) == ("agent", "manager")
        assert (home["X-Org-ID"], other["X-Org-ID"]) == (str(world.home), str(world.other))
        assert home["X-User-Role-ID"] != other["X-User-Role-ID"]
        assert "campaigns:execute" not in str(home["X-User-Permissions"])
        assert "campaigns:execute" in str(other["X-User-Permissions"])
        assert await told(at(world.home)) == home


async def test_a_permission_held_elsewhere_opens_nothing_here(gate: Gateway, world: World) -> None:
    """The hosted key endpoints ask for ``api_keys:read``: an admin there is an agent here."""
    await world.sql("UPDATE user_organizations SET role_id = NULL WHERE user_id = $1", world.both)
    await world.sql(
        "UPDATE user_organizations m SET role_id = r.id FROM custom_roles r WHERE m.user_id = $1 "
        "AND m.organization_id = $2 AND r.organization_id = $2 AND r.name = 'admin'",
        world.both,
        world.other,
    )
    token = bearer(world.token(world.both))
    assert (await ask(gate, get("/api/api-keys", token, at(world.other)))).status == 200
    for _ in range(2):
        is_refusal(await ask(gate, get("/api/api-keys", token)), 403)
        is_refusal(await ask(gate, get("/api/api-keys", token, at(world.home))), 403)


async def test_a_membership_that_ends_ends_the_remembered_verdict(gate: Gateway, world: World) -> None:
    raw = get(PATH, bearer(world.token(world.both)), at(world.other))
    assert (await ask(gate, raw)).status == 200
    await world.sql(
        "UPDATE user_organizations SET deleted_at = now() WHERE user_id = $1 AND organization_id = $2",
        world.both,
        world.other,
    )
    async with asyncio.timeout(20):
        while (await ask(gate, raw)).status == 200:
            await asyncio.sleep(0.01)
    is_refusal(await ask(gate, raw), 403)


async def test_token_endpoints_act_for_the_tokens_own_organization(gate: Gateway, world: World) -> None:
    login: dict[str, Any] = {"email": "both@example.com", "password": PASSWORD}
    pair = await granted(gate, post("/api/auth/login", login, at(world.other)))
    assert claims_of(pair["access_token"])["organization_id"] == str(world.home)
    after = await granted(
        gate, post("/api/auth/refresh", {"refresh_token": pair["refresh_token"]}, at(world.other))
    )
    assert UUID(claims_of(after["access_token"])["organization_id"]) == world.home
    listed = await granted(gate, get("/api/auth/sessions", bearer(after["access_token"]), at(uuid4())))
    assert listed["sessions"][0]["organization_id"] == str(world.home)


@pytest.mark.parametrize("spell", ["{{{}}}", "urn:uuid:{}", "}}{{{}", " +{}"])
async def test_an_organization_is_spelt_as_every_upstream_reads_it(
    gate: Gateway, world: World, upstream: Upstream, spell: str
) -> None:
    token, home = world.token(world.admin), str(world.home)
    for spelling in (spell.format(home), home.replace("-", ""), home[:9] + "-" + home[9:]):
        answer = await ask(gate, get(PATH, bearer(token), at(spelling)))
        is_refusal(answer, 400, "X-Organization-ID is not a UUID")
    assert upstream.requests == []
