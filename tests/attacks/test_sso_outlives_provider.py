"""Sessions of single sign-on that go on when the provider, or the user's binding to it, is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.calls import ask, bearer, get, granted, is_refusal, post
from tests.support.openid import Traveller, by_row, hosting, landed, vouch
from tests.support.processes import eventually
from tests.support.sockets import Far, closed_by, opened
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.openid import OpenId
    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World

WHO = "/api/auth/whoami"
SWITCHED_OFF = "UPDATE sso_providers SET is_enabled = false"
ENDS = {
    "switched off": SWITCHED_OFF,
    "marked as deleted": "UPDATE sso_providers SET deleted_at = now()",
    "deleted": "DELETE FROM sso_providers",
    "of another kind": "UPDATE sso_providers SET provider = 'google'",
    "not bound": "UPDATE users SET sso_provider = '', sso_provider_id = ''",
    "bound to another account": "UPDATE users SET sso_provider_id = 'another'",
    "noted no more": "DELETE FROM gateway_sso_identities",
    "noted for another issuer": "UPDATE gateway_sso_identities SET issuer = 'https://other.test'",
    "both for another account": "WITH noted AS (UPDATE gateway_sso_identities SET account = 'another') "
    "UPDATE users SET sso_provider_id = 'another'",
}


async def ended(gate: Gateway, token: str) -> None:
    """Wait until a token is refused."""

    async def is_over() -> bool:
        return (await ask(gate, get(WHO, bearer(token)))).status == 401

    await eventually(is_over)


@pytest.mark.parametrize("how", ENDS)
async def test_a_session_is_over_with_what_founded_it(
    world: World, start: Start, idp: OpenId, how: str
) -> None:
    gate = await hosting(world, start, idp)
    pair = landed(await Traveller(gate).sign_in(idp))
    by_password = await granted(
        gate, post("/api/auth/login", {"email": "agent@example.com", "password": PASSWORD})
    )
    for token in (pair, by_password):
        await granted(gate, get(WHO, bearer(token["access_token"])))
    await world.sql(ENDS[how])
    await ended(gate, pair["access_token"])
    is_refusal(await ask(gate, post("/api/auth/refresh", {"refresh_token": pair["refresh_token"]})), 401)
    listed = await granted(gate, get("/api/auth/sessions", bearer(by_password["access_token"])))
    assert [one["current"] for one in listed["sessions"]] == [True]
    again = post("/api/auth/refresh", {"refresh_token": by_password["refresh_token"]})
    await granted(gate, again)


async def test_what_decides_nothing_ends_nothing(world: World, start: Start, idp: OpenId) -> None:
    gate = await hosting(world, start, idp)
    pair = landed(await Traveller(gate).sign_in(idp))
    await world.sql(
        "UPDATE sso_providers SET client_secret = 'x', allowed_domains = 'other.test', updated_at = now(), "
        "token_url = 'https://other.test/token'"
    )
    await granted(gate, get(WHO, bearer(pair["access_token"])))
    await granted(gate, post("/api/auth/refresh", {"refresh_token": pair["refresh_token"]}))


async def test_a_provider_by_its_rows_urls_is_another_with_another_url(
    world: World, start: Start, idp: OpenId
) -> None:
    await vouch(world, "agent")
    await by_row(world, idp, world.home)
    idp.user["sub"] = "subject 1"
    gate = await start(world.url, **idp.settings(custom_issuer=None))
    pair = landed(await Traveller(gate).sign_in(idp))
    await granted(gate, get(WHO, bearer(pair["access_token"])))
    await world.sql("UPDATE sso_providers SET token_url = 'https://other.test/token'")
    await ended(gate, pair["access_token"])


async def test_a_socket_of_such_a_session_is_closed(
    world: World, start: Start, idp: OpenId, upstream: Upstream
) -> None:
    far = Far()
    upstream.script = far.script
    gate = await hosting(world, start, idp)
    token = landed(await Traveller(gate).sign_in(idp))["access_token"]
    client = await opened(gate, bearer(token))
    await world.sql(SWITCHED_OFF)
    code, _ = await closed_by(client)
    assert code == 4401


async def test_a_session_goes_on_when_its_provider_is_switched_on_again(
    world: World, start: Start, idp: OpenId
) -> None:
    """As a user's who is switched off: it is kept for the return."""
    gate = await hosting(world, start, idp)
    token = landed(await Traveller(gate).sign_in(idp))["access_token"]
    await world.sql(SWITCHED_OFF)
    await ended(gate, token)
    await world.sql("UPDATE sso_providers SET is_enabled = true")

    async def is_back() -> bool:
        return (await ask(gate, get(WHO, bearer(token)))).status == 200

    await eventually(is_back)
