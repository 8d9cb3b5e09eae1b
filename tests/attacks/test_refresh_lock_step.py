"""A refresh token used again after the grace: whom the three answers to that let go on, and whom none of them does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from tests.support.calls import ask, bearer, claims_of, get, granted, is_refusal, post, whatomate_token
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.worlds import Start, World

    Pair = dict[str, Any]

PHONE, OTHER = "User-Agent: Phone/1.0", "User-Agent: curl/8"
AFTER = (
    "UPDATE gateway_refresh_tokens SET used_at = used_at - make_interval(secs => $1), "
    "retry_until = retry_until - make_interval(secs => $1)"
)
"""So many seconds later."""
MODES = ("strict", "retry", "keep")


async def sign_in(gate: Gateway, name: str = "agent") -> Pair:
    body = {"email": f"{name}@example.com", "password": PASSWORD}
    return await granted(gate, post("/api/auth/login", body, PHONE))


def refresh(pair: Pair, agent: str = PHONE) -> bytes:
    return post("/api/auth/refresh", {"refresh_token": pair["refresh_token"]}, agent)


def call(pair: Pair) -> bytes:
    return get("/api/contacts", bearer(pair["access_token"]))


async def is_over(gate: Gateway, *pairs: Pair) -> None:
    for pair in pairs:
        is_refusal(await ask(gate, call(pair)), 401, "Invalid or expired token")
        is_refusal(await ask(gate, refresh(pair)), 401)


async def test_a_client_that_lost_the_answer_gets_the_same_pair_for_as_long_as_it_is_of_use(
    world: World, start: Start
) -> None:
    gates = [await start(world.url), await start(world.url)]
    first = await sign_in(gates[0])
    lost = await granted(gates[0], refresh(first))
    await world.sql(AFTER, 12)
    for gate in gates:
        again = await granted(gate, refresh(first))
        assert again["refresh_token"] == lost["refresh_token"]
        assert again["access_token"] == lost["access_token"]
        assert 3580 <= again["expires_in"] <= 3600
    await world.sql(AFTER, 3660 - 12 - 2)
    again = await granted(gates[1], refresh(first))
    assert again["refresh_token"] == lost["refresh_token"]
    await granted(gates[0], refresh(again))  # from here on it goes on as ever


async def test_a_client_that_lost_the_answer_gets_no_pair_once_it_is_of_no_use(
    world: World, start: Start
) -> None:
    gate = await start(world.url)
    first = await sign_in(gate)
    second = await granted(gate, refresh(first))
    await world.sql(AFTER, 3661)
    is_refusal(await ask(gate, refresh(first)), 401)
    await is_over(gate, second)


@pytest.mark.parametrize("reuse", MODES)
async def test_another_user_agent_is_no_client_that_comes_again(
    world: World, start: Start, reuse: str
) -> None:
    gate = await start(world.url, token={"reuse": reuse})
    first = await sign_in(gate)
    second = await granted(gate, refresh(first))
    raced = await granted(gate, refresh(first, OTHER))  # within the grace nobody asks who it is
    assert raced["refresh_token"] == second["refresh_token"]
    await world.sql(AFTER, 11)
    is_refusal(await ask(gate, refresh(first, OTHER)), 401)
    await is_over(gate, second)


async def test_strict_lets_nobody_come_again(world: World, start: Start) -> None:
    gate = await start(world.url, token={"reuse": "strict"})
    first = await sign_in(gate)
    second = await granted(gate, refresh(first))
    await world.sql(AFTER, 11)
    is_refusal(await ask(gate, refresh(first)), 401)
    await is_over(gate, second)


@pytest.mark.parametrize("reuse", MODES)
async def test_once_the_successor_was_used_by_anybody_an_older_token_is_theft(
    world: World, start: Start, reuse: str
) -> None:
    gate, replica = await start(world.url, token={"reuse": reuse}), await start(world.url)
    first = await sign_in(gate)
    second = await granted(gate, refresh(first))
    third = await granted(replica, refresh(second, OTHER))
    await world.sql(AFTER, 11)
    is_refusal(await ask(gate, refresh(first)), 401)
    await is_over(gate, second, third)


async def test_a_client_that_keeps_its_first_token_goes_on_all_day(world: World, start: Start) -> None:
    gate = await start(world.url, token={"reuse": "keep"})
    first = await sign_in(gate)
    seen = {(await granted(gate, refresh(first)))["refresh_token"]}
    for _ in range(23):
        await world.sql(AFTER, 3600)
        again = await granted(gate, refresh(first))
        seen.add(again["refresh_token"])
        assert again["expires_in"] == 3600
        assert (await ask(gate, call(again))).status == 200
    assert len(seen) == 1
    (row,) = await world.sql("SELECT count(*) AS tokens FROM gateway_refresh_tokens")
    assert row["tokens"] == 2  # however often it comes


async def test_in_lock_step_a_thief_stays_unseen_under_keep_until_one_goes_ahead(
    world: World, start: Start
) -> None:
    """The price of this choice, as docs/sessions.md has it."""
    gate = await start(world.url, token={"reuse": "keep"})
    stolen = await sign_in(gate)
    for _ in range(3):
        owner, thief = [await granted(gate, refresh(stolen)) for _ in range(2)]
        assert (await ask(gate, call(owner))).status == (await ask(gate, call(thief))).status == 200
        await world.sql(AFTER, 3600)
    ahead = await granted(gate, refresh(thief))
    await world.sql(AFTER, 11)
    is_refusal(await ask(gate, refresh(stolen)), 401)
    await is_over(gate, owner, thief, ahead)


@pytest.mark.parametrize("reuse", ["retry", "keep"])
async def test_a_token_that_whatomate_issued_is_entered_once_and_may_come_again(
    world: World, start: Start, reuse: str
) -> None:
    gate = await start(world.url, token={"reuse": reuse})
    theirs = {"refresh_token": whatomate_token(world.agent, world.home, seconds=86_400, jti=str(uuid4()))}
    lost = await granted(gate, refresh(theirs))
    await world.sql(AFTER, 12)
    again = await granted(gate, refresh(theirs))
    assert again["refresh_token"] == lost["refresh_token"]
    assert len(await world.sql("SELECT FROM gateway_sessions")) == 1
    after = await granted(gate, refresh(again))
    await world.sql(AFTER, 12)
    is_refusal(await ask(gate, refresh(theirs)), 401)
    await is_over(gate, after)


@pytest.mark.parametrize("reuse", MODES)
async def test_a_pair_for_another_organization_is_no_successor_and_falls_with_the_family(
    world: World, start: Start, reuse: str
) -> None:
    gate = await start(world.url, token={"reuse": reuse})
    first = await sign_in(gate, "both")
    body = {"organization_id": str(world.other)}
    beside = await granted(gate, post("/api/auth/switch-org", body, bearer(first["access_token"]), PHONE))
    second = await granted(gate, refresh(first))
    beside = await granted(gate, refresh(beside))  # used, and yet nobody used what followed the first
    await world.sql(AFTER, 12)
    if reuse == "strict":
        is_refusal(await ask(gate, refresh(first)), 401)
    else:
        assert (await granted(gate, refresh(first)))["refresh_token"] == second["refresh_token"]
        await granted(gate, refresh(second))
        await world.sql(AFTER, 12)
        is_refusal(await ask(gate, refresh(first)), 401)
    await is_over(gate, second, beside)
    assert claims_of(beside["access_token"])["organization_id"] == str(world.other)
