"""A ticket that somebody saw: in a log, in a history, on a screen."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.hazmat.primitives import serialization

from authcore.crypto.pem import generate_pem, parse_pem
from tests.support.calls import ask, bearer, get, granted, is_refusal, post, whatomate_token
from tests.support.peers import Client, read_head
from tests.support.sockets import ASK, echoing, status_of_ticket
from tests.support.worlds import PASSWORD, SECRET

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.app import Gateway
    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World


async def ticket_of(gateway: Gateway, token: str) -> str:
    return str((await granted(gateway, get("/api/auth/ws-token", bearer(token))))["token"])


async def test_a_ticket_opens_one_socket_on_whichever_gateway(
    world: World, start: Start, upstream: Upstream
) -> None:
    upstream.script = echoing()
    one, other = await start(world.url), await start(world.url)
    ticket = await ticket_of(one, world.token(world.agent))
    assert await status_of_ticket(other, ticket) == 101
    for gateway in (one, other, one, other):
        assert await status_of_ticket(gateway, ticket) == 401
    assert upstream.seen.count(b"GET /ws") == 1


async def test_whatever_else_a_query_holds_is_no_error_of_ours(
    world: World, start: Start, upstream: Upstream
) -> None:
    upstream.script = echoing()
    gateway = await start(world.url)
    for query, status in (("x=%ff", 101), ("x=%C3%A9&y", 101), ("token=%ff", 401)):
        async with Client(gateway.address) as client:
            await client.send(ASK.replace(b"/chat", f"/ws?{query}".encode()))
            assert (await read_head(client.reader)).status == status
    ticket = await ticket_of(gateway, world.token(world.agent))
    assert await status_of_ticket(gateway, f"{ticket}&name=%C3%A9") == 101


async def test_of_any_number_at_once_one_gets_in(world: World, start: Start, upstream: Upstream) -> None:
    upstream.script = echoing()
    gateways = [await start(world.url), await start(world.url)]
    for _ in range(5):
        ticket = await ticket_of(gateways[0], world.token(world.agent))
        found = await asyncio.gather(*(status_of_ticket(gateways[n % 2], ticket) for n in range(12)))
        assert sorted(found) == [101] + [401] * 11


async def test_whatomates_own_tickets_are_good_once_too(
    world: World, start: Start, upstream: Upstream
) -> None:
    upstream.script = echoing()
    gate = await start(world.url)
    ticket = whatomate_token(world.agent, world.home, seconds=30, sub="ws", email=None, is_super_admin=None)
    assert [await status_of_ticket(gate, ticket), await status_of_ticket(gate, ticket)] == [101, 401]


async def test_another_signature_over_the_same_ticket_is_the_same_ticket(
    world: World, start: Start, upstream: Upstream, tmp_path: Path
) -> None:
    """ECDSA makes as many as one likes: whoever can sign could, and so could an upstream that is given the key."""
    upstream.script = echoing()
    pem = generate_pem("ES256")
    (tmp_path / "a.pem").write_bytes(pem)
    gate = await start(world.url, jwt={"keys_dir": tmp_path})
    claims = jwt.decode(
        world.tokens.issue_ticket(user_id=world.agent, organization_id=world.home, now=time.time()),
        SECRET,
        algorithms=["HS256"],
    )
    key: Any = serialization.load_pem_private_key(pem, None)
    tickets = [jwt.encode(claims, key, "ES256", {"kid": parse_pem(pem).kid}) for _ in range(3)]
    assert len(set(tickets)) == 3
    assert [await status_of_ticket(gate, one) for one in tickets] == [101, 401, 401]


async def test_an_attempt_that_is_refused_uses_nothing_up(
    world: World, start: Start, upstream: Upstream
) -> None:
    """Else whoever sees a ticket could spoil it with a request that was never going to pass."""
    upstream.script = echoing()
    gate = await start(world.url)
    ticket = await ticket_of(gate, world.token(world.agent))
    for path in (
        f"/api/contacts?token={ticket}",
        f"/ws/x?token={ticket}",
        f"/ws?token={ticket}&token={ticket}",
    ):
        assert (await ask(gate, get(path))).status in {400, 401}
    is_refusal(await ask(gate, get("/api/contacts", bearer(ticket))), 401)
    is_refusal(await ask(gate, get(f"/ws?token={ticket}", bearer(world.token(world.agent)))), 400)
    await world.sql("UPDATE users SET is_active = false WHERE id = $1", world.agent)
    assert await status_of_ticket(gate, ticket) == 401
    await world.sql("UPDATE users SET is_active = true WHERE id = $1", world.agent)
    assert await status_of_ticket(gate, ticket) == 101


async def test_a_ticket_dies_with_its_session(world: World, start: Start, upstream: Upstream) -> None:
    gate = await start(world.url)
    tokens = await granted(
        gate, post("/api/auth/login", {"email": "agent@example.com", "password": PASSWORD})
    )
    ticket = await ticket_of(gate, tokens["access_token"])
    await granted(gate, post("/api/auth/logout", {"refresh_token": tokens["refresh_token"]}))
    assert await status_of_ticket(gate, ticket) == 401
    assert upstream.seen == b""


async def test_a_ticket_ends_in_time(world: World, start: Start, upstream: Upstream) -> None:
    gate = await start(world.url)
    late = world.tokens.issue_ticket(user_id=world.agent, organization_id=world.home, now=time.time() - 30)
    assert await status_of_ticket(gate, late) == 401
    assert upstream.seen == b""


async def test_without_the_store_no_ticket_passes_and_none_is_refused(start: Start, world: World) -> None:
    """Its use cannot be looked up: 503, and it is good when the store is back."""
    nowhere = await start()
    ticket = world.tokens.issue_ticket(user_id=world.agent, organization_id=world.home, now=time.time())
    assert await status_of_ticket(nowhere, ticket) == 503
