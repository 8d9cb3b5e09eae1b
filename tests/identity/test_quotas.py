"""Quotas of gateways in processes of their own, which are killed: what is lost is bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.support.calls import get
from tests.support.peers import Client
from tests.support.processes import eventually, spawn
from tests.support.worlds import SECRET

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.support.peers import Upstream
    from tests.support.processes import Process
    from tests.support.worlds import World

MOST: Final = 400
SETTINGS: Final = {"QUOTAS": "on", "QUOTA_KEY_MONTH": str(MOST), "QUOTA_SYNC_SECONDS": "0.05"}


async def passed(gateway: Process, world: World, times: int) -> int:
    async with Client(gateway.address) as client:
        question = get("/api/contacts", f"X-API-Key: {world.api_key}")
        return [(await client.exchange(question)).status for _ in range(times)].count(200)


async def counted(world: World) -> int:
    rows = await world.sql("SELECT used FROM gateway_quota_usage WHERE kind = 'api_key' AND period = 'month'")
    return int(rows[0]["used"]) if rows else 0


async def test_what_a_killed_gateway_let_through_is_counted_within_the_stated_bound(
    world: World, upstream: Upstream, gateways: Callable[..., Awaitable[list[Process]]]
) -> None:
    (second,) = await gateways(1, **SETTINGS)
    first = await spawn(
        {
            "GATEWAY_DATABASE_URL": world.url,
            "GATEWAY_JWT_SECRET": SECRET,
            "GATEWAY_UPSTREAM_URL": f"http://127.0.0.1:{upstream.port}",
            "GATEWAY_LISTEN": "127.0.0.1:0",
            "GATEWAY_ADMIN_LISTEN": "127.0.0.1:0",
            **{f"GATEWAY_{name}": value for name, value in SETTINGS.items()},
        }
    )
    try:
        through = await passed(first, world, 60)
        assert through == 60

        async def settled() -> bool:
            return await counted(world) >= through

        await eventually(settled)
        more = await passed(first, world, 5)
    finally:
        first.process.kill()
        await first.process.wait()
    # Lost are at most the requests since the last settlement; what it held as leases counts as used.
    used = await counted(world)
    assert through <= used <= through + more + (MOST - through) // 4 + 60 * 2
    after = await passed(second, world, MOST)
    assert MOST - used <= after + more
    assert after <= MOST - through + more
