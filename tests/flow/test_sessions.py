"""Sessions as their users see and end them: on every replica, at once."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from tests.support.accounts import sign_in
from tests.support.calls import (
    ask,
    bearer,
    claims_of,
    get,
    granted,
    is_refusal,
    post,
    request,
    whatomate_token,
)
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.peers import Message, Upstream
    from tests.support.worlds import Start, World


REFUSED = "Invalid or expired token"
SESSIONS, LOGOUT, ALL = "/api/auth/sessions", "/api/auth/logout", "/api/auth/logout-all"
SECONDS = 20
"""Far more than a change needs to be heard of, on any machine."""


def refresh(pair: dict[str, Any], *lines: str) -> bytes:
    return post("/api/auth/refresh", {"refresh_token": pair["refresh_token"]}, *lines)


def call(pair: dict[str, Any]) -> bytes:
    return get("/api/contacts", bearer(pair["access_token"]))


def session(pair: dict[str, Any]) -> str:
    return str(claims_of(pair["access_token"])["sid"])


async def listed(gate: Gateway, pair: dict[str, Any]) -> list[dict[str, Any]]:
    found = (await granted(gate, get(SESSIONS, bearer(pair["access_token"]))))["sessions"]
    assert isinstance(found, list)
    return found


async def refused_soon(gate: Gateway, raw: bytes) -> Message:
    """The first refusal, on a replica that has to hear of it."""
    async with asyncio.timeout(SECONDS):
        while True:
            answer = await ask(gate, raw)
            if answer.status != 200:
                return answer
            await asyncio.sleep(0.01)


def end(pair: dict[str, Any], session_id: str) -> bytes:
    return request("DELETE", f"{SESSIONS}/{session_id}", bearer(pair["access_token"]))


# -- the list -----------------------------------------------------------------------------------------------------


async def test_users_see_their_own_live_sessions_and_which_one_they_are_in(
    gate: Gateway, world: World
) -> None:
    phone = await sign_in(gate, "agent", "User-Agent: Phone/1")
    laptop = await sign_in(gate, "agent", "User-Agent: Laptop/2")
    gone = await sign_in(gate)
    await granted(gate, post(LOGOUT, {"refresh_token": gone["refresh_token"]}))
    await sign_in(gate, "admin")
    first, second = await listed(gate, phone)
    assert (first["id"], first["current"]) == (session(phone), True)
    assert (second["id"], second["current"]) == (session(laptop), False)
    assert (first["device"], second["device"]) == ("Phone/1", "Laptop/2")
    assert first["address"] == "127.0.0.1"
    assert first["organization_id"] == str(world.home)
    assert set(first) == {
        *("id", "organization_id", "device", "address", "created_at", "last_used_at", "expires_at", "current")
    }
    assert first["created_at"] <= first["last_used_at"] < first["expires_at"]
    assert all(first[name].endswith("Z") for name in ("created_at", "last_used_at", "expires_at"))


async def test_a_refresh_tells_where_a_session_was_last_used(gate: Gateway, world: World) -> None:
    pair = await sign_in(gate, "agent", "User-Agent: Old/1")
    await world.sql(
        "UPDATE gateway_sessions SET created_at = created_at - interval '1 hour', "
        "last_used_at = last_used_at - interval '1 hour', address = '192.0.2.7'"
    )
    pair = await granted(gate, refresh(pair, "User-Agent: New/2"))
    (one,) = await listed(gate, pair)
    assert (one["device"], one["address"]) == ("New/2", "127.0.0.1")
    assert one["created_at"] < one["last_used_at"]


async def test_the_address_is_the_clients_as_the_gateway_judged_it(world: World, start: Start) -> None:
    lines = ("X-Forwarded-For: 203.0.113.9", "X-Real-IP: 203.0.113.10")
    gate = await start(world.url)
    (direct,) = await listed(gate, await sign_in(gate, "agent", *lines))
    assert direct["address"] == "127.0.0.1"
    behind = await start(world.url, trusted_proxies=["127.0.0.0/8"])
    (first, _) = await listed(behind, await sign_in(behind, "agent", *lines))
    assert first["address"] == "203.0.113.9"


async def test_a_device_is_bounded_and_holds_nothing_that_no_screen_shows(
    gate: Gateway, world: World
) -> None:
    await world.sql("DELETE FROM gateway_sessions")
    raw = post("/api/auth/login", {"email": "agent@example.com", "password": PASSWORD})
    head, _, rest = raw.partition(b"\r\n\r\n")
    agent = "Evil\u202e\u200b".encode() + b"\xff\xfe" + b"x" * 1000
    answer = await ask(gate, head + b"\r\nUser-Agent: " + agent + b"\r\n\r\n" + rest)
    data = answer.json()["data"]
    assert isinstance(data, dict)
    (one,) = await listed(gate, data)
    assert one["device"] == "Evil" + "x" * 252


async def test_a_caller_without_a_session_sees_none_as_current(gate: Gateway, world: World) -> None:
    await sign_in(gate)
    theirs = {"access_token": whatomate_token(world.agent, world.home)}
    (one,) = await listed(gate, theirs)
    assert one["current"] is False


async def test_an_api_key_neither_sees_nor_ends_sessions(gate: Gateway, world: World) -> None:
    pair = await sign_in(gate, "admin")
    key = f"X-API-Key: {world.api_key}"
    for raw in (
        get(SESSIONS, key),
        request("DELETE", f"{SESSIONS}/{session(pair)}", key),
        request("POST", ALL, key),
    ):
        is_refusal(await ask(gate, raw), 403)
    assert (await ask(gate, call(pair))).status == 200


# -- the end ------------------------------------------------------------------------------------------------------


async def test_a_logged_out_sessions_access_token_is_refused_at_once(
    gate: Gateway, world: World, start: Start, upstream: Upstream
) -> None:
    replica = await start(world.url)
    pair, other = await sign_in(gate), await sign_in(gate)
    for where in (gate, replica):
        assert (await ask(where, call(pair))).status == 200
        assert (await ask(where, call(other))).status == 200
    await granted(gate, post(LOGOUT, {"refresh_token": pair["refresh_token"]}))
    before = upstream.seen
    is_refusal(await ask(gate, call(pair)), 401, REFUSED)  # where it was ended there is nothing to wait for
    assert upstream.seen == before
    is_refusal(await refused_soon(replica, call(pair)), 401, REFUSED)
    for where in (gate, replica):
        assert (await ask(where, call(other))).status == 200


async def test_without_triggers_who_ended_a_session_refuses_it_at_once_all_the_same(
    world: World, start: Start
) -> None:
    await world.sql("DROP FUNCTION gateway_changed_gateway_sessions CASCADE")
    gate = await start(world.url)
    pair = await sign_in(gate)
    assert (await ask(gate, call(pair))).status == 200
    await granted(gate, post(LOGOUT, {"refresh_token": pair["refresh_token"]}))
    is_refusal(await ask(gate, call(pair)), 401, REFUSED)


async def test_an_access_token_alone_logs_its_session_out(gate: Gateway) -> None:
    pair, other = await sign_in(gate), await sign_in(gate)
    assert await granted(gate, request("POST", LOGOUT, bearer(pair["access_token"]))) == {
        "status": "logged_out"
    }
    is_refusal(await ask(gate, call(pair)), 401, REFUSED)
    is_refusal(await ask(gate, refresh(pair)), 401)
    assert (await ask(gate, call(other))).status == 200


async def test_logging_out_answers_200_whatever_it_is_given(gate: Gateway, world: World) -> None:
    expired = world.token(world.agent, now=time.time() - 7200)
    for line in (
        bearer("nonsense"),
        bearer(expired),
        bearer(world.token(world.agent, session_id=uuid4())),
        bearer(whatomate_token(world.agent, world.home)),
        "Authorization: Basic eDp5",
        "Authorization: Bearer \u00e9",
        "X-Nothing: 1",
    ):
        assert await granted(gate, request("POST", LOGOUT, line)) == {"status": "logged_out"}


async def test_a_session_is_ended_by_its_id_and_only_by_its_user(
    gate: Gateway, world: World, start: Start
) -> None:
    replica = await start(world.url)
    phone, laptop, admin = await sign_in(gate), await sign_in(gate), await sign_in(gate, "admin")
    assert (await ask(replica, call(laptop))).status == 200
    for unknown in (session(admin), str(uuid4()), "nonsense"):
        is_refusal(await ask(gate, end(phone, unknown)), 404, "Session not found")
    assert (await ask(gate, call(admin))).status == 200
    assert await granted(gate, end(phone, session(laptop))) == {"message": "Session ended"}
    is_refusal(await ask(gate, end(phone, session(laptop))), 404, "Session not found")
    is_refusal(await refused_soon(replica, call(laptop)), 401, REFUSED)
    is_refusal(await ask(gate, refresh(laptop)), 401)
    assert [one["id"] for one in await listed(gate, phone)] == [session(phone)]
    await granted(gate, end(phone, session(phone)))  # the current one is the caller's own too
    is_refusal(await ask(gate, call(phone)), 401, REFUSED)


async def test_logging_out_everywhere_ends_every_session_of_the_user(
    gate: Gateway, world: World, start: Start
) -> None:
    replica = await start(world.url)
    mine = [await sign_in(gate) for _ in range(3)]
    others = await sign_in(gate, "admin")
    theirs = whatomate_token(world.agent, world.home, seconds=86_400, jti=str(uuid4()))
    for pair in mine:
        assert (await ask(replica, call(pair))).status == 200
    answer = await granted(gate, request("POST", ALL, bearer(mine[0]["access_token"])))
    assert answer == {"status": "logged_out", "sessions": 3}
    for pair in mine:
        is_refusal(await ask(gate, call(pair)), 401, REFUSED)
        is_refusal(await refused_soon(replica, call(pair)), 401, REFUSED)
        is_refusal(await ask(gate, refresh(pair)), 401)
    is_refusal(await ask(gate, refresh({"refresh_token": theirs})), 401)  # nor can one be entered any more
    assert (await ask(gate, call(others))).status == 200
    assert (await ask(gate, call(await sign_in(gate)))).status == 200


async def test_a_session_that_has_lasted_its_lifetime_refreshes_no_more(world: World, start: Start) -> None:
    gate = await start(world.url, token={"session_seconds": 3600})
    pair = await sign_in(gate)
    claims = claims_of(pair["refresh_token"])
    assert claims["exp"] - claims["iat"] <= 3600
    assert pair["expires_in"] <= 3600
    await world.sql("UPDATE gateway_sessions SET created_at = created_at - interval '1 hour'")
    is_refusal(await ask(gate, refresh(pair)), 401, "Invalid refresh token")


# -- the organization ---------------------------------------------------------------------------------------------


async def test_switching_the_organization_stays_in_the_session(gate: Gateway, world: World) -> None:
    before = await sign_in(gate, "both")
    body = {"organization_id": str(world.other)}
    after = await granted(gate, post("/api/auth/switch-org", body, bearer(before["access_token"])))
    assert session(after) == session(before)
    (one,) = await listed(gate, after)
    assert one["organization_id"] == str(world.other)
    for pair in (before, after):
        assert (await ask(gate, call(pair))).status == 200  # another tab may still be where it was
    before, after = await granted(gate, refresh(before)), await granted(gate, refresh(after))
    assert claims_of(before["access_token"])["organization_id"] == str(world.home)
    assert claims_of(after["access_token"])["organization_id"] == str(world.other)
    await granted(gate, post(LOGOUT, {"refresh_token": before["refresh_token"]}))
    is_refusal(await ask(gate, call(after)), 401, REFUSED)
    is_refusal(await ask(gate, refresh(after)), 401)


async def test_switching_with_whatomates_token_begins_a_session(gate: Gateway, world: World) -> None:
    body = {"organization_id": str(world.other)}
    theirs = whatomate_token(world.both, world.home)
    pair = await granted(gate, post("/api/auth/switch-org", body, bearer(theirs)))
    (one,) = await listed(gate, pair)
    assert one["current"] is True


# -- who is told of the session -----------------------------------------------------------------------------------


async def test_an_upstream_is_told_the_session_only_under_a_name_it_was_given(
    world: World, start: Start, upstream: Upstream
) -> None:
    gate = await start(world.url)
    pair = await sign_in(gate)
    await ask(gate, call(pair))
    assert session(pair).encode() not in upstream.seen.replace(pair["access_token"].encode(), b"")
    for name in ("X-Session", "X-Auth-Session-ID"):
        named = await start(world.url, header={"session_id": name})
        await ask(named, call(pair))
        assert f"\r\n{name}: {session(pair)}\r\n".encode() in upstream.seen
        (one,) = await listed(named, pair)
        assert one["current"] is True


async def test_an_expired_access_token_signs_its_client_out(world: World, start: Start) -> None:
    gate = await start(world.url)
    pair = await sign_in(gate)
    claims = claims_of(pair["access_token"])
    past = world.token(
        world.agent, now=time.time() - 2 * 86_400, session_id=UUID(claims["sid"]), email="agent@example.com"
    )
    is_refusal(await ask(gate, get("/api/contacts", bearer(past))), 401)
    assert (await ask(gate, post(LOGOUT, {}, bearer(past)))).status == 200
    is_refusal(await ask(gate, refresh(pair)), 401)


async def test_a_forged_expired_token_ends_no_session(world: World, start: Start) -> None:
    gate = await start(world.url)
    pair = await sign_in(gate)
    claims = claims_of(pair["access_token"])
    past = world.token(
        world.agent, now=time.time() - 2 * 86_400, session_id=UUID(claims["sid"]), email="agent@example.com"
    )
    assert (await ask(gate, post(LOGOUT, {}, bearer(past[:-8] + "AAAAAAAA")))).status == 200
    await granted(gate, refresh(pair))
