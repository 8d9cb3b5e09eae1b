"""WebSockets as Whatomate's clients open them: nobody's at the handshake, somebody's by their first message."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from gateway.wire.deadlines import SWEEP_SECONDS
from tests.support.accounts import sign_in
from tests.support.browsing import signed_in
from tests.support.calls import ask, bearer, claims_of, get, granted, is_refusal, post, whatomate_token
from tests.support.peers import PATIENCE
from tests.support.sockets import (
    CLOSE,
    FAILED,
    PING,
    PONG,
    TEXT,
    Far,
    auth,
    closed_by,
    frame,
    knock,
    opened,
    rest_of,
    saw_only_the_end,
)

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World


async def ticket_of(gate: Gateway, token: str) -> str:
    return str((await granted(gate, get("/api/auth/ws-token", bearer(token))))["token"])


def of_sockets(gate: Gateway, name: str) -> float:
    return sum(
        sample.value
        for family in gate.metrics.registry.collect()
        for sample in family.samples
        if sample.name == name
    )


# -- what opens one -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"preset": "whatomate"}])
@pytest.mark.parametrize("kind", ["ticket", "access", "whatomate"])
async def test_a_socket_is_opened_by_nobody_and_belongs_to_whom_its_first_message_names(
    world: World, start: Start, upstream: Upstream, far: Far, kind: str, settings: dict[str, Any]
) -> None:
    gate = await start(world.url, **settings)
    pair = await sign_in(gate)
    token = {
        "ticket": await ticket_of(gate, pair["access_token"]),
        "access": pair["access_token"],
        "whatomate": whatomate_token(world.agent, world.home, seconds=30, sub="ws", email=None),
    }[kind]
    client = await opened(gate, "Origin: https://app.example.com")
    assert of_sockets(gate, "gateway_sockets_unproven") == 1
    said = frame(auth(token))
    await client.send(said)
    await far.has(said)
    assert (of_sockets(gate, "gateway_sockets_unproven"), of_sockets(gate, "gateway_sockets")) == (0, 1)
    more = frame(b'{"type":"ping"}')
    await client.send(more)
    await far.has(said + more)
    far.writer.write(frame(b"pong", masked=False))
    assert await asyncio.wait_for(client.reader.readexactly(6), PATIENCE) == frame(b"pong", masked=False)
    head = upstream.seen.partition(b"\r\n\r\n")[0].lower()
    for name in (b"x-user-", b"x-org-", b"x-auth-", b"authorization"):
        assert name not in head  # at the handshake it was nobody's
    assert b"origin: https://app.example.com" in head
    assert b"sec-websocket-extensions" not in head  # what is compressed could be read there alone
    await world.sql("UPDATE users SET is_active = false WHERE id = $1", world.agent)
    assert await closed_by(client) == (4401, "account disabled")


async def test_the_session_of_the_token_ends_its_socket(world: World, start: Start, far: Far) -> None:
    gate = await start(world.url)
    pair = await sign_in(gate)
    client = await opened(gate)
    said = frame(auth(await ticket_of(gate, pair["access_token"])))
    await client.send(said)
    await far.has(said)
    await granted(gate, post("/api/auth/logout", {"refresh_token": pair["refresh_token"]}))
    assert await closed_by(client) == (4401, "session ended")


async def test_an_access_token_in_a_tickets_place_is_followed_by_its_session(
    world: World, start: Start, far: Far
) -> None:
    """Whatomate never looks at the token again; one of no session ends with itself."""
    gate = await start(world.url, token={"access_seconds": 4})
    pair = await sign_in(gate)
    mine, mine_too = await opened(gate), await opened(gate, target=f"/ws?token={pair['access_token']}")
    await mine.send(frame(auth(pair["access_token"])))
    theirs = await opened(gate)
    await theirs.send(frame(auth(whatomate_token(world.agent, world.home, seconds=1))))
    assert await closed_by(theirs) == (4401, "expired")
    while time.time() <= claims_of(pair["access_token"])["exp"]:
        await asyncio.sleep(0.05)
    for client in (mine, mine_too):
        far.received = b""
        await client.send(frame(b"x", PING))
        await far.has(frame(b"x", PING))
        client.writer.close()


async def test_a_ticket_in_a_message_is_used_up(world: World, start: Start, far: Far) -> None:
    gate, other = await start(world.url), await start(world.url)
    ticket = await ticket_of(gate, (await sign_in(gate))["access_token"])
    first = await opened(gate)
    await first.send(frame(auth(ticket)))
    await far.has(frame(auth(ticket)))
    for again in (gate, other):
        client = await opened(again)
        await client.send(frame(auth(ticket)))
        assert await closed_by(client) == FAILED
        is_refusal(await full(again, f"/ws?token={ticket}"), 401)
    first.writer.close()


async def test_clients_of_before_bring_their_access_token_in_the_query(
    world: World, start: Start, upstream: Upstream, far: Far
) -> None:
    gate = await start(world.url)
    token = (await sign_in(gate))["access_token"]
    client = await opened(gate, target=f"/ws?token={token}")
    assert f"X-User-ID: {world.agent}\r\nX-User" in upstream.seen.decode()
    assert f"/ws?token={token} HTTP/1.1" in upstream.seen.decode()
    said = frame(b'{"type":"set_contact","payload":{"contact_id":"1"}}')
    await client.send(said)  # no auth message, and none is due
    await far.has(said)
    await world.sql("UPDATE users SET is_active = false WHERE id = $1", world.agent)
    assert await closed_by(client) == (4401, "account disabled")
    for query in ("nonsense", "", whatomate_token(world.agent, world.home, seconds=-5), token):
        is_refusal((await full(gate, f"/ws?token={query}")), 401)
    is_refusal(await ask(gate, get(f"/ws?token={token}")), 401)  # no handshake: no token in a query


async def full(gate: Gateway, target: str, *lines: str) -> Any:
    client, answer = await knock(gate, *lines, target=target)
    answer.body = (
        await client.closed()
        if answer.status == 101
        else await client.reader.readexactly(int(answer.one("Content-Length") or 0))
    )
    client.writer.close()
    return answer


async def test_where_the_handshake_has_to_bring_a_credential_it_has_to(
    world: World, start: Start, upstream: Upstream, far: Far
) -> None:
    for settings in ({}, {"preset": "whatomate"}):
        gate = await start(world.url, ws={"auth": "required"}, **settings)
        is_refusal(await full(gate, "/ws"), 401, "Missing authorization")
        assert upstream.seen == b""
    ticket = await ticket_of(gate, (await sign_in(gate))["access_token"])
    client = await opened(gate, target=f"/ws?token={ticket}")
    await client.send(frame(b"anything"))
    await far.has(frame(b"anything"))
    client.writer.close()


async def test_what_is_no_handshake_needs_a_credential_as_ever(
    world: World, start: Start, upstream: Upstream
) -> None:
    gate = await start(world.url)
    is_refusal(await ask(gate, get("/ws")), 401)
    is_refusal(await ask(gate, get("/ws", "Upgrade: websocket", "Sec-WebSocket-Key: x")), 401)
    is_refusal(await full(gate, "/ws/x"), 401)
    is_refusal(await full(gate, "/api/ws"), 401)
    assert upstream.seen == b""


async def test_a_cookie_that_is_good_no_more_is_as_good_as_none(world: World, start: Start, far: Far) -> None:
    """It comes by itself; Whatomate does not look at it there."""
    gate = await start(world.url, cookies=True)
    jar = await signed_in(gate)
    cookie = f"Cookie: whm_access={jar.values['whm_access']}"
    client = await opened(gate, cookie, "Origin: http://e")
    assert of_sockets(gate, "gateway_sockets") == 1
    client.writer.close()
    is_refusal(await full(gate, "/ws", cookie, "Origin: https://evil.example"), 403)
    stale = f"Cookie: whm_access={whatomate_token(world.agent, world.home, seconds=-5)}"
    client = await opened(gate, stale, "Origin: http://e")
    await client.send(frame(b"I was somebody"))
    assert await closed_by(client) == FAILED
    for header in (bearer("junk"), "X-API-Key: whm_0123456789abcdef0123456789abcdef"):
        is_refusal(await full(gate, "/ws", header), 401)


# -- how it arrives -----------------------------------------------------------------------------------------------


async def test_the_message_may_come_in_any_pieces_and_goes_on_as_it_came(
    world: World, start: Start, far: Far
) -> None:
    gate = await start(world.url)
    text = auth(world.token(world.agent))
    said = (
        frame(b"early", PING)
        + frame(text[:7], TEXT, final=False)
        + frame(b"between", PONG)
        + frame(b"", 0, final=False)
        + frame(text[7:], 0)
        + frame(b"behind it")
    )
    client = await opened(gate)
    for at in range(len(said)):
        client.writer.write(said[at : at + 1])
        if at % 16 == 0:
            await asyncio.sleep(0)
            await client.writer.drain()
    await far.has(said)
    client.writer.close()


async def test_control_frames_ahead_of_it_do_not_wait(world: World, start: Start, far: Far) -> None:
    gate = await start(world.url)
    client = await opened(gate)
    await client.send(frame(b"hello", PONG) + frame(auth("x"), final=False)[:20])
    await far.has(frame(b"hello", PONG))
    await client.send(frame(auth("x"), final=False)[20:] + frame(b"", 0))
    assert await closed_by(client) == FAILED


async def test_a_client_that_closes_before_is_answered_by_the_upstream(
    world: World, start: Start, far: Far
) -> None:
    gate = await start(world.url)
    client = await opened(gate)
    bye = frame((1000).to_bytes(2, "big"), CLOSE)
    await client.send(bye + frame(auth(world.token(world.agent))))
    await far.has(bye)  # and nothing behind it
    far.writer.write(b"\x88\x02\x03\xe8")
    far.writer.close()
    assert await rest_of(client) == b"\x88\x02\x03\xe8"


async def test_what_the_upstream_says_before_reaches_the_client(
    world: World, start: Start, upstream: Upstream
) -> None:
    far = Far(frame(b"who are you?", masked=False))
    upstream.script = far.script
    gate = await start(world.url)
    client = await opened(gate)
    assert await asyncio.wait_for(client.reader.readexactly(14), PATIENCE) == frame(
        b"who are you?", masked=False
    )
    far.writer.close()
    assert await rest_of(client) == b""


async def test_a_half_close_before_the_message_leaves_nothing_behind(
    world: World, start: Start, far: Far
) -> None:
    gate = await start(world.url)
    client = await opened(gate)
    await client.send(frame(auth(world.token(world.agent)))[:50])
    client.writer.write_eof()
    await asyncio.wait_for(far.ended.wait(), PATIENCE)
    assert far.received == b""
    far.writer.close()
    assert await rest_of(client) == b""
    async with asyncio.timeout(PATIENCE):
        while of_sockets(gate, "gateway_sockets_unproven") or of_sockets(gate, "gateway_tunnels"):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("before", [b"", frame(auth("x"))[:9]])
async def test_a_client_that_vanishes_before_the_message_is_forgotten(
    world: World, start: Start, far: Far, before: bytes
) -> None:
    gate = await start(world.url)
    client = await opened(gate)
    await client.send(before)
    client.writer.transport.abort()
    await asyncio.wait_for(far.ended.wait(), PATIENCE)
    async with asyncio.timeout(PATIENCE):
        while of_sockets(gate, "gateway_sockets_unproven") or of_sockets(gate, "gateway_tunnels"):
            await asyncio.sleep(0.01)


async def test_what_follows_while_the_verdict_is_out_waits_in_the_clients_system(
    world: World, start: Start, far: Far
) -> None:
    gate = await start(world.url)
    client = await opened(gate)
    said = frame(auth(world.token(world.agent))) + frame(bytes(1 << 20), 0x2) * 4
    sending = asyncio.create_task(client.send(said))
    await far.has(said)
    await sending
    client.writer.close()


async def test_the_end_of_the_gateway_is_told_to_who_has_said_nothing_yet(
    world: World, start: Start, far: Far
) -> None:
    gate = await start(world.url, timeout={"drain_seconds": 0.3})
    client = await opened(gate)
    await client.send(frame(auth(world.token(world.agent)))[:30])
    stopping = asyncio.create_task(gate.stop())
    assert (await closed_by(client))[0] == 1001
    await stopping
    await saw_only_the_end(far)


# -- deadlines, limits, outages -----------------------------------------------------------------------------------


async def test_a_socket_without_a_message_in_time_is_closed(world: World, start: Start, far: Far) -> None:
    gate = await start(world.url, ws={"auth_seconds": 0.5})
    began = time.monotonic()
    client = await opened(gate)
    await client.send(frame(b"I am here", PING) + frame(auth(world.token(world.agent)))[:40])
    assert await closed_by(client) == (1008, "not authenticated in time")
    assert time.monotonic() - began >= 0.5 - SWEEP_SECONDS, "a deadline may be as early as that"
    await asyncio.wait_for(far.ended.wait(), PATIENCE)
    assert far.received.startswith(frame(b"I am here", PING) + b"\x88\x82")
    assert of_sockets(gate, "gateway_sockets_refused_total") == 1


async def test_an_authenticated_handshake_owes_no_message(world: World, start: Start, far: Far) -> None:
    gate = await start(world.url, ws={"auth_seconds": 0.2})
    client = await opened(gate, bearer(world.token(world.agent)))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.reader.read(1), 0.8)
    client.writer.close()


async def test_unproven_sockets_are_bounded_in_number(world: World, start: Start, far: Far) -> None:
    gate = await start(world.url, ws={"unproven": 2})
    one, two = await opened(gate), await opened(gate)
    is_refusal(await full(gate, "/ws"), 503)
    client = await opened(gate, bearer(world.token(world.agent)))  # somebody's is not counted
    await one.send(frame(auth(world.token(world.agent))))
    async with asyncio.timeout(PATIENCE):
        while of_sockets(gate, "gateway_sockets") < 2:
            await asyncio.sleep(0.01)
    three = await opened(gate)
    is_refusal(await full(gate, "/ws"), 503)
    for each in (one, two, three, client):
        each.writer.close()


async def test_while_the_store_is_away_a_socket_is_told_to_try_again(
    start: Start, world: World, far: Far
) -> None:
    nowhere = await start()
    ticket = world.tokens.issue_ticket(user_id=world.agent, organization_id=world.home, now=time.time())
    for token in (ticket, world.token(world.agent)):
        far.received = b""
        far.ended.clear()
        client = await opened(nowhere)
        await client.send(frame(auth(token)))
        assert await closed_by(client) == (1013, "try again later")
        await saw_only_the_end(far)
    client = await opened(await start(world.url))  # and the ticket is as good as new
    far.received = b""
    await client.send(frame(auth(ticket)))
    await far.has(frame(auth(ticket)))
    client.writer.close()


# -- routes -------------------------------------------------------------------------------------------------------

ROUTES = """
routes:
  - {name: chat, auth: required, require: "chat:write", socket_auth: message, match: {path: /chat}}
  - {name: open, auth: optional, socket_auth: message, match: {path: /open}}
  - {name: tried, auth: required, socket_auth: message, shadow: true, match: {path: /tried}}
  - {name: plain, auth: required, match: {path: /plain}}
"""


@pytest.fixture
async def routed(world: World, start: Start, far: Far, tmp_path: Any) -> Gateway:
    (tmp_path / "routes.yaml").write_text(ROUTES)
    return await start(world.url, routes=tmp_path / "routes.yaml")


async def test_a_route_asks_of_the_message_what_it_asks_of_a_handshake(
    world: World, routed: Gateway, far: Far
) -> None:
    client = await opened(routed, target="/chat")
    await client.send(frame(auth(world.token(world.agent))))
    await far.has(frame(auth(world.token(world.agent))))
    client.writer.close()
    await world.sql("DELETE FROM role_permissions")
    await world.sql("UPDATE users SET full_name = 'Somebody' WHERE id = $1", world.agent)
    async with asyncio.timeout(PATIENCE):
        while (await ask(routed, get("/chat", bearer(world.token(world.agent))))).status != 403:
            await asyncio.sleep(0.05)
    client = await opened(routed, target="/chat")
    await client.send(frame(auth(world.token(world.agent))))
    assert await closed_by(client) == (1008, "permission denied")
    is_refusal(await full(routed, "/plain"), 401)


async def test_where_nobody_is_welcome_too_a_token_that_is_brought_must_be_good(
    world: World, routed: Gateway, far: Far
) -> None:
    client = await opened(routed, target="/open")
    await client.send(frame(b"I am nobody"))
    await far.has(frame(b"I am nobody"))
    client.writer.close()
    client = await opened(routed, target="/open")
    await client.send(frame(auth("bad")))
    assert await closed_by(client) == FAILED


async def test_a_route_in_shadow_closes_nothing(world: World, routed: Gateway, far: Far) -> None:
    for said in (frame(auth("bad")), frame(b"what?"), frame(b"x" * 20_000), frame(b"bin", 0x2)):
        far.received = b""
        client = await opened(routed, target="/tried")
        await client.send(said)
        await far.has(said)
        client.writer.close()
    shadowed = of_sockets(routed, "gateway_shadow_denials_total")
    async with asyncio.timeout(PATIENCE):
        while (shadowed := of_sockets(routed, "gateway_shadow_denials_total")) < 4:
            await asyncio.sleep(0.01)
    assert shadowed == 4


# -- the record ---------------------------------------------------------------------------------------------------


async def test_the_record_says_whose_it_was_and_never_by_what(
    world: World, start: Start, far: Far, capfd: pytest.CaptureFixture[str]
) -> None:
    gate = await start(world.url, log={"access": True, "query": "values", "level": "debug"})
    pair = await sign_in(gate)
    good, late = world.token(world.agent), pair["refresh_token"]
    out = ""

    async def recorded(number: int) -> list[dict[str, Any]]:
        nonlocal out
        lines: list[dict[str, Any]] = []
        async with asyncio.timeout(PATIENCE):
            while len(lines) < number:
                await asyncio.sleep(0.01)
                out += capfd.readouterr().out
                lines = [json.loads(line) for line in out.splitlines() if '"path":"/ws"' in line]
        return lines

    client = await opened(gate)
    await client.send(frame(auth(good)))
    await far.has(frame(auth(good)))
    client.writer.close()
    await recorded(1)
    client = await opened(gate)
    await client.send(frame(auth(late)))
    await closed_by(client)
    await recorded(2)
    client = await opened(gate, target=f"/ws?token={pair['access_token']}")
    client.writer.close()
    mine, refused, query = await recorded(3)
    assert (mine["user_id"], mine["credential"]) == (str(world.agent), "ws")
    assert "user_id" not in refused
    assert (refused["reason"], refused["credential"]) == ("wrong_kind", "ws")
    assert (query["user_id"], query["query"]) == (str(world.agent), "token=***")
    for token in (good, late, pair["access_token"]):
        assert token not in out
