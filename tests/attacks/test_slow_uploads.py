"""Bodies that are sent slowly, from one network, until every connection to the upstream is held."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from tests.support.calls import ask, get, is_refusal
from tests.support.peers import Client

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.peers import Upstream
    from tests.support.worlds import Start

SLOW = b"POST /slow HTTP/1.1\r\nHost: e\r\nX-Forwarded-For: %b\r\nContent-Length: 60\r\n\r\nx"
POOL = 8


async def begin(start: Start) -> Gateway:
    return await start(
        upstream={"connections": POOL, "connect_timeout_seconds": 1}, trusted_proxies=["127.0.0.1/32"]
    )


async def upload(stack: AsyncExitStack, gate: Gateway, client: bytes = b"192.0.2.1") -> Client:
    one = await stack.enter_async_context(Client(gate.address))
    await one.send(SLOW % client)
    return one


async def test_slow_uploads_of_one_network_leave_connections_to_others(
    start: Start, upstream: Upstream
) -> None:
    gate = await begin(start)
    async with AsyncExitStack() as stack:
        first = [await upload(stack, gate) for _ in range(POOL // 2)]
        async with asyncio.timeout(10):
            while upstream.seen.count(b"POST /slow") < POOL // 2:
                await asyncio.sleep(0.01)
        for _ in range(POOL):
            late = await upload(stack, gate)
            is_refusal(
                await late.response(),
                503,
                "Too many uploads come from your network at once, try again shortly",
            )
        assert (await ask(gate, get("/small"))).status == 200
        other = await upload(stack, gate, b"198.51.100.7")
        await other.send(b"y" * 59)
        assert (await other.response()).status == 200
        await first[0].send(b"y" * 59)  # its body is there: another one may begin
        assert (await first[0].response()).status == 200
        again = await upload(stack, gate)
        await again.send(b"y" * 59)
        assert (await again.response()).status == 200


@pytest.mark.parametrize("bound", ["requests", "endpoint_requests", "endpoint_connections"])
async def test_slow_uploads_of_one_network_leave_half_of_the_breakers_bound_to_others(
    start: Start, upstream: Upstream, bound: str
) -> None:
    gate = await start(
        upstream={"connections": POOL, f"breaker_{bound}": 4}, trusted_proxies=["127.0.0.1/32"]
    )
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await upload(stack, gate)
        async with asyncio.timeout(10):
            while upstream.seen.count(b"POST /slow") < 2:
                await asyncio.sleep(0.01)
        for _ in range(POOL):
            late = await upload(stack, gate)
            is_refusal(
                await late.response(),
                503,
                "Too many uploads come from your network at once, try again shortly",
            )
        other = await upload(stack, gate, b"198.51.100.7")
        await other.send(b"y" * 59)
        assert (await other.response()).status == 200


async def test_requests_whose_bodies_are_there_count_as_no_uploads(start: Start, upstream: Upstream) -> None:
    gate = await begin(start)
    whole = SLOW % b"192.0.2.1" + b"y" * 59
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Client(gate.address)) for _ in range(POOL)]
        answers = await asyncio.gather(*(client.exchange(whole) for client in clients))
        assert {answer.status for answer in answers} == {200}


async def test_a_pool_that_stays_full_is_the_gateways_want_and_not_the_upstreams_silence(
    start: Start, upstream: Upstream
) -> None:
    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    upstream.script = silent
    gate = await start(upstream={"connections": 1, "connect_timeout_seconds": 0.3})
    async with Client(gate.address) as holding:
        await holding.send(get("/held"))
        async with asyncio.timeout(10):
            while not upstream.connections:
                await asyncio.sleep(0.01)
        refusal = await ask(gate, get("/waiting"))
        is_refusal(refusal, 503, "The upstream is busy, try again shortly")
        assert refusal.one("Retry-After") == "1"
