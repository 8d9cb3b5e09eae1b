"""A socket that somebody would keep though what let them in has ended."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

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
from tests.support.issuers import two_keys
from tests.support.peers import PATIENCE, Client, read_head
from tests.support.sockets import ASK, SWITCH, opened

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World


CLOSED = (4401).to_bytes(2, "big")


class Far:
    """An upstream that answers the handshake when it is told to, and keeps what it received behind it."""

    def __init__(self) -> None:
        self.asked, self.answer = asyncio.Event(), asyncio.Event()
        self.received = b""

    async def script(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        self.asked.set()
        await self.answer.wait()
        writer.write(SWITCH)
        while piece := await reader.read(65536):
            self.received += piece


@pytest.fixture
def far(upstream: Upstream) -> Far:
    one = Far()
    one.answer.set()
    upstream.script = one.script
    return one


async def knock(client: Client, token: str) -> None:
    ticket = f"Host: e\r\n{bearer(token)}\r\n".encode()
    await client.send(ASK.replace(b"/chat", b"/ws").replace(b"Host: e\r\n", ticket))


async def is_closed_with_4401(client: Client) -> None:
    head = await asyncio.wait_for(client.reader.readexactly(4), PATIENCE)
    assert head[0] == 0x88
    assert head[2:4] == CLOSED
    await asyncio.wait_for(client.reader.readexactly(head[1] - 2), PATIENCE)


async def test_what_ends_between_the_verdict_and_the_handshake_is_not_missed(
    world: World, start: Start, far: Far
) -> None:
    far.answer.clear()
    gate = await start(world.url)
    async with Client(gate.address) as client:
        await knock(client, world.token(world.agent))
        await asyncio.wait_for(far.asked.wait(), PATIENCE)
        await world.sql("UPDATE users SET is_active = false WHERE id = $1", world.agent)
        await asyncio.sleep(0.3)  # heard by now, when no socket was open
        far.answer.set()
        assert (await read_head(client.reader)).status == 101
        await is_closed_with_4401(client)


async def test_a_stolen_refresh_token_costs_the_thief_his_socket(
    world: World, start: Start, far: Far
) -> None:
    gate = await start(world.url, token={"grace_seconds": 0, "reuse": "strict"})
    stolen = await sign_in(gate)
    async with Client(gate.address) as thief:
        await knock(thief, stolen["access_token"])
        assert (await read_head(thief.reader)).status == 101
        once = {"refresh_token": stolen["refresh_token"]}
        await granted(gate, post("/api/auth/refresh", once))
        await asyncio.sleep(0.05)
        assert (await ask(gate, post("/api/auth/refresh", once))).status == 401
        await is_closed_with_4401(thief)


async def test_a_session_ended_on_one_gateway_ends_sockets_on_all(
    world: World, start: Start, far: Far
) -> None:
    gateways = [await start(world.url) for _ in range(3)]
    token = (await sign_in(gateways[0]))["access_token"]
    clients = []
    for gateway in gateways:
        client = await Client(gateway.address).__aenter__()
        await knock(client, token)
        assert (await read_head(client.reader)).status == 101
        clients.append(client)
    await granted(gateways[0], request("POST", "/api/auth/logout-all", bearer(token)))
    for client in clients:
        await is_closed_with_4401(client)
        client.writer.close()
    is_refusal(await ask(gateways[2], get("/api/x", bearer(token))), 401)


@pytest.mark.parametrize("by", ["header", "query", "ticket"])
async def test_a_socket_by_a_token_without_a_session_ends_with_all_sessions_of_its_user(
    world: World, start: Start, far: Far, by: str
) -> None:
    gate = await start(world.url)
    token = whatomate_token(world.agent, world.home, iat=int(time.time()) - 60)
    target, lines = "/ws", [bearer(token)] if by == "header" else []
    if by != "header":
        ticket = token
        if by == "ticket":
            ticket = (await granted(gate, get("/api/auth/ws-token", bearer(token))))["token"]
            await is_of_a_second_before(claims_of(ticket)["iat"])
        target = f"/ws?token={ticket}"
    client = await opened(gate, *lines, target=target)
    mine = bearer((await sign_in(gate))["access_token"])
    await granted(gate, request("POST", "/api/auth/logout-all", mine))
    await is_closed_with_4401(client)
    client.writer.close()
    is_refusal(await ask(gate, get("/api/x", bearer(token))), 401)


async def is_of_a_second_before(issued_at: float) -> None:
    """Wait until the second is over in which a token was issued: a sign-out of the same second does not end it."""
    while time.time() < issued_at + 1:
        await asyncio.sleep(0.05)


async def test_whoever_talks_on_is_heard_by_nobody(world: World, start: Start, far: Far) -> None:
    gate = await start(world.url)
    async with Client(gate.address) as client:
        await knock(client, world.token(world.agent))
        assert (await read_head(client.reader)).status == 101
        await client.send(b"\x81\x82abcd\x00\x00")
        await world.sql("UPDATE users SET is_active = false WHERE id = $1", world.agent)
        await is_closed_with_4401(client)
        for _ in range(20):
            try:
                await client.send(b"\x81\x86abcdsecret")
            except ConnectionError:
                break
            await asyncio.sleep(0.01)
        await client.closed()
    assert far.received.startswith(b"\x81\x82abcd\x00\x00\x88")
    assert b"secret" not in far.received


async def test_a_frame_that_is_spun_out_gains_nothing(world: World, start: Start, far: Far) -> None:
    """A client in the midst of a frame is told at once, and its frame is cut off."""
    gate = await start(world.url)
    async with Client(gate.address) as client:
        await knock(client, world.token(world.agent))
        assert (await read_head(client.reader)).status == 101
        await client.send(b"\x81\x82abcd\x00\x00")  # the first message is read, and has to be small
        await client.send(b"\x82\xff" + (1 << 40).to_bytes(8, "big") + b"abcd")
        await world.sql("UPDATE users SET is_active = false WHERE id = $1", world.agent)
        await is_closed_with_4401(client)
        with suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE):
                while not client.reader.at_eof():
                    await client.send(b"x" * 100)
                    await asyncio.sleep(0.02)
        assert len(far.received) < 1 << 20


async def test_a_revoked_key_ends_what_its_tokens_opened(
    world: World, start: Start, far: Far, tmp_path: Path
) -> None:
    kids = two_keys(tmp_path)
    gate = await start(world.url, jwt={"keys_dir": tmp_path, "keys_poll_seconds": 0.05})
    async with Client(gate.address) as client, Client(gate.address) as by_key:
        await knock(client, (await sign_in(gate))["access_token"])
        assert (await read_head(client.reader)).status == 101
        line = f"Host: e\r\nX-API-Key: {world.api_key}\r\n".encode()
        await by_key.send(ASK.replace(b"/chat", b"/ws").replace(b"Host: e\r\n", line))
        assert (await read_head(by_key.reader)).status == 101
        (tmp_path / "signing").write_text(kids[1])
        (tmp_path / "revoked").write_text(kids[0])
        await is_closed_with_4401(client)
        by_key.writer.write(b"\x89\x80abcd")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(by_key.reader.read(1), 0.3)
