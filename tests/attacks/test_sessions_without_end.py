"""Signing in again and again, so that the rows of one account grow for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.accounts import sign_in
from tests.support.admin import metrics
from tests.support.calls import ask, bearer, get, granted, is_refusal, post

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
