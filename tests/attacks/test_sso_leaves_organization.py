"""A provider that a row alone names, and its administrator, who reach for other organizations by what it founds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.calls import ask, bearer, get, granted, is_refusal, post
from tests.support.openid import Traveller, by_row, landed, sent_back, vouch
from tests.support.processes import eventually

if TYPE_CHECKING:
    from uuid import UUID

    from gateway.app import Gateway
    from tests.support.openid import OpenId
    from tests.support.worlds import Start, World

NOT_MEMBER = "You are not a member of this organization"


@pytest.fixture
async def gate(world: World, start: Start, idp: OpenId) -> Gateway:
    """The custom provider is that of the home organization, and says that its user is `both`."""
    await vouch(world, "both")
    await by_row(world, idp, world.home)
    idp.user = {"sub": "subject 1", "email": "both@example.com", "email_verified": True}
    return await start(world.url, **idp.settings(custom_issuer=None))


def switch(token: str, organization: UUID) -> bytes:
    return post("/api/auth/switch-org", {"organization_id": str(organization)}, bearer(token))


async def test_whom_the_organization_removed_its_provider_signs_in_nowhere_else(
    world: World, gate: Gateway, idp: OpenId
) -> None:
    """The column of the home organization still names it."""
    removed = "UPDATE user_organizations SET deleted_at = now() WHERE user_id = $1 AND organization_id = $2"
    await world.sql(removed, world.both, world.home)
    assert sent_back(await Traveller(gate).sign_in(idp)) == NOT_MEMBER
    (row,) = await world.sql(
        "SELECT coalesce(sso_provider, '') AS bound FROM users WHERE id = $1", world.both
    )
    assert row["bound"] == ""


async def test_a_session_of_it_switches_to_no_other_organization(
    world: World, gate: Gateway, idp: OpenId
) -> None:
    pair = landed(await Traveller(gate).sign_in(idp))
    is_refusal(await ask(gate, switch(pair["access_token"], world.other)), 403, NOT_MEMBER)
    again = await granted(gate, switch(pair["access_token"], world.home))
    for token in (pair["access_token"], again["access_token"]):
        elsewhere = get("/api/x", bearer(token), f"X-Organization-ID: {world.other}")
        is_refusal(await ask(gate, elsewhere), 403, NOT_MEMBER)
        who = await granted(gate, get("/api/auth/whoami", bearer(token)))
        assert who["organization_id"] == str(world.home)


async def test_where_whatomate_would_act_elsewhere_it_is_refused_also_when_lenient(
    world: World, gate: Gateway, start: Start, idp: OpenId
) -> None:
    token = landed(await Traveller(gate).sign_in(idp))["access_token"]
    lenient = await start(world.url, preset="whatomate")
    elsewhere = get("/api/contacts", bearer(token), f"X-Organization-ID: {world.other}")
    is_refusal(await ask(lenient, elsewhere), 403, NOT_MEMBER)
    assert (await ask(lenient, get("/api/contacts", bearer(token)))).status == 200


async def test_removed_meanwhile_its_session_is_refreshed_for_no_other_organization(
    world: World, gate: Gateway, idp: OpenId
) -> None:
    pair = landed(await Traveller(gate).sign_in(idp))
    removed = "UPDATE user_organizations SET deleted_at = now() WHERE user_id = $1 AND organization_id = $2"
    await world.sql(removed, world.both, world.home)
    is_refusal(await ask(gate, post("/api/auth/refresh", {"refresh_token": pair["refresh_token"]})), 401)


async def test_a_session_of_it_ends_while_the_user_is_a_super_admin(
    world: World, gate: Gateway, idp: OpenId
) -> None:
    pair = landed(await Traveller(gate).sign_in(idp))
    who = get("/api/auth/whoami", bearer(pair["access_token"]))
    await granted(gate, who)
    await world.sql("UPDATE users SET is_super_admin = true WHERE id = $1", world.both)

    async def is_over() -> bool:
        return (await ask(gate, who)).status == 401

    await eventually(is_over)
    is_refusal(await ask(gate, post("/api/auth/refresh", {"refresh_token": pair["refresh_token"]})), 401)


async def test_a_provider_that_an_operator_has_named_founds_sessions_of_every_organization(
    world: World, start: Start, idp: OpenId
) -> None:
    await vouch(world, "both")
    await by_row(world, idp, world.home)
    idp.user["email"] = "both@example.com"
    gate = await start(world.url, **idp.settings())
    pair = landed(await Traveller(gate).sign_in(idp))
    await granted(gate, switch(pair["access_token"], world.other))
