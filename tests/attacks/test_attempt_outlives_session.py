"""A request that waits, or is sent again, after what let its caller in has ended: the upstream does not see it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gateway.proxy.streams import YOUNG_SECONDS
from tests.observe.scraping import reads
from tests.support.accounts import HOME, login_from
from tests.support.calls import ask, bearer, get, granted, is_refusal, post, request
from tests.support.flaky import BUSY, EAGER, OK, Flaky
from tests.support.peers import PATIENCE, Client, Upstream, read_head
from tests.support.sockets import ASK, echoing

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.worlds import Start, World


async def sign_out(gate: Gateway, line: str) -> None:
    """End all sessions of a caller, and wait until the gateway knows, and longer than nobody is judged again."""
    await granted(gate, post("/api/auth/logout-all", {}, line))
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(PATIENCE):
        while (await ask(gate, get("/api/auth/whoami", line))).status != 401 or loop.time() - began < 0.3:
            await asyncio.sleep(0.01)


async def test_a_caller_who_signs_out_while_the_upstream_restarts_is_refused(
    world: World, start: Start, upstream: Upstream
) -> None:
    gate = await start(world.url, upstream={"wait_seconds": 30})
    line = bearer((await granted(gate, login_from(HOME, email="admin@example.com")))["access_token"])
    await upstream.__aexit__(None, None, None)
    late = asyncio.create_task(ask(gate, request("POST", "/api/contacts", line, body=b"hi")))
    await reads(gate, "gateway_upstream_awaiting", 1)
    await sign_out(gate, line)
    async with Upstream(port=upstream.port) as back:
        is_refusal(await asyncio.wait_for(late, PATIENCE), 401)
        assert back.requests == []


async def test_a_caller_who_signs_out_between_two_attempts_is_refused(
    world: World, start: Start, upstream: Upstream
) -> None:
    upstream.script = flaky = Flaky(BUSY.replace(b"\r\n\r\n", b"\r\nRetry-After: 3\r\n\r\n"), OK)
    gate = await start(world.url, upstream={"retry_when": ("503",), **EAGER, "retry_after_seconds": 3})
    line = bearer((await granted(gate, login_from(HOME, email="admin@example.com")))["access_token"])
    late = asyncio.create_task(ask(gate, get("/api/contacts", line)))
    await flaky.has(1)
    await sign_out(gate, line)
    is_refusal(await asyncio.wait_for(late, PATIENCE), 401)
    assert len(flaky.seen) == 1


@pytest.mark.parametrize("signs_out", [False, True])
async def test_a_ticket_opens_its_socket_after_a_wait_unless_its_session_has_ended(
    world: World, start: Start, upstream: Upstream, *, signs_out: bool
) -> None:
    gate = await start(world.url, upstream={"wait_seconds": 30})
    line = bearer((await granted(gate, login_from(HOME, email="admin@example.com")))["access_token"])
    ticket = (await granted(gate, get("/api/auth/ws-token", line)))["token"]
    await upstream.__aexit__(None, None, None)
    async with Client(gate.address) as client:
        await client.send(ASK.replace(b"/chat", f"/ws?token={ticket}".encode()))
        await reads(gate, "gateway_upstream_awaiting", 1)
        if signs_out:
            await sign_out(gate, line)
        else:
            await asyncio.sleep(2 * YOUNG_SECONDS)
        async with Upstream(port=upstream.port, script=echoing()) as back:
            answer = await client.response(interim=True)
            assert answer.status == (401 if signs_out else 101)
            assert (b"GET /ws" in back.seen) is not signs_out


POLICIES = {"without-a-policy": {}, "with-one": {"retry_when": ("stale", "503"), **EAGER}}


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())
async def test_a_caller_who_signs_out_while_all_connections_are_busy_is_refused(
    world: World, start: Start, upstream: Upstream, policy: dict[str, object]
) -> None:
    freed = asyncio.Event()
    seen: list[bytes] = []

    async def busy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            seen.append((await read_head(reader)).start)
            if len(seen) == 1:
                await freed.wait()
            writer.write(OK)

    upstream.script = busy
    gate = await start(world.url, upstream={"connections": 1, "connect_timeout_seconds": PATIENCE, **policy})
    line = bearer((await granted(gate, login_from(HOME, email="admin@example.com")))["access_token"])
    first = asyncio.create_task(ask(gate, get("/first")))
    async with asyncio.timeout(PATIENCE):
        while not seen:
            await asyncio.sleep(0.01)
    late = [asyncio.create_task(ask(gate, get("/api/contacts", line))) for _ in range(5)]
    await reads(gate, "gateway_upstream_waiting", len(late))
    await sign_out(gate, line)
    freed.set()
    assert (await asyncio.wait_for(first, PATIENCE)).status == 200
    for answer in await asyncio.wait_for(asyncio.gather(*late), PATIENCE):
        is_refusal(answer, 401)
    assert (await ask(gate, get("/next"))).status == 200
    assert seen == [b"GET /first HTTP/1.1", b"GET /next HTTP/1.1"]
    assert len(upstream.raw) == 1  # each gave the connection back, and none had another one opened


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())
async def test_a_caller_who_signs_out_before_a_reused_connection_dies_is_refused(
    world: World, start: Start, upstream: Upstream, policy: dict[str, object]
) -> None:
    dies = asyncio.Event()
    seen: list[bytes] = []

    async def dying(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while len(seen) < 2:
            seen.append((await read_head(reader)).start)
            if len(seen) == 2:
                await dies.wait()
                return
            writer.write(OK)
        seen.append((await read_head(reader)).start)
        writer.write(OK)

    upstream.script = dying
    gate = await start(world.url, upstream={"connections": 1, **policy})
    line = bearer((await granted(gate, login_from(HOME, email="admin@example.com")))["access_token"])
    assert (await ask(gate, get("/first"))).status == 200
    late = asyncio.create_task(ask(gate, get("/api/contacts", line)))
    async with asyncio.timeout(PATIENCE):
        while len(seen) < 2:
            await asyncio.sleep(0.01)
    await sign_out(gate, line)
    dies.set()
    is_refusal(await asyncio.wait_for(late, PATIENCE), 401)
    assert seen == [b"GET /first HTTP/1.1", b"GET /api/contacts HTTP/1.1"]
