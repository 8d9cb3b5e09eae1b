"""A URL that comes to lead to another database of the same server, or to name another role: all connections follow."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import asyncpg

from authcore.store.grants import grant
from tests.support.calls import ask_at, bearer, get
from tests.support.databases import execute, named
from tests.support.processes import Process, ended, environment_before, eventually, spawn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.peers import Upstream
    from tests.support.worlds import World

OFF = "UPDATE users SET is_active = false WHERE email = 'agent@example.com'"
ON = "UPDATE users SET is_active = true WHERE email = 'agent@example.com'"


@asynccontextmanager
async def served(url: Path, upstream: Upstream) -> AsyncIterator[Process]:
    """A gateway on the database whose URL is in the file; by time alone it would not notice a change."""
    environment = environment_before(
        upstream,
        DATABASE_URL_FILE=str(url),
        DATABASE_RENEW_SECONDS="0.2",
        IDENTITY_CACHE_SECONDS="3600",
    )
    gateway = await spawn(environment)
    try:
        yield gateway
    finally:
        await ended(gateway)


async def is_answered(gateway: Process, token: str, status: int) -> bool:
    return (await ask_at(gateway.address, get("/api/contacts", bearer(token)))).status == status


async def is_pushed(gateway: Process) -> bool:
    return bool((await gateway.ready()).json()["revocation"]["changes"] == "pushed")


async def test_another_database_of_the_same_server_is_read_and_listened_to(
    world: World, upstream: Upstream, tmp_path: Path
) -> None:
    old = urlsplit(world.url).path[1:]
    copy = named(world.url, f"{old}_copy")
    await world.store.close()
    await execute(named(world.url, "postgres"), f"CREATE DATABASE {old}_copy TEMPLATE {old}")
    try:
        await execute(copy, OFF)
        url = tmp_path / "url"
        url.write_text(world.url)
        token = world.token(world.agent)
        async with served(url, upstream) as gateway:
            await eventually(lambda: is_pushed(gateway))
            assert await is_answered(gateway, token, 200)
            url.write_text(copy)
            await eventually(lambda: is_answered(gateway, token, 401))
            await eventually(lambda: is_pushed(gateway))
            await execute(copy, ON)
            await eventually(lambda: is_answered(gateway, token, 200))
            await execute(copy, OFF)
            await eventually(lambda: is_answered(gateway, token, 401))
    finally:
        await execute(named(world.url, "postgres"), f"DROP DATABASE {old}_copy WITH (FORCE)")


async def test_no_connection_stays_with_a_role_that_the_url_no_longer_names(
    world: World, upstream: Upstream, tmp_path: Path
) -> None:
    first, second = (f"{name}_{urlsplit(world.url).path[-12:]}" for name in ("first", "second"))
    url = tmp_path / "url"
    url.write_text(world.url.replace("gateway@", f"{first}@", 1))
    token = world.token(world.agent)
    connection = await asyncpg.connect(world.url)
    try:
        for role in (first, second):
            await connection.execute(f"CREATE ROLE {role} LOGIN")
            await grant(connection, role)

        async def is_left() -> bool:
            asked = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1"
            return not await connection.fetchval(asked, first) and await is_pushed(gateway)

        async with served(url, upstream) as gateway:
            await eventually(lambda: is_pushed(gateway))
            assert await is_answered(gateway, token, 200)
            url.write_text(world.url.replace("gateway@", f"{second}@", 1))
            await eventually(is_left)
            await connection.execute(f"DROP OWNED BY {first}")
            await connection.execute(f"DROP ROLE {first}")
            await connection.execute(OFF)
            await eventually(lambda: is_answered(gateway, token, 401))
        await connection.execute(f"DROP OWNED BY {second}")
        await connection.execute(f"DROP ROLE {second}")
    finally:
        await connection.close()
