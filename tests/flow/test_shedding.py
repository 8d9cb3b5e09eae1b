"""Shedding by a whole gateway, whose event loop a test keeps busy."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tests.support.admin import metrics
from tests.support.calls import GET, ask, bearer, get, is_refusal, request
from tests.support.processes import PROCESS_SECONDS, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.app import Gateway
    from tests.support.worlds import Start, World


@asynccontextmanager
async def busy_loop() -> AsyncIterator[None]:
    """Keep the loop busy, in pieces that make every sweep late."""
    over = False

    def work() -> None:
        until = time.monotonic() + 0.1
        while time.monotonic() < until:
            pass
        if not over:
            asyncio.get_running_loop().call_later(0.01, work)

    work()
    try:
        yield
    finally:
        over = True


async def level(gate: Gateway) -> float:
    return float((await metrics(gate))["gateway_shed_level"][0].value)


async def test_a_loop_that_lags_sheds_public_requests_and_never_health_or_known_callers(
    world: World, start: Start
) -> None:
    gate = await start(world.url, shed={"lag_seconds": 0.001})
    agent = bearer(world.token(world.agent))
    assert (await ask(gate, GET)).status == 200
    async with asyncio.timeout(2 * PROCESS_SECONDS), busy_loop():

        async def sheds() -> bool:
            await ask(gate, GET)
            return await level(gate) == 2

        await eventually(sheds)
        answer = await ask(gate, GET)
        is_refusal(answer, 503)
        assert answer.one("Retry-After") == "2"
        assert (await ask(gate, get("/health"))).status == 200
        assert (await ask(gate, get("/api/contacts", agent))).status == 200
        dear = request("POST", "/api/contacts", agent, body=b"x" * 70_000)
        is_refusal(await ask(gate, dear), 503)
        small = request("POST", "/api/contacts", agent, body=b"x")
        assert (await ask(gate, small)).status == 200
        assert (await ask(gate, request("POST", "/api/auth/logout", agent, body=b""))).status in {
            200,
            400,
            401,
        }
        assert (await ask(gate, get("/api/auth/sessions", agent))).status == 200


async def test_what_is_shed_takes_nothing_of_rate_limits(start: Start) -> None:
    gate = await start(shed={"lag_seconds": 0.001}, limits={"network": "100000/d", "public": True})
    left: list[str] = []
    async with asyncio.timeout(2 * PROCESS_SECONDS), busy_loop():
        while len(left) < 4:
            answer = await ask(gate, GET)
            if answer.status == 503:
                left.append((answer.one("RateLimit") or "").partition(";t=")[0])
    assert left[0].startswith('"network";r=')
    assert len(set(left)) == 1


async def test_without_the_setting_nothing_is_shed(start: Start) -> None:
    gate = await start()
    async with asyncio.timeout(PROCESS_SECONDS), busy_loop():
        for _ in range(20):
            assert (await ask(gate, GET)).status == 200
    assert await level(gate) == 0
