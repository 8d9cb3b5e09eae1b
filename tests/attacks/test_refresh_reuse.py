"""A refresh token that was used before: whoever presents it, nobody goes on with what it bought."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from authcore.accounts.sessions import Reuse, Sessions
from authcore.crypto.sealing import seal, unseal
from tests.support.accounts import sign_in
from tests.support.calls import ask, bearer, claims_of, get, granted, is_refusal, post

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.worlds import Start, World


AFTER = (
    "UPDATE gateway_refresh_tokens SET used_at = used_at - make_interval(secs => $1), "
    "retry_until = retry_until - make_interval(secs => $1)"
)
"""So many seconds later."""
AFTER_THE_GRACE = "UPDATE gateway_refresh_tokens SET used_at = used_at - interval '11 seconds'"


def refresh(pair: dict[str, Any]) -> bytes:
    return post("/api/auth/refresh", {"refresh_token": pair["refresh_token"]})


def call(pair: dict[str, Any]) -> bytes:
    return get("/api/contacts", bearer(pair["access_token"]))


async def test_whoever_comes_second_the_whole_session_ends_for_both_at_once(
    gate: Gateway, world: World, start: Start
) -> None:
    replica = await start(world.url)
    stolen = await sign_in(gate)
    won = await granted(gate, refresh(stolen))
    won = await granted(gate, refresh(won))  # whoever was first has gone on since
    for where in (gate, replica):
        assert (await ask(where, call(won))).status == 200
    await world.sql(AFTER_THE_GRACE)
    answer = await ask(gate, refresh(stolen))
    is_refusal(answer, 401)
    assert "revoked" in str(answer.json()["message"])
    for pair in (stolen, won):
        is_refusal(await ask(gate, call(pair)), 401, "Invalid or expired token")
        is_refusal(await ask(gate, refresh(pair)), 401)
    async with asyncio.timeout(20):
        while (await ask(replica, call(won))).status == 200:
            await asyncio.sleep(0.01)


async def test_the_copy_for_who_races_itself_opens_by_the_used_token_alone(
    gate: Gateway, world: World
) -> None:
    before = await sign_in(gate)
    after = await granted(gate, refresh(before))
    (row,) = await world.sql(
        "SELECT digest, successor FROM gateway_refresh_tokens WHERE successor IS NOT NULL"
    )
    everything = b"".join(bytes(part) for part in row.values())
    for token in (after["access_token"], after["refresh_token"]):
        assert not any(part.encode() in everything for part in token.split("."))
    head, body, signature = before["refresh_token"].split(".")
    for thief in (
        after["refresh_token"],
        after["access_token"],
        f"{head}.{body}",
        f"{head}.{body}.",
        signature,
    ):
        assert unseal(row["successor"], thief) is None
    for damage in (b"", row["successor"][:12], row["successor"][:-1], b"\0" + row["successor"][1:]):
        assert unseal(damage, before["refresh_token"]) is None
    assert after["refresh_token"] in str(unseal(row["successor"], before["refresh_token"]))


def test_no_two_copies_are_alike() -> None:
    assert seal("content", "token") != seal("content", "token")


async def test_the_copy_is_gone_when_nobody_may_ask_for_it_any_more(gate: Gateway, world: World) -> None:
    """Keyed by the mode: how much later nothing is to be had, and what ends it before."""
    for reuse, later in ((Reuse.STRICT, 11), (Reuse.RETRY, 3661), (Reuse.KEEP, None)):
        sessions = Sessions(world.store, world.tokens, reuse=reuse)
        pair = await granted(gate, refresh(await sign_in(gate)))
        await world.sql(AFTER, 3 if later is None else later - 8)  # seconds are left, on a busy machine too
        assert await sessions.forget_successors(time.time()) == 0, reuse
        if later is None:  # as long as the session: until the successor is used
            await world.sql(AFTER, 80_000)
            assert await sessions.forget_successors(time.time()) == 0
            await granted(gate, refresh(pair))
        await world.sql(AFTER, 11)
        assert await sessions.forget_successors(time.time()) == 1, reuse
        await world.sql("DELETE FROM gateway_refresh_tokens")


@pytest.mark.parametrize("reuse", Reuse)
async def test_the_copy_is_gone_when_the_session_is(gate: Gateway, world: World, reuse: Reuse) -> None:
    pair = await granted(gate, refresh(await sign_in(gate)))
    await granted(gate, post("/api/auth/logout", {"refresh_token": pair["refresh_token"]}))
    await world.sql(AFTER, 11)
    assert await Sessions(world.store, world.tokens, reuse=reuse).forget_successors(time.time()) == 1


async def test_a_copy_that_somebody_replaced_is_not_handed_out(gate: Gateway, world: World) -> None:
    mine, theirs = await sign_in(gate), await sign_in(gate)
    await granted(gate, refresh(mine))
    await granted(gate, refresh(theirs))
    rows = await world.sql("SELECT digest, successor FROM gateway_refresh_tokens WHERE successor IS NOT NULL")
    for row, other in zip(rows, reversed(rows), strict=True):
        await world.sql(
            "UPDATE gateway_refresh_tokens SET successor = $2 WHERE digest = $1",
            row["digest"],
            other["successor"],
        )
    for pair in (mine, theirs):
        is_refusal(await ask(gate, refresh(pair)), 401)
    (left,) = await world.sql("SELECT count(*) AS live FROM gateway_sessions WHERE revoked_at IS NULL")
    assert left["live"] == 2  # which is no reason to end anybody's session


async def test_the_same_pair_is_not_given_to_a_user_who_was_switched_off_meanwhile(
    gate: Gateway, world: World
) -> None:
    before = await sign_in(gate)
    await granted(gate, refresh(before))
    await world.sql("UPDATE users SET is_active = false WHERE id = $1", world.agent)
    is_refusal(await ask(gate, refresh(before)), 401, "Account is disabled")


async def test_a_second_refresh_is_refused_in_a_session_that_was_ended_meanwhile(gate: Gateway) -> None:
    before = await sign_in(gate)
    after = await granted(gate, refresh(before))
    await granted(gate, post("/api/auth/logout", {"refresh_token": after["refresh_token"]}))
    is_refusal(await ask(gate, refresh(before)), 401)
    assert claims_of(before["refresh_token"])["sid"] == claims_of(after["refresh_token"])["sid"]
