"""Getting beyond a quota: by processes that begin without knowing it, and by asking several at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.support.calls import get
from tests.support.peers import Client

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.worlds import Start, World


async def statuses(gate: Gateway, world: World, times: int) -> list[int]:
    async with Client(gate.address) as client:
        question = get("/api/contacts", f"X-API-Key: {world.api_key}")
        return [(await client.exchange(question)).status for _ in range(times)]


async def test_a_spent_quota_stays_spent_in_every_process_that_begins(world: World, start: Start) -> None:
    settings = {"quotas": True, "quota": {"key_month": 3, "sync_seconds": 0.05}}
    first = await start(world.url, **settings)
    assert (await statuses(first, world, 5)).count(200) == 3
    for _ in range(2):
        fresh = await start(world.url, **settings)
        async with asyncio.timeout(30):
            answers = await asyncio.gather(*(statuses(fresh, world, 4) for _ in range(4)))
        assert {status for some in answers for status in some} == {429}
