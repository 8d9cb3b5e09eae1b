"""Tickets and sockets across gateways that share nothing but their database."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from tests.support.calls import ask_at, bearer, get, post
from tests.support.peers import Client, read_head
from tests.support.processes import PROCESS_SECONDS
from tests.support.sockets import ASK, echoing
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.support.peers import Upstream
    from tests.support.processes import Process
    from tests.support.worlds import World

    Gateways = Callable[..., Awaitable[list[Process]]]


async def granted(gateway: Process, raw: bytes) -> dict[str, Any]:
    answer = await ask_at(gateway.address, raw)
    assert answer.status == 200, answer.body
    found = json.loads(answer.body)["data"]
    assert isinstance(found, dict)
    return found


async def opened(gateway: Process, query: str) -> tuple[Client, int]:
    client = await Client(gateway.address).__aenter__()
    await client.send(ASK.replace(b"/chat", b"/ws" + query.encode()))
    return client, (await read_head(client.reader)).status


async def test_a_ticket_of_one_process_opens_one_socket_on_another_which_ends_with_its_session(
    world: World, upstream: Upstream, gateways: Gateways
) -> None:
    upstream.script = echoing()
    one, other = await gateways()
    tokens = await granted(one, post("/api/auth/login", {"email": "agent@example.com", "password": PASSWORD}))
    ticket = (await granted(one, get("/api/auth/ws-token", bearer(tokens["access_token"]))))["token"]
    tried = await asyncio.gather(*(opened(gateway, f"?token={ticket}") for gateway in (one, other) * 4))
    assert sorted(status for _, status in tried) == [101] + [401] * 7
    (socket,) = (client for client, status in tried if status == 101)
    await socket.send(b"\x81\x82abcd\x09\x0b")
    assert await asyncio.wait_for(socket.reader.readexactly(8), PROCESS_SECONDS) == b"\x81\x82abcd\x09\x0b"
    await granted(one, post("/api/auth/logout", {"refresh_token": tokens["refresh_token"]}))
    assert await asyncio.wait_for(socket.reader.readexactly(4), PROCESS_SECONDS) == b"\x88\x0f" + (
        4401
    ).to_bytes(2, "big")
    assert await asyncio.wait_for(socket.reader.readexactly(13), PROCESS_SECONDS) == b"session ended"
    for client, _ in tried:
        client.writer.close()
