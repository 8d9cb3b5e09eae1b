"""A primary that moves: whatever the old one says, the gateway follows the address, and serves nobody switched off."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from authcore.store.migrate import migrate
from tests.database.gateways import status_of, status_of_sign_in
from tests.database.servers import Forwarder, Server
from tests.support.admin import is_pushed, readiness
from tests.support.calls import ask_at, get
from tests.support.databases import execute
from tests.support.processes import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.app import Gateway
    from tests.support.worlds import Start, World


@pytest.fixture
def migrated_url(pair: list[Server]) -> str:
    return pair[0].url()


@asynccontextmanager
async def called(gateway: Gateway, token: str) -> AsyncIterator[list[int]]:
    """Have a known caller call again and again; yield what it is answered."""
    statuses: list[int] = []

    async def call() -> None:
        while True:
            statuses.append(await status_of(gateway, token))
            await asyncio.sleep(0.02)

    task = asyncio.ensure_future(call())
    try:
        yield statuses
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.parametrize("follows", [True, False], ids=["the_old_one_follows", "the_old_one_is_alone"])
async def test_after_a_fail_over_the_gateway_is_where_the_address_leads(
    pair: list[Server], world: World, start: Start, follows: bool
) -> None:
    old, new = pair
    async with Forwarder(old.path) as address:
        gateway = await start(address.url(), identity={"cache_seconds": 3600})
        known, switched_off = world.token(world.admin), world.token(world.agent)
        assert [await status_of(gateway, one) for one in (known, switched_off)] == [200, 200]
        assert await status_of_sign_in(gateway) == 200
        await world.store.close()
        async with called(gateway, known) as statuses:
            await asyncio.to_thread(old.stop)
            await asyncio.to_thread(new.promote)
            old.demote(new if follows else None)
            await asyncio.to_thread(old.start)  # back as a standby; the address still leads there

            async def refused() -> bool:
                return await status_of_sign_in(gateway) == 503

            await eventually(refused)
            await execute(new.url(), "UPDATE users SET is_active = false WHERE email ~ 'agent|both'")
            late = world.token(world.both)

            async def misled() -> bool:
                return await status_of(gateway, late) == 200

            if not follows:  # the old one knows no better, and what it says is remembered
                await eventually(misled)
            await asyncio.sleep(1)  # a while, with the address on the old one
            address.target = new.path  # for new connections; those to the old one live on
            # Whoever is refused has the address looked at, and is tried again. One look may have begun before it moved.
            assert 200 in [await status_of_sign_in(gateway), await status_of_sign_in(gateway)]
            assert [await status_of(gateway, one) for one in (switched_off, late)] == [401, 401]

            async def pushed() -> bool:
                return await is_pushed(gateway)

            await eventually(pushed)
            assert [await status_of(gateway, one) for one in (switched_off, late)] == [401, 401]
            assert set(statuses) == {200}
        await execute(new.url(), "UPDATE users SET is_active = false WHERE email = 'admin@example.com'")

        async def noticed() -> bool:
            return await status_of(gateway, known) == 401

        await eventually(noticed)


@pytest.mark.parametrize("leaves", ["stopped", "silent"])
async def test_sign_in_is_back_at_once_when_the_address_leads_away_from_a_server_that_is_lost(
    pair: list[Server], world: World, start: Start, leaves: str
) -> None:
    old, new = pair
    async with Forwarder(old.path) as address:
        gateway = await start(address.url())
        assert await status_of_sign_in(gateway) == 200
        await world.store.close()
        if leaves == "stopped":
            await asyncio.to_thread(old.stop)
        else:
            address.hold()

        async def given_up() -> bool:
            page = (await ask_at(gateway.admin_address, get("/metrics"))).body.decode()
            return "\ngateway_store_circuit_open 1.0\n" in page

        await asyncio.gather(*(status_of_sign_in(gateway) for _ in range(5)))
        await eventually(given_up)
        await asyncio.to_thread(new.promote)
        address.move(new.path)

        async def back() -> bool:
            return await status_of_sign_in(gateway) == 200

        # A probe each quarter of a second, each of which gives up after one: the bar has room for three.
        assert await eventually(back) < 5


async def test_an_address_that_leaves_a_server_that_lives_is_followed(
    pair: list[Server], world: World, start: Start
) -> None:
    """Both can be written to: nothing breaks, and nothing refuses."""
    old, new = pair
    async with Forwarder(old.path) as address:
        gateway = await start(
            address.url(), identity={"cache_seconds": 3600}, database={"renew_seconds": 0.2}
        )
        token = world.token(world.agent)
        assert await status_of(gateway, token) == 200
        assert await is_pushed(gateway)
        await world.store.close()
        await asyncio.to_thread(new.promote)
        address.target = new.path
        await execute(new.url(), "UPDATE users SET is_active = false WHERE email = 'agent@example.com'")

        async def refused() -> bool:
            return await status_of(gateway, token) == 401

        await eventually(refused)

        async def pushed() -> bool:
            return await is_pushed(gateway)

        await eventually(pushed)


async def test_of_several_hosts_the_one_that_can_be_written_to_is_taken(
    pair: list[Server], world: World, start: Start
) -> None:
    old, new = pair
    async with Forwarder(new.path) as standby, Forwarder(old.path) as primary:
        hosts = f"127.0.0.1:{standby.port},127.0.0.1:{primary.port}"
        url = f"postgresql://gateway@{hosts}/postgres?target_session_attrs=read-write"
        assert await migrate(url) == []
        gateway = await start(url)
        assert await status_of_sign_in(gateway) == 200
        assert await is_pushed(gateway)
        await world.store.close()
        await asyncio.to_thread(old.stop)
        await asyncio.to_thread(new.promote)

        async def back() -> bool:
            return await status_of_sign_in(gateway) == 200 and await is_pushed(gateway)

        await eventually(back)


async def test_a_database_that_can_be_written_to_again_is_written_to(
    world: World, pair: list[Server], start: Start
) -> None:
    primary, _ = pair
    gateway = await start(primary.url())
    assert await status_of_sign_in(gateway) == 200
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'whatomate%'"
    alter = "ALTER DATABASE postgres {} default_transaction_read_only"
    await execute(primary.url(), alter.format("SET") + " = on", end)

    async def refused() -> bool:
        return await status_of_sign_in(gateway) == 503

    await eventually(refused)
    assert await status_of(gateway, world.token(world.both)) == 200  # reads go on
    assert (await readiness(gateway))["checks"]["database"].startswith("refuses (read_only)")
    connection = ("SET default_transaction_read_only = off", alter.format("RESET"))
    await execute(primary.url(), *connection)

    async def back() -> bool:
        return await status_of_sign_in(gateway) == 200

    assert await eventually(back) < 10
