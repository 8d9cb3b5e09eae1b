"""A stolen access token, good for minutes, traded for what lasts: by switching to where it is already."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.browsing import LOGIN, SWITCH, Jar, signed_in
from tests.support.calls import ask, bearer, claims_of, get, granted, post, whatomate_token
from tests.support.sockets import closed_by, echoing, opened
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from uuid import UUID

    from gateway.app import Gateway
    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World


DAY = 86_400


@pytest.fixture(params=[0, 30], ids=["exactly", "with leeway"])
async def gate(request: pytest.FixtureRequest, world: World, start: Start) -> Gateway:
    return await start(world.url, jwt={"leeway_seconds": request.param})


def switch(token: str, organization: UUID, *lines: str) -> bytes:
    return post(SWITCH, {"organization_id": str(organization)}, bearer(token), *lines)


async def refreshed(gate: Gateway, pair: dict[str, Any]) -> dict[str, Any]:
    return await granted(gate, post("/api/auth/refresh", {"refresh_token": pair["refresh_token"]}))


def ends(pair: dict[str, Any]) -> set[int]:
    return {claims_of(pair[name])["exp"] for name in ("access_token", "refresh_token")}


async def token_of(gate: Gateway, world: World, *, whose: str) -> str:
    if whose == "whatomate's":
        return whatomate_token(world.both, world.home, seconds=600)
    pair = await granted(gate, post(LOGIN, {"email": "both@example.com", "password": PASSWORD}))
    return str(pair["access_token"])


@pytest.mark.parametrize("whose", ["ours", "whatomate's"])
async def test_to_ones_own_organization_a_switch_gives_no_longer_life(
    gate: Gateway, world: World, whose: str
) -> None:
    stolen = await token_of(gate, world, whose=whose)
    end = claims_of(stolen)["exp"]
    before = int(time.time())
    pair = await granted(gate, switch(stolen, world.home))
    assert 0 < pair["expires_in"] <= end - before + 1
    for _ in range(3):  # nor does what is refreshed with it, nor a switch with what came of it
        assert max(ends(pair)) <= end
        again = await granted(gate, switch(pair["access_token"], world.home))
        assert max(ends(again)) <= end
        pair = await refreshed(gate, pair)
    if whose == "whatomate's":
        for row in await world.sql("SELECT expires_at FROM gateway_sessions"):
            assert row["expires_at"].timestamp() <= end


async def test_to_another_organization_it_gives_a_sessions_life(gate: Gateway, world: World) -> None:
    token = await token_of(gate, world, whose="ours")
    pair = await granted(gate, switch(token, world.other))
    assert claims_of(pair["refresh_token"])["exp"] > time.time() + DAY


async def test_the_session_itself_goes_on(gate: Gateway, world: World) -> None:
    """The session's owner has a refresh token of their own, and loses nothing."""
    mine = await granted(gate, post(LOGIN, {"email": "agent@example.com", "password": PASSWORD}))
    await granted(gate, switch(mine["access_token"], world.home))
    mine = await refreshed(gate, mine)
    assert claims_of(mine["refresh_token"])["exp"] > time.time() + DAY


async def test_a_browser_that_stays_keeps_its_refresh_token(world: World, start: Start) -> None:
    gate = await start(world.url, cookies=True)
    jar = await signed_in(gate)
    before = dict(jar.values)
    body = {"organization_id": str(world.home)}
    answer = await ask(gate, post(SWITCH, body, jar.sent_to(SWITCH), jar.csrf))
    assert answer.status == 200
    assert jar.take(answer) == ["whm_access"]
    assert jar.values == {**before, "whm_access": jar.values["whm_access"]}
    assert claims_of(jar.values["whm_access"])["exp"] <= claims_of(before["whm_access"])["exp"]
    assert isinstance(jar, Jar)


async def test_a_ticket_lasts_no_longer_than_its_token(gate: Gateway, world: World) -> None:
    for token in (
        whatomate_token(world.agent, world.home, seconds=9),
        world.token(world.agent, now=time.time() - 3600 + 9),
    ):
        answer = await granted(gate, get("/api/auth/ws-token", bearer(token)))
        assert claims_of(answer["token"])["exp"] == claims_of(token)["exp"]
        assert answer["expires_in"] <= 9


async def test_a_socket_of_a_token_without_a_session_ends_with_the_token_though_a_ticket_opened_it(
    world: World, start: Start, upstream: Upstream
) -> None:
    upstream.script = echoing()
    gate = await start(world.url)
    token = whatomate_token(world.agent, world.home, seconds=3)
    ticket = (await granted(gate, get("/api/auth/ws-token", bearer(token))))["token"]
    client = await opened(gate, target=f"/ws?token={ticket}")
    assert await closed_by(client) == (4401, "expired")
