"""Tables that are altered while a gateway serves, as an update of Whatomate alters them: no request fails for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg

from tests.support.calls import ask, bearer, granted, post
from tests.support.databases import fetch
from tests.support.processes import eventually
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.worlds import Start, World

CONNECTIONS = 3
LOGIN = {"email": "admin@example.com", "password": PASSWORD}
LOCK = "SELECT pg_advisory_lock(1466457702, hashtext($1::text))"
"""The lock of a user (:mod:`authcore.store.locks`), for which a transaction that counts their keys waits."""
WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock' AND wait_event = 'advisory'
"""


async def make_key(gateway: Gateway, caller: str) -> int:
    return (await ask(gateway, post("/api/api-keys", {"name": "one"}, caller))).status


async def test_a_transaction_finds_a_connection_that_knows_the_altered_table(
    world: World, start: Start
) -> None:
    patience = {"acquire_timeout_seconds": 60, "statement_timeout_seconds": 60}
    gateway = await start(world.url, database={"pool_max": CONNECTIONS, **patience})
    caller = bearer((await granted(gateway, post("/api/auth/login", LOGIN)))["access_token"])
    (row,) = await world.sql("SELECT id FROM users WHERE email = $1", LOGIN["email"])
    holder = await asyncpg.connect(world.url)

    async def all_wait() -> bool:
        return bool(await fetch(world.url, WAITING) == CONNECTIONS)

    try:
        await holder.execute(LOCK, str(row["id"]))
        making = [asyncio.ensure_future(make_key(gateway, caller)) for _ in range(CONNECTIONS)]
        await eventually(all_wait)
    finally:
        await holder.close()
    assert await asyncio.gather(*making) == [200] * CONNECTIONS

    await world.sql("ALTER TABLE api_keys ALTER key_prefix TYPE text")
    assert [await make_key(gateway, caller) for _ in range(CONNECTIONS)] == [200] * CONNECTIONS
