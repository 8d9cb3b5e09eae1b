"""Signing in again and again, so that the rows of one account grow for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from authcore.store.session_statements import MOST_TOKENS
from tests.support.accounts import sign_in
from tests.support.admin import metrics
from tests.support.calls import ask, bearer, get, granted, is_refusal, post, whatomate_token

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.worlds import Start, World


async def lives(gate: Gateway, pair: dict[str, Any]) -> bool:
    return (await ask(gate, get("/api/x", bearer(pair["access_token"])))).status == 200


async def test_a_session_too_many_ends_the_one_used_longest_ago_and_no_rows_are_left_over(
    world: World, start: Start
) -> None:
    gate = await start(world.url, token={"sessions": 3})
    other = await sign_in(gate, "admin")
    first, second, third = [await sign_in(gate) for _ in range(3)]
    first = await granted(gate, post("/api/auth/refresh", {"refresh_token": first["refresh_token"]}))
    fourth = await sign_in(gate)
    assert [await lives(gate, one) for one in (first, second, third, fourth)] == [True, False, True, True]
    gone = post("/api/auth/refresh", {"refresh_token": second["refresh_token"]})
    is_refusal(await ask(gate, gone), 401)
    for _ in range(10):
        await sign_in(gate)
    (row,) = await world.sql(
        "SELECT count(*) AS rows, count(*) FILTER (WHERE revoked_at IS NULL) AS live FROM gateway_sessions "
        "WHERE user_id = $1",
        world.agent,
    )
    assert row["live"] == 3
    assert row["rows"] <= 4, "what had ended before is forgotten"
    is_refusal(await ask(gate, gone), 401)
    assert await lives(gate, other), "nobody else's"
    (displaced,) = (await metrics(gate))["gateway_sessions_displaced"]
    assert displaced.value == 11


async def test_a_session_too_many_leaves_the_row_that_a_token_of_whatomates_ended_with(
    world: World, start: Start
) -> None:
    """Without it, the token would begin a session again after it was signed out."""
    gate = await start(world.url, token={"sessions": 2})
    theirs = {"refresh_token": whatomate_token(world.agent, world.home, seconds=86_400, jti=str(uuid4()))}
    pair = await granted(gate, post("/api/auth/refresh", theirs))
    assert (await ask(gate, post("/api/auth/logout", {"refresh_token": pair["refresh_token"]}))).status == 200
    for _ in range(6):
        await sign_in(gate)
    assert len(await world.sql("SELECT FROM gateway_sessions WHERE revoked_at IS NULL")) == 2
    is_refusal(await ask(gate, post("/api/auth/refresh", theirs)), 401)


async def rows(world: World) -> int:
    (row,) = await world.sql("SELECT count(*) AS number FROM gateway_refresh_tokens")
    return int(row["number"])


async def refreshed(gate: Gateway, pair: dict[str, Any], times: int) -> dict[str, Any]:
    for _ in range(times):
        pair = await granted(gate, post("/api/auth/refresh", {"refresh_token": pair["refresh_token"]}))
    return pair


async def switched(gate: Gateway, world: World, pair: dict[str, Any]) -> dict[str, Any]:
    body = {"organization_id": str(world.other)}
    return await granted(gate, post("/api/auth/switch-org", body, bearer(pair["access_token"])))


async def test_rows_of_a_session_are_bounded_however_often_it_is_refreshed(
    world: World, start: Start
) -> None:
    gate = await start(world.url)
    pair = await refreshed(gate, await sign_in(gate), MOST_TOKENS + 20)
    assert await rows(world) == MOST_TOKENS
    assert await lives(gate, await refreshed(gate, pair, 1))


@pytest.mark.parametrize("use", ["refresh", "logout"])
async def test_a_second_use_of_a_token_whose_row_was_deleted_ends_its_session(
    world: World, start: Start, use: str
) -> None:
    """A thief who refreshes fast must not make the owner's token a forgotten one that proves no theft."""
    gate = await start(world.url)
    stolen = await refreshed(gate, await sign_in(gate), 1)
    thief = await refreshed(gate, stolen, MOST_TOKENS + 20)
    other = await sign_in(gate)
    answer = await ask(gate, post(f"/api/auth/{use}", {"refresh_token": stolen["refresh_token"]}))
    assert answer.status == (401 if use == "refresh" else 200)
    assert not await lives(gate, thief)
    is_refusal(await ask(gate, post("/api/auth/refresh", {"refresh_token": thief["refresh_token"]})), 401)
    assert await lives(gate, other)


async def test_rows_of_a_session_are_bounded_however_often_it_switches_organizations(
    world: World, start: Start
) -> None:
    gate = await start(world.url)
    await world.accounts.administration.add_member(world.agent, world.other)
    first = await sign_in(gate)
    beside = [await switched(gate, world, first) for _ in range(MOST_TOKENS + 20)]
    assert MOST_TOKENS - 2 <= await rows(world) <= MOST_TOKENS
    # One that was never used makes way and is refused; that is no theft, and ends nothing.
    is_refusal(await ask(gate, post("/api/auth/refresh", {"refresh_token": beside[0]["refresh_token"]})), 401)
    last = await refreshed(gate, beside[-1], 1)
    assert await lives(gate, last)
    # The first token of a session stays.
    assert await lives(gate, await refreshed(gate, first, 1))


async def test_rows_of_used_tokens_are_deleted_before_those_of_unused_ones(
    world: World, start: Start
) -> None:
    """A client that sleeps in one organization goes on, however often another refreshes in another."""
    gate = await start(world.url)
    await world.accounts.administration.add_member(world.agent, world.other)
    sleeping = await refreshed(gate, await sign_in(gate), 2)
    await refreshed(gate, await switched(gate, world, sleeping), MOST_TOKENS + 20)
    assert await rows(world) == MOST_TOKENS
    assert await lives(gate, await refreshed(gate, sleeping, 1))
