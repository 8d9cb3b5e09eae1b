"""Readiness behind a real HAProxy: a database that is away takes no gateway out while known callers are served."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.support.admin import admin
from tests.support.calls import ask, bearer, get, post
from tests.support.peers import Client
from tests.support.processes import LONG, haproxy, reachable
from tests.support.roads import road_to
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.app import Gateway
    from tests.support.worlds import Start, World


STALE = 4


async def ready(gateway: Gateway) -> int:
    return (await admin(gateway, "/readyz")).status


async def test_known_callers_are_served_through_a_balancer_for_the_whole_stale_time_and_then_it_is_unready(
    world: World, start: Start, tmp_path: Path
) -> None:
    call = get("/api/x", bearer(world.token(world.agent)))
    async with road_to(world) as road:
        gateways = [
            await start(road.url, identity={"stale_seconds": STALE, "cache_seconds": 0.1}) for _ in range(2)
        ]
        for gateway in gateways:
            assert (await ask(gateway, call)).status == 200
            assert await ready(gateway) == 200
        admins = [one.admin_address[1] for one in gateways]
        async with haproxy(tmp_path, admins, [one.address[1] for one in gateways]) as address:
            await reachable(address)
            loop = asyncio.get_running_loop()
            for gateway in gateways:
                assert (await ask(gateway, call)).status == 200
            away = loop.time()
            await road.close()
            seen: list[tuple[float, int]] = []
            async with asyncio.timeout(LONG):
                while not seen or seen[-1][1] == 200:
                    async with Client(address) as client:
                        status = (await client.exchange(call)).status
                    seen.append((loop.time() - away, status))  # it may have waited for its answer
                    await asyncio.sleep(0.05)
            assert seen[-1][1] == 503
            assert seen[-1][0] >= STALE, "for the whole of it"
            async with asyncio.timeout(LONG):
                while {await ready(one) for one in gateways} != {503}:
                    await asyncio.sleep(0.05)
            await road.open()
            async with asyncio.timeout(LONG):
                while {await ready(one) for one in gateways} != {200}:
                    await asyncio.sleep(0.05)


@pytest.mark.parametrize(("mode", "status"), [("serving", 200), ("strict", 503)])
async def test_a_database_that_is_away_or_refuses_writes_is_named_in_both_modes(
    mode: str, status: int, world: World, start: Start
) -> None:
    login = post("/api/auth/login", {"email": "agent@example.com", "password": PASSWORD})
    database = urlsplit(world.url).path[1:]
    async with road_to(world) as road:
        gateway = await start(road.url, ready=mode)
        assert await ready(gateway) == 200
        await world.sql(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
        await world.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid()"
        )
        async with asyncio.timeout(LONG):
            while "read_only" not in (await admin(gateway, "/readyz")).json()["checks"]["database"]:
                await asyncio.sleep(0.05)
        assert await ready(gateway) == status
        assert (await ask(gateway, login)).status == 503
        await road.close()
        async with asyncio.timeout(LONG):
            while b"unreachable" not in (answer := await admin(gateway, "/readyz")).body:
                await asyncio.sleep(0.05)
        assert answer.status == status
        assert b"127.0.0.1" not in answer.body


async def test_stale_for_no_time_is_ready_for_no_time(world: World, start: Start) -> None:
    async with road_to(world) as road:
        gateway = await start(road.url, identity={"stale_seconds": 0})
        assert await ready(gateway) == 200
        await road.close()
        async with asyncio.timeout(LONG):
            while await ready(gateway) != 503:
                await asyncio.sleep(0.05)
