"""Hosted requests that are at work when a gateway stops: nobody awaits them, and nothing waits for them long."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import asyncpg
import pytest
from structlog.testing import capture_logs

from gateway.assembly import hosted
from tests.support.calls import ask, post
from tests.support.peers import PATIENCE, Client
from tests.support.processes import eventually
from tests.support.trails import records
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.app import Gateway
    from tests.support.worlds import Start, World

HOUR: Final = 3600.0
LOGIN: Final = post("/api/auth/login", {"email": "agent@example.com", "password": PASSWORD})


@asynccontextmanager
async def at_work(world: World, start: Start, *, stays: bool) -> AsyncIterator[Gateway]:
    """A gateway with a sign-in that waits for a lock to the end of the block; its client leaves unless it `stays`."""
    gate = await start(
        world.url,
        database={"statement_timeout_seconds": HOUR},
        timeout={"drain_seconds": 0.1, "drain_delay_seconds": 0},
    )
    await ask(gate, LOGIN)
    holder = await asyncpg.connect(world.url)
    client = await Client(gate.address).__aenter__()
    try:
        await holder.execute("BEGIN; LOCK TABLE gateway_sessions")
        await client.send(LOGIN)

        async def waits() -> bool:
            return bool(
                await world.sql(
                    "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'gateway_sessions'::regclass"
                )
            )

        await eventually(waits)
        if not stays:
            await client.__aexit__(None, None, None)
        yield gate
    finally:
        await client.__aexit__(None, None, None)
        await holder.close()


@pytest.mark.parametrize("stays", [True, False], ids=["until the end", "client left"])
async def test_a_stop_cancels_a_hosted_request_that_nobody_awaits(
    world: World, start: Start, stays: bool
) -> None:
    with capture_logs() as logged:
        async with at_work(world, start, stays=stays) as gate:
            async with asyncio.timeout(PATIENCE):
                await gate.stop()
    assert not [one for one in logged if one["event"] == "audit_records_lost"]
    found = [(one.outcome, one.reason) for one in await records(world.store)]
    assert found == [("success", None), ("failed", "cut_off")]
    assert len(await world.sql("SELECT FROM gateway_sessions")) == 1


async def test_a_stop_that_is_hurried_gives_a_hosted_request_no_time(
    world: World, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosted, "LAST_SECONDS", HOUR)
    async with at_work(world, start, stays=True) as gate, asyncio.timeout(PATIENCE):
        stopping = asyncio.create_task(gate.stop())
        await asyncio.sleep(0.3)  # it may have come to the hosted application, or not yet
        gate.hurry()
        await stopping


async def test_a_stop_that_is_cancelled_raises_while_a_hosted_request_is_at_work(
    world: World, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``serve`` knows by it that something did not end: stop_timed_out, and exit code 1."""
    monkeypatch.setattr(hosted, "LAST_SECONDS", HOUR)
    async with at_work(world, start, stays=True) as gate:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await gate.stop()
