"""A session whose id somebody else chose, or knows: it must be of no use to them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import jwt

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
from tests.support.worlds import SECRET

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World


SESSIONS = "/api/auth/sessions"
SPELLINGS = ("X-Auth-Session-ID", "x_auth_session_id", "X.Auth.Session.Id", "X-AUTH-SESSION_ID")


def session(pair: dict[str, Any]) -> str:
    return str(claims_of(pair["access_token"])["sid"])


async def test_signing_in_begins_a_session_of_its_own_whatever_the_client_names(
    gate: Gateway, world: World
) -> None:
    attacker = await sign_in(gate, "admin")
    chosen = session(attacker)
    lines = [f"{name}: {chosen}" for name in SPELLINGS]
    victim = await sign_in(gate, "agent", *lines, sid=chosen, session_id=chosen)
    assert session(victim) != chosen
    with_theirs = await sign_in(gate, "agent", bearer(attacker["access_token"]))
    assert session(with_theirs) not in {chosen, session(victim)}
    assert len(await world.sql("SELECT FROM gateway_sessions")) == 3


async def test_no_header_of_a_clients_names_the_session_it_is_in(
    gate: Gateway, world: World, upstream: Upstream, start: Start
) -> None:
    mine, other = await sign_in(gate, "agent"), await sign_in(gate, "agent")
    lines = [f"{name}: {session(other)}" for name in SPELLINGS]
    found = await granted(gate, get(SESSIONS, bearer(mine["access_token"]), *lines))
    assert [one["id"] for one in found["sessions"] if one["current"]] == [session(mine)]
    theirs = whatomate_token(world.agent, world.home)  # of no session: there is no header of ours to replace
    found = await granted(gate, get(SESSIONS, bearer(theirs), *lines))
    assert not any(one["current"] for one in found["sessions"])
    switched = await granted(
        gate, post("/api/auth/switch-org", {"organization_id": str(world.home)}, bearer(theirs), *lines)
    )
    assert session(switched) not in {session(mine), session(other)}
    named = await start(world.url, header={"session_id": "X-Auth-Session-ID"})
    for credential in (bearer(theirs), bearer(mine["access_token"]), f"X-API-Key: {world.api_key}"):
        await ask(named, get("/api/contacts", credential, *lines))
        assert session(other).encode() not in upstream.seen


async def test_a_token_of_one_user_opens_no_session_of_anothers(gate: Gateway, world: World) -> None:
    """Only the gateway signs ``sid``; should it ever sign a wrong one, it is refused all the same."""
    victim = await sign_in(gate, "agent")
    forged = world.token(world.admin, session_id=UUID(session(victim)))
    is_refusal(await ask(gate, get("/api/contacts", bearer(forged))), 401, "Invalid or expired token")
    await granted(gate, request("POST", "/api/auth/logout", bearer(forged)))
    assert (await ask(gate, get("/api/contacts", bearer(victim["access_token"])))).status == 200


async def test_a_foreign_token_joins_no_session_by_naming_one(gate: Gateway, world: World) -> None:
    victim = await sign_in(gate, "agent")
    now = int(time.time())
    claims = {
        "user_id": str(world.agent),
        "organization_id": str(world.home),
        "iss": "whatomate",
        "iat": now,
        "exp": now + 3600,
        "sid": session(victim),
    }
    entered = await granted(
        gate,
        post(
            "/api/auth/refresh",
            {"refresh_token": jwt.encode({**claims, "jti": str(uuid4())}, SECRET, algorithm="HS256")},
        ),
    )
    assert session(entered) != session(victim)
    found = await granted(gate, get(SESSIONS, bearer(jwt.encode(claims, SECRET, algorithm="HS256"))))
    assert not any(one["current"] for one in found["sessions"])


async def test_a_stolen_access_token_founds_no_session_that_outlives_its_own(
    gate: Gateway, world: World
) -> None:
    stolen = await sign_in(gate, "both")
    body = {"organization_id": str(world.other)}
    loot = await granted(gate, post("/api/auth/switch-org", body, bearer(stolen["access_token"])))
    await granted(gate, post("/api/auth/logout", {"refresh_token": stolen["refresh_token"]}))
    is_refusal(await ask(gate, get("/api/contacts", bearer(loot["access_token"]))), 401)
    is_refusal(await ask(gate, post("/api/auth/refresh", {"refresh_token": loot["refresh_token"]})), 401)
    is_refusal(await ask(gate, post("/api/auth/switch-org", body, bearer(stolen["access_token"]))), 401)


async def test_the_ids_of_others_sessions_are_told_by_nothing(gate: Gateway) -> None:
    victim, attacker = await sign_in(gate, "agent"), await sign_in(gate, "admin")
    by = bearer(attacker["access_token"])
    theirs = await ask(gate, request("DELETE", f"{SESSIONS}/{session(victim)}", by))
    nobodys = await ask(gate, request("DELETE", f"{SESSIONS}/{uuid4()}", by))
    assert (theirs.status, theirs.json()) == (nobodys.status, nobodys.json())
    assert theirs.status == 404
