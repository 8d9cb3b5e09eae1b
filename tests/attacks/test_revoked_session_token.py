"""A session was ended: nothing that it issued is good any more, wherever it is presented and whatever remembers it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any
from uuid import UUID

from tests.support.calls import ask, bearer, claims_of, get, granted, is_refusal, post, request
from tests.support.peers import Client
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World


REFUSED = "Invalid or expired token"


async def sign_in(gate: Gateway, name: str = "both") -> dict[str, Any]:
    return await granted(
        gate, post("/api/auth/login", {"email": f"{name}@example.com", "password": PASSWORD})
    )


async def test_every_verdict_that_was_remembered_falls(
    gate: Gateway, world: World, upstream: Upstream
) -> None:
    """In each organization, through each kept connection, for each token of the session."""
    pair = await sign_in(gate)
    again = await granted(gate, post("/api/auth/refresh", {"refresh_token": pair["refresh_token"]}))
    raws = [
        get("/api/contacts", bearer(one["access_token"]), *lines)
        for one in (pair, again)
        for lines in ((), (f"X-Organization-ID: {world.other}",), (f"X-Organization-ID: {world.home}",))
    ]
    async with Client(gate.address) as kept:
        for raw in raws:
            assert (await kept.exchange(raw)).status == 200
        await granted(gate, post("/api/auth/logout", {"refresh_token": again["refresh_token"]}))
        seen = len(upstream.requests)
        for raw in raws:
            is_refusal(await kept.exchange(raw), 401, REFUSED)
        assert len(upstream.requests) == seen


async def test_hosted_endpoints_refuse_a_token_of_a_revoked_session_too(gate: Gateway, world: World) -> None:
    pair = await sign_in(gate)
    await granted(gate, post("/api/auth/logout", {"refresh_token": pair["refresh_token"]}))
    by = bearer(pair["access_token"])
    for raw in (
        get("/api/auth/sessions", by),
        request("POST", "/api/auth/logout-all", by),
        request("DELETE", f"/api/auth/sessions/{claims_of(pair['access_token'])['sid']}", by),
        post("/api/auth/switch-org", {"organization_id": str(world.other)}, by),
    ):
        is_refusal(await ask(gate, raw), 401, REFUSED)


async def test_a_ticket_of_it_opens_no_socket(gate: Gateway, world: World) -> None:
    pair = await sign_in(gate)
    claims = claims_of(pair["access_token"])
    ticket = world.tokens.issue_ticket(
        user_id=world.both, organization_id=world.home, now=time.time(), session_id=UUID(claims["sid"])
    )
    await granted(gate, post("/api/auth/logout", {"refresh_token": pair["refresh_token"]}))
    handshake = (
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    is_refusal(await ask(gate, get(f"/ws?token={ticket}", *handshake)), 401, REFUSED)


async def test_a_load_that_began_before_the_end_lets_nobody_in_after_it(
    gate: Gateway, world: World, start: Start
) -> None:
    """The row is read, the session is ended, the answer arrives: it must not be remembered."""
    for _ in range(10):
        pair = await sign_in(gate)
        raw = get("/api/contacts", bearer(pair["access_token"]))
        out = post("/api/auth/logout", {"refresh_token": pair["refresh_token"]})
        await asyncio.gather(ask(gate, raw), ask(gate, raw), ask(gate, out), ask(gate, raw))
        is_refusal(await ask(gate, raw), 401, REFUSED)


async def test_a_session_ended_while_the_replica_heard_nothing_is_refused_when_it_hears_again(
    gate: Gateway, world: World, start: Start
) -> None:
    replica = await start(world.url)
    pair = await sign_in(gate)
    raw = get("/api/contacts", bearer(pair["access_token"]))
    assert (await ask(replica, raw)).status == 200
    await world.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'whatomate-gateway changes' AND datname = current_database()"
    )
    await world.sql("UPDATE gateway_sessions SET revoked_at = now()")  # by a hand of which nobody is told
    async with asyncio.timeout(20):
        while (await ask(replica, raw)).status == 200:
            await asyncio.sleep(0.02)
    is_refusal(await ask(replica, raw), 401, REFUSED)
