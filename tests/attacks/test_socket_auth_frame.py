"""A first message that one reads in one way and another in another, or that brings what opens no socket."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.accounts import sign_in
from tests.support.calls import ask, bearer, get, granted, is_refusal, post, whatomate_token
from tests.support.peers import PATIENCE
from tests.support.sockets import BINARY, FAILED, PING, Far, auth, closed_by, frame, opened, saw_only_the_end

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World


async def refused(gate: Gateway, far: Far, said: bytes, *lines: str) -> tuple[int, str]:
    """Send `said` on a socket; return how it is closed. The upstream never hears of it."""
    far.received = b""
    far.ended.clear()
    client = await opened(gate, *lines)
    await client.send(said + frame(b"and then this"))
    end = await closed_by(client)
    await saw_only_the_end(far)
    return end


async def test_two_tokens_in_one_message_are_none(world: World, start: Start, far: Far) -> None:
    gate = await start(world.url)
    good, bad = world.token(world.agent), (await sign_in(gate))["refresh_token"]
    for one, two in ((good, bad), (bad, good)):
        texts = [
            f'{{"type":"auth","payload":{{"token":"{one}","token":"{two}"}}}}',
            f'{{"type":"auth","payload":{{"token":"{one}","Token":"{two}"}}}}',
            f'{{"type":"auth","payload":{{"token":"{one}","to\u212aen":"{two}"}}}}',
            f'{{"type":"auth","payload":{{"token":"{one}"}},"payload":{{"token":"{two}"}}}}',
            f'{{"type":"auth","payload":{{"token":"{one}"}},"PAYLOAD":{{"token":"{two}"}}}}',
            f'{{"type":"auth","payload":{{"token":"{one}"}}}}{{"type":"auth","payload":{{"token":"{two}"}}}}',
            f'\ufeff{{"type":"auth","payload":{{"token":"{one}"}}}}',
            f'{{"Type":"auth","payload":{{"token":"{one}"}}}}',
        ]
        for text in texts:
            assert await refused(gate, far, frame(text.encode())) == FAILED


async def test_a_message_that_the_upstream_alone_could_read_is_refused(
    world: World, start: Start, far: Far
) -> None:
    gate = await start(world.url)
    said = auth(world.token(world.agent))
    assert (await refused(gate, far, frame(said, flags=0x40)))[0] == 1002
    assert (await refused(gate, far, frame(said, masked=False)))[0] == 1002
    assert (await refused(gate, far, frame(said, BINARY)))[0] == 1003
    assert (await refused(gate, far, frame(said[:-2] + b'\xff"}}')))[0] == 1007
    assert (await refused(gate, far, frame(said + b" " * 16_384)))[0] == 1009
    assert (await refused(gate, far, frame(said[:9], final=False) + frame(said)))[0] == 1002


@pytest.mark.parametrize("before", [b"", b"a", json.dumps({"type": "ping"}).encode(), b"null", b"[]"])
async def test_without_a_token_nothing_goes_on(world: World, start: Start, far: Far, before: bytes) -> None:
    gate = await start(world.url)
    said = frame(before) + frame(auth(world.token(world.agent)))  # it has to be the first
    assert await refused(gate, far, said) == FAILED


async def test_a_token_that_opens_no_socket_closes_this_one(world: World, start: Start, far: Far) -> None:
    gate = await start(world.url)
    pair, ended = await sign_in(gate), await sign_in(gate, "both")
    ticket = (await granted(gate, get("/api/auth/ws-token", bearer(ended["access_token"]))))["token"]
    await granted(gate, post("/api/auth/logout", {"refresh_token": ended["refresh_token"]}))
    now = time.time()
    late = world.tokens.issue_ticket(user_id=world.agent, organization_id=world.home, now=now - 60)
    stranger = world.tokens.issue_ticket(user_id=world.agent, organization_id=world.other, now=now)
    invitation = world.tokens.sign({"token_use": "invitation", "org": str(world.home), "iss": "whatomate"})
    for token, end in {
        pair["refresh_token"]: FAILED,
        whatomate_token(world.agent, world.home, jti="x"): FAILED,
        invitation: FAILED,
        world.api_key: FAILED,
        pair["access_token"][:-2] + "xx": FAILED,
        "x": FAILED,
        late: (4401, "expired"),
        ended["access_token"]: (4401, "session ended"),
        ticket: (4401, "session ended"),
        stranger: (4401, "account or membership is gone"),
    }.items():
        assert await refused(gate, far, frame(auth(token))) == end
    await world.sql("UPDATE users SET is_active = false WHERE id = $1", world.agent)
    assert await refused(gate, far, frame(auth(world.token(world.agent)))) == (4401, "account disabled")


async def test_a_socket_of_one_user_does_not_go_on_as_anothers(world: World, start: Start, far: Far) -> None:
    """An upstream that believes the message alone would serve somebody whom nobody watches over."""
    gate = await start(world.url)
    mine, theirs = bearer(world.token(world.agent)), world.token(world.admin)
    assert await refused(gate, far, frame(auth(theirs)), mine) == FAILED
    elsewhere = world.token(world.both, world.other)
    assert await refused(gate, far, frame(auth(elsewhere)), bearer(world.token(world.both))) == FAILED
    ended = await sign_in(gate)
    await granted(gate, post("/api/auth/logout", {"refresh_token": ended["refresh_token"]}))
    assert (await refused(gate, far, frame(auth(ended["access_token"])), mine))[0] == 4401
    twice = f'{{"type":"auth","payload":{{"token":"{theirs}","token":"{theirs}"}}}}'
    assert await refused(gate, far, frame(twice.encode()), mine) == FAILED
    assert (await refused(gate, far, frame(auth(theirs), flags=0x40), mine))[0] == 1002

    far.received = b""
    own = await sign_in(gate)
    client = await opened(gate, mine)
    await client.send(frame(auth(own["access_token"])))
    await far.has(frame(auth(own["access_token"])))
    await granted(gate, post("/api/auth/logout", {"refresh_token": own["refresh_token"]}))
    assert await closed_by(client) == (4401, "session ended")  # what the upstream was told last counts, too


async def test_a_required_handshake_hides_no_other_caller_either(
    world: World, start: Start, far: Far
) -> None:
    gate = await start(world.url, ws={"auth": "required"})
    mine = bearer(world.token(world.agent))
    assert await refused(gate, far, frame(auth(world.token(world.admin))), mine) == FAILED


async def test_a_revocation_while_the_verdict_is_out_is_not_missed(
    world: World, start: Start, far: Far
) -> None:
    gate = await start(world.url)
    blocker = asyncio.create_task(world.sql("SELECT pg_sleep(0)"))
    await blocker
    client = await opened(gate)
    token = (await sign_in(gate))["access_token"]
    said = frame(auth(token))
    await client.send(said[:-1])
    await world.sql("UPDATE users SET is_active = false WHERE id = $1", world.agent)
    await client.send(said[-1:])
    assert (await closed_by(client))[0] == 4401


async def test_a_described_handshake_is_not_opened_by_nobody(
    world: World, start: Start, upstream: Upstream
) -> None:
    """A question whether the handshake may pass has no first message."""
    gate = await start(world.url, decision={"path": "/decide"}, trusted_proxies=("127.0.0.0/8",))
    lines = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13")
    asked = ("X-Original-Method: GET", "X-Original-URI: /ws", *lines)
    is_refusal(await ask(gate, get("/decide/nginx", *asked)), 401)
    assert upstream.seen == b""


async def test_pings_of_nobody_are_all_that_the_upstream_hears(world: World, start: Start, far: Far) -> None:
    gate = await start(world.url)
    client = await opened(gate)
    await client.send(frame(b"x" * 125, PING) * 2000 + frame(auth("bad")))
    assert await closed_by(client) == FAILED
    await asyncio.wait_for(far.ended.wait(), PATIENCE)
    assert far.received.startswith(frame(b"x" * 125, PING) * 2000 + b"\x88")
    assert b"bad" not in far.received
