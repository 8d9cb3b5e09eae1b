"""The contract of /api/auth: refreshing."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING
from uuid import uuid4

import jwt

from tests.support.accounts import sign_in
from tests.support.calls import ask, bearer, claims_of, get, granted, is_refusal, post, whatomate_token
from tests.support.worlds import SECRET

if TYPE_CHECKING:
    from uuid import UUID

    from gateway.app import Gateway
    from tests.support.peers import Client, Upstream
    from tests.support.worlds import Start, World


LOGOUT, SWITCH = "/api/auth/logout", "/api/auth/switch-org"


def refresh(token: object) -> bytes:
    return post("/api/auth/refresh", {"refresh_token": token})


def switch(token: str, organization: UUID) -> bytes:
    return post(SWITCH, {"organization_id": str(organization)}, bearer(token))


# -- refresh ----------------------------------------------------------------------------------------------------


async def test_refreshing_gives_a_new_pair_that_works(
    gate: Gateway, world: World, upstream: Upstream
) -> None:
    before = await sign_in(gate)
    after = await granted(gate, refresh(before["refresh_token"]))
    assert set(after) == {"access_token", "refresh_token", "expires_in"}
    assert after["expires_in"] == 3600
    old, new = claims_of(before["refresh_token"]), claims_of(after["refresh_token"])
    assert new["jti"] != old["jti"]
    assert new["user_id"] == old["user_id"] == str(world.agent)
    assert upstream.seen == b""
    assert (await ask(gate, get("/api/contacts", bearer(after["access_token"])))).status == 200
    await granted(gate, refresh(after["refresh_token"]))


async def test_a_refresh_token_used_twice_ends_its_session(gate: Gateway, world: World) -> None:
    before = await sign_in(gate)
    after = await granted(gate, refresh(before["refresh_token"]))
    # Until then it may be a client that lost the answer.
    after = await granted(gate, refresh(after["refresh_token"]))
    # Within ten seconds it would be a client racing itself.
    await world.sql("UPDATE gateway_refresh_tokens SET used_at = used_at - interval '11 seconds'")
    again = await ask(gate, refresh(before["refresh_token"]))
    is_refusal(again, 401)
    assert "revoked" in str(again.json()["message"])
    successor = await ask(gate, refresh(after["refresh_token"]))  # one of the two was a thief's: which?
    is_refusal(successor, 401)
    assert "revoked" in str(successor.json()["message"])


async def test_refreshes_at_once_get_one_and_the_same_pair(gate: Gateway, world: World, start: Start) -> None:
    before = await sign_in(gate)
    replica = await start(world.url)
    pairs = await asyncio.gather(
        *(granted(where, refresh(before["refresh_token"])) for where in (gate, replica, gate, replica))
    )
    assert len({(pair["access_token"], pair["refresh_token"]) for pair in pairs}) == 1
    (kept,) = await world.sql("SELECT count(*) FROM gateway_refresh_tokens")
    assert kept["count"] == 2  # the one that was used, and one successor
    await granted(gate, refresh(pairs[0]["refresh_token"]))  # which the losers have not harmed


async def test_without_a_grace_the_second_use_is_theft_when_strict(world: World, start: Start) -> None:
    gate = await start(world.url, token={"grace_seconds": 0, "reuse": "strict"})
    before = await sign_in(gate)
    after = await granted(gate, refresh(before["refresh_token"]))
    is_refusal(await ask(gate, refresh(before["refresh_token"])), 401)
    is_refusal(await ask(gate, refresh(after["refresh_token"])), 401)
    (kept,) = await world.sql("SELECT count(*) FROM gateway_refresh_tokens WHERE successor IS NOT NULL")
    assert kept["count"] == 0


async def test_one_session_ending_leaves_the_users_others(gate: Gateway) -> None:
    phone, laptop = await sign_in(gate), await sign_in(gate)
    await granted(gate, post(LOGOUT, {"refresh_token": phone["refresh_token"]}))
    is_refusal(await ask(gate, refresh(phone["refresh_token"])), 401)
    await granted(gate, refresh(laptop["refresh_token"]))


async def test_refresh_tokens_are_kept_by_digest_only(gate: Gateway, world: World) -> None:
    token = (await sign_in(gate))["refresh_token"]
    rows = await world.sql(
        "SELECT t.*, s.* FROM gateway_refresh_tokens t JOIN gateway_sessions s ON s.id = t.family"
    )
    assert len(rows) == 1
    kept = repr([tuple(row.values()) for row in rows])
    assert all(part not in kept for part in token.split("."))
    assert claims_of(token)["jti"] not in kept


async def test_what_is_no_refresh_token_is_refused(gate: Gateway, world: World) -> None:
    token = (await sign_in(gate))["refresh_token"]
    claims = claims_of(token)
    head, body, signature = token.split(".")
    now = int(time.time())
    bad = {
        "garbage": "garbage",
        "empty segments": "..",
        "not ASCII": "é.é.é",
        "another secret": jwt.encode(claims, "x" * 40, algorithm="HS256"),
        "unsigned": jwt.encode(claims, "", algorithm="none"),
        "another algorithm": jwt.encode(claims, SECRET * 2, algorithm="HS512"),
        "bent signature": f"{head}.{body}.{signature[:-4]}AAAA",
        "no signature": f"{head}.{body}.",
        "expired": jwt.encode({**claims, "exp": now - 1}, SECRET, algorithm="HS256"),
        "another issuer": jwt.encode({**claims, "iss": "somebody"}, SECRET, algorithm="HS256"),
        "an access token": world.token(world.agent),
        "Whatomate's access token": whatomate_token(world.agent, world.home),
        "a ticket": whatomate_token(world.agent, world.home, sub="ws"),
    }
    for what, one in bad.items():
        answer = await ask(gate, refresh(one))
        assert answer.status == 401, what
        is_refusal(answer, 401, "Invalid refresh token")
    await granted(gate, refresh(token))  # and none of it harmed the genuine one


async def test_a_genuine_token_that_was_never_stored_is_refused(gate: Gateway, world: World) -> None:
    unknown = world.tokens.issue_refresh(
        user_id=world.agent,
        organization_id=world.home,
        email="agent@example.com",
        role_id=None,
        is_super_admin=False,
        now=time.time(),
    )
    is_refusal(await ask(gate, refresh(unknown)), 401)


async def test_whatomates_refresh_token_is_taken_once(gate: Gateway, world: World) -> None:
    theirs = whatomate_token(world.agent, world.home, seconds=86_400, jti=str(uuid4()))
    pair = await granted(gate, refresh(theirs))
    assert claims_of(pair["access_token"])["user_id"] == str(world.agent)
    await granted(gate, refresh(pair["refresh_token"]))
    await world.sql("UPDATE gateway_refresh_tokens SET used_at = used_at - interval '11 seconds'")
    again = await ask(gate, refresh(theirs))
    is_refusal(again, 401)
    assert "revoked" in str(again.json()["message"])


async def test_whatomates_refresh_token_at_once_enters_one_family(gate: Gateway, world: World) -> None:
    theirs = whatomate_token(world.agent, world.home, seconds=86_400, jti=str(uuid4()))
    pairs = await asyncio.gather(*(granted(gate, refresh(theirs)) for _ in range(4)))
    assert len({pair["refresh_token"] for pair in pairs}) == 1
    assert len(await world.sql("SELECT FROM gateway_sessions")) == 1


async def test_refreshing_keeps_the_organization_of_the_token(gate: Gateway, world: World) -> None:
    before = await granted(gate, switch((await sign_in(gate, "both"))["access_token"], world.other))
    after = await granted(gate, refresh(before["refresh_token"]))
    assert claims_of(after["access_token"])["organization_id"] == str(world.other)
    assert claims_of(after["refresh_token"])["organization_id"] == str(world.other)


async def test_a_user_removed_from_the_organization_refreshes_into_their_home(
    gate: Gateway, world: World
) -> None:
    before = await granted(gate, switch((await sign_in(gate, "both"))["access_token"], world.other))
    await world.sql(
        "UPDATE user_organizations SET deleted_at = now() WHERE user_id = $1 AND organization_id = $2",
        world.both,
        world.other,
    )
    after = await granted(gate, refresh(before["refresh_token"]))
    assert claims_of(after["access_token"])["organization_id"] == str(world.home)


async def test_a_refresh_reads_the_user_anew(gate: Gateway, world: World) -> None:
    token = (await sign_in(gate))["refresh_token"]
    await world.sql("UPDATE users SET is_active = false WHERE id = $1", world.agent)
    is_refusal(await ask(gate, refresh(token)), 401, "Account is disabled")
    await world.sql("UPDATE users SET is_active = true, deleted_at = now() WHERE id = $1", world.agent)
    is_refusal(await ask(gate, refresh(token)), 401, "User not found")


async def test_an_outage_consumes_no_refresh_token(
    gate: Gateway, world: World, client: Client, upstream: Upstream
) -> None:
    token = (await sign_in(gate))["refresh_token"]
    is_refusal(await client.exchange(refresh(token)), 503)  # `client` is at a gateway without a database
    await granted(gate, refresh(token))
    assert upstream.seen == b""


async def test_a_token_of_whatomates_founds_no_session_after_all_were_ended(
    gate: Gateway, world: World
) -> None:
    now = int(time.time())
    theirs = whatomate_token(world.both, world.home, iat=now - 5)
    refreshing = whatomate_token(world.both, world.home, iat=now - 5, jti=str(uuid4()))
    pair = await granted(gate, switch(theirs, world.other))
    await granted(gate, post("/api/auth/logout-all", {}, bearer(pair["access_token"])))
    is_refusal(await ask(gate, switch(theirs, world.other)), 401)
    is_refusal(await ask(gate, refresh(refreshing)), 401)
    assert await world.sql("SELECT FROM gateway_sessions WHERE revoked_at IS NULL") == []
    later = int(time.time()) + 1  # a token's time is in whole seconds, and that of the logout is not
    await granted(gate, switch(whatomate_token(world.both, world.home, iat=later), world.other))
