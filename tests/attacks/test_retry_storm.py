"""A caller, or an outage, that would have the gateway multiply requests, or hold bodies: it is bounded."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.observe.scraping import scraped, value
from tests.support.calls import ask, get, request
from tests.support.flaky import BUSY, CUT, EAGER, SILENCE, Flaky
from tests.support.peers import PATIENCE, Client, read_head

if TYPE_CHECKING:
    from tests.support.peers import Upstream
    from tests.support.worlds import Start

CALLERS = 20


async def test_an_upstream_that_fails_gets_no_more_than_the_budget_on_top(
    start: Start, upstream: Upstream
) -> None:
    arrived, release, release_retries = 0, asyncio.Event(), asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal arrived
        while True:
            await read_head(reader)
            arrived += 1
            await (release if arrived <= CALLERS else release_retries).wait()
            writer.write(BUSY)
            await writer.drain()

    async def arrive(number: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while arrived < number:
                await asyncio.sleep(0.01)

    upstream.script = script
    budget = {"retry_budget_floor": 0, "retry_budget_percent": 20}
    gateway = await start(upstream={"retry_when": ("503",), "retry_attempts": 2, **EAGER, **budget})
    answers = {asyncio.create_task(ask(gateway, get("/"))) for _ in range(CALLERS)}
    await arrive(CALLERS)
    release.set()
    allowed = CALLERS * 20 // 100
    await arrive(CALLERS + allowed)
    async with asyncio.timeout(PATIENCE):
        while sum(answer.done() for answer in answers) < CALLERS - allowed:
            await asyncio.sleep(0.01)
    assert arrived == CALLERS + allowed
    release_retries.set()
    done = await asyncio.wait_for(asyncio.gather(*answers), PATIENCE)
    assert [answer.status for answer in done] == [503] * CALLERS
    page = await scraped(gateway)
    assert value(page, "gateway_upstream_retries_total", cause="status") == allowed
    denied = value(page, "gateway_upstream_retries_denied_total", bound="budget")
    assert denied == CALLERS - allowed
    assert value(page, "gateway_upstream_retrying") == 0


@pytest.mark.parametrize("answer", [BUSY, CUT, SILENCE])
@pytest.mark.parametrize(
    "raw",
    [
        request("POST", "/", body=b"pay"),
        request("POST", "/", "X-HTTP-Method-Override: GET", body=b"pay"),
        request("POST", "/", "Idempotency_Key: 1", "Idempotency.Key: 1", body=b"pay"),
        request("PATCH", "/", "Idempotency-Key: 1", "X-Envoy-Retry-On: 5xx", body=b"pay"),
    ],
)
async def test_what_may_not_run_twice_never_does(
    start: Start, upstream: Upstream, answer: bytes, raw: bytes
) -> None:
    upstream.script = flaky = Flaky(answer)
    repeat = ("safe", "idempotent") if b"Idempotency-Key" in raw else ("idempotent", "idempotency-key")
    when = ("stale", "connect-failure", "reset", "503")
    gateway = await start(
        upstream={"retry_when": when, "retry_repeat": repeat, "retry_try_timeout_seconds": 0.2, **EAGER}
    )
    assert (await ask(gateway, raw)).status in {502, 503, 504}
    await flaky.has(1)
    assert len(flaky.seen) == 1


async def test_a_body_that_drips_is_not_stored_past_the_bound(start: Start, upstream: Upstream) -> None:
    attempts: list[int] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        attempts.append(0)
        while piece := await reader.read(65_536):
            attempts[-1] += len(piece)
            if b"last" in piece:
                return

    upstream.script = script
    gateway = await start(
        upstream={"retry_when": "reset", "retry_repeat": "idempotent", "retry_body_bytes": 64, **EAGER}
    )
    async with Client(gateway.address) as client:
        await client.send(b"PUT / HTTP/1.1\r\nHost: e\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(65):
            await client.send(b"1\r\nx\r\n")
            async with asyncio.timeout(PATIENCE):
                while not attempts or attempts[-1] < 6 * number:  # it passes by, byte for byte
                    await asyncio.sleep(0.001)
        await client.send(b"4\r\nlast\r\n")
        assert (await client.response()).status == 502
    assert len(attempts) == 1
