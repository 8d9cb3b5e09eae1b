"""Back-channel logout: a provider ends the sessions that it began, and no others."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest

from tests.support.calls import ask, bearer, get, is_refusal, request
from tests.support.issuers import by_hmac
from tests.support.openid import (
    CLIENT,
    SECRET,
    SSO,
    OpenId,
    Traveller,
    enable,
    hosting,
    landed,
    sent_back,
    vouch,
)
from tests.support.peers import PATIENCE

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.peers import Message
    from tests.support.worlds import Start, World

EVENT = "http://schemas.openid.net/event/backchannel-logout"


def logout(idp: OpenId, **changes: Any) -> str:
    now = int(time.time())
    claims = {
        "iss": idp.url,
        "aud": CLIENT,
        "sub": "subject 1",
        "iat": now,
        "exp": now + 120,
        "jti": str(uuid4()),
        "events": {EVENT: {}},
        **changes,
    }
    return idp.signed({name: value for name, value in claims.items() if value is not None}, typ="logout+jwt")


async def tell(gate: Gateway, token: str) -> Message:
    body = urlencode({"logout_token": token}).encode()
    line = "Content-Type: application/x-www-form-urlencoded"
    return await ask(gate, request("POST", f"{SSO}/custom/backchannel-logout", line, body=body))


async def status(gate: Gateway, token: str) -> int:
    return (await ask(gate, get("/api/x", bearer(token)))).status


async def test_a_logout_by_session_ends_that_one_on_every_gateway(
    world: World, start: Start, idp: OpenId
) -> None:
    await enable(world, "custom")
    await vouch(world, "agent")
    gates = [await start(world.url, **idp.settings(), identity={"cache_seconds": 3600}) for _ in range(2)]
    tokens = []
    for sid in ("session a", "session b"):
        idp.id_token = {"sid": sid}
        tokens.append(landed(await Traveller(gates[0]).sign_in(idp))["access_token"])
    by_password = world.token(world.agent)
    assert [await status(gate, token) for gate in gates for token in tokens] == [200] * 4
    answer = await tell(gates[1], logout(idp, sid="session a"))
    assert answer.status == 200
    assert answer.one("Cache-Control") == "no-store"
    assert await status(gates[1], tokens[0]) == 401
    async with asyncio.timeout(PATIENCE):
        while await status(gates[0], tokens[0]) != 401:  # the other one hears of it
            await asyncio.sleep(0.01)
    assert [await status(gate, tokens[1]) for gate in gates] == [200, 200]
    assert await status(gates[0], by_password) == 200


async def test_a_logout_by_subject_ends_all_that_the_provider_began_for_it(
    world: World, start: Start, idp: OpenId
) -> None:
    await enable(world, "custom")
    await vouch(world, "agent", "admin")
    gate = await start(world.url, **idp.settings())
    mine = [landed(await Traveller(gate).sign_in(idp))["access_token"] for _ in range(2)]
    idp.user = {**idp.user, "email": "admin@example.com"}
    idp.id_token = {"sub": "subject 2"}
    theirs = landed(await Traveller(gate).sign_in(idp))["access_token"]
    assert (await tell(gate, logout(idp))).status == 200
    assert [await status(gate, token) for token in (*mine, theirs)] == [401, 401, 200]


@pytest.mark.parametrize("subject", ["José", "x" * 256, "a\tb"])
async def test_a_logout_of_a_subject_that_nobody_here_can_be_ends_nothing(
    world: World, start: Start, idp: OpenId, subject: str
) -> None:
    gate = await hosting(world, start, idp)
    token = landed(await Traveller(gate).sign_in(idp))["access_token"]
    assert (await tell(gate, logout(idp, sub=subject))).status == 200
    assert await status(gate, token) == 200


async def test_a_logout_while_a_sign_in_is_on_its_way_ends_it(
    world: World, start: Start, idp: OpenId
) -> None:
    gate = await hosting(world, start, idp)
    traveller = Traveller(gate)
    back = idp.authorize(await traveller.begin())
    assert (await tell(gate, logout(idp))).status == 200
    assert sent_back(await traveller.come_back(back)) == "Invalid or expired state"
    assert await world.sql("SELECT FROM gateway_sessions WHERE revoked_at IS NULL") == []
    landed(await traveller.sign_in(idp))


async def test_a_logout_of_its_session_while_a_sign_in_is_on_its_way_ends_it_and_of_another_does_not(
    world: World, start: Start, idp: OpenId
) -> None:
    gate = await hosting(world, start, idp)
    idp.id_token = {"sid": "session a"}
    traveller = Traveller(gate)
    for sid, is_over in (("session b", False), ("session a", True)):
        back = idp.authorize(await traveller.begin())
        assert (await tell(gate, logout(idp, sid=sid))).status == 200
        answer = await traveller.come_back(back)
        if is_over:
            assert sent_back(answer) == "Invalid or expired state"
        else:
            landed(answer)
    assert await world.sql("SELECT FROM gateway_sessions WHERE revoked_at IS NULL") == []


async def test_of_notes_on_a_logout_by_clocks_that_are_apart_the_latest_holds_if_it_is_a_minute_ahead_at_most(
    world: World,
) -> None:
    (row,) = await world.sql("SELECT now() AS at")
    at, a_minute = row["at"], timedelta(minutes=1)
    for noted, holds in (
        (at, at),
        (at - a_minute / 2, at),
        (at + timedelta(days=2), at + timedelta(days=2)),
        (at + a_minute, at + 2 * a_minute),
    ):
        await world.store.note_sso_logout(b"digest", noted)
        (found,) = await world.sql("SELECT at FROM gateway_sso_logouts")
        assert found["at"] == holds


async def test_a_logout_noted_by_a_clock_that_is_days_ahead_keeps_nobody_out(
    world: World, start: Start, idp: OpenId
) -> None:
    gate = await hosting(world, start, idp)
    assert (await tell(gate, logout(idp))).status == 200
    await world.sql("UPDATE gateway_sso_logouts SET at = at + interval '2 days'")
    landed(await Traveller(gate).sign_in(idp))


async def test_no_other_token_logs_anybody_out(world: World, start: Start, idp: OpenId) -> None:
    gate = await hosting(world, start, idp)
    token = landed(await Traveller(gate).sign_in(idp))["access_token"]
    now = int(time.time())
    used = logout(idp, sub="somebody else")
    assert (await tell(gate, used)).status == 200
    for what, sent in {
        "used before": used,
        "an ID token": logout(idp, events=None, nonce="x"),
        "with a nonce": logout(idp, nonce="x"),
        "of another event": logout(idp, events={"http://example/other": {}}),
        "events of another kind": logout(idp, events=[EVENT]),
        "of another issuer": logout(idp, iss="https://evil.test"),
        "for another client": logout(idp, aud="another"),
        "of nobody": logout(idp, sub=None),
        "of a session that is no text": logout(idp, sid=["session a"]),
        "without an id": logout(idp, jti=None),
        "expired": logout(idp, exp=now - 3600),
        "of yesterday without an end": logout(idp, iat=now - 50_000, exp=None),
        "of yesterday, good for ever": logout(idp, iat=now - 50_000, exp=now + 10**9),
        "of tomorrow": logout(idp, iat=now + 86_400),
        "without a time": logout(idp, iat=None),
        "by the client's secret": by_hmac(
            {"alg": "HS256"}, {"iss": idp.url, "aud": CLIENT, "sub": "subject 1", "iat": now}, SECRET.encode()
        ),
        "no token": "x",
    }.items():
        is_refusal(await tell(gate, sent), 400, "The logout token is not valid")
        assert await status(gate, token) == 200, what
    assert (await ask(gate, request("POST", f"{SSO}/custom/backchannel-logout", body=b"{}"))).status == 400


async def test_a_logout_that_met_an_outage_ends_the_sessions_when_it_is_sent_again(
    world: World, start: Start, idp: OpenId
) -> None:
    gate = await hosting(world, start, idp)
    token = landed(await Traveller(gate).sign_in(idp))["access_token"]
    sent = logout(idp)
    await world.sql("ALTER TABLE gateway_sso_logouts RENAME TO gateway_away")
    assert (await tell(gate, sent)).status >= 500
    await world.sql("ALTER TABLE gateway_away RENAME TO gateway_sso_logouts")
    assert (await tell(gate, sent)).status == 200
    assert await status(gate, token) == 401
    is_refusal(await tell(gate, sent), 400, "The logout token is not valid")


async def test_an_id_token_that_is_a_logout_token_signs_nobody_in(
    world: World, start: Start, idp: OpenId
) -> None:
    await enable(world, "custom")
    await vouch(world, "agent")
    idp.id_token = {"events": {EVENT: {}}}
    traveller = Traveller(await start(world.url, **idp.settings()))
    assert sent_back(await traveller.sign_in(idp)) == "Failed to get user information"


async def test_notes_on_sessions_that_are_gone_are_forgotten(world: World, start: Start, idp: OpenId) -> None:
    gate = await hosting(world, start, idp)
    for _ in range(2):
        landed(await Traveller(gate).sign_in(idp))
    await tell(gate, logout(idp, sub="somebody else"))
    (first, _) = await world.sql("SELECT id FROM gateway_sessions ORDER BY created_at, id")
    await world.sql("DELETE FROM gateway_refresh_tokens WHERE family = $1", first["id"])
    await world.sql("DELETE FROM gateway_sessions WHERE id = $1", first["id"])
    long_ago, later = [
        (await world.sql(f"SELECT now() {sign} interval '2 days' AS at"))[0]["at"] for sign in "-+"
    ]
    assert await world.store.purge_sso(long_ago) == 0
    assert await world.store.purge_sso(later) == 1
    assert len(await world.sql("SELECT FROM gateway_sso_sessions")) == 1
    assert await world.sql("SELECT FROM gateway_sso_logouts") == []
