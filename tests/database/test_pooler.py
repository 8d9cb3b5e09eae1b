"""PgBouncer between: in session mode as without it; in transaction mode right too, and honest on what is unheard."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from authcore.errors import StoreUnavailable
from authcore.store.failures import classify
from authcore.store.kinds import FailureKind
from authcore.store.migrate import migrate, pending
from gateway.commands.connecting import database_findings
from tests.config.loading import load
from tests.database.gateways import status_of, status_of_sign_in
from tests.database.servers import pgbouncer
from tests.support.admin import is_pushed, readiness
from tests.support.calls import ask_at, bearer, get, post
from tests.support.commands import SECRET
from tests.support.databases import execute, named
from tests.support.domain import open_store
from tests.support.processes import eventually
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.worlds import Start, World


async def test_thirty_sign_ins_at_once_are_right(pooled: str, world: World, start: Start) -> None:
    # Two gateways whose statements have the same names. Counting attempts in parallel is tested elsewhere.
    patient = {"free_failures": 1000, "address_free_failures": 1000}
    gateways = [await start(pooled, signin=patient) for _ in range(2)]
    emails = [f"{name}@example.com" for name in ("agent", "admin", "both")]
    statuses = await asyncio.gather(
        *(status_of_sign_in(gateways[turn % 2], emails[turn % 3]) for turn in range(30))
    )
    assert set(statuses) == {200}


async def test_of_connections_that_are_opened_at_once_none_keeps_a_statement(
    pooled: str, world: World
) -> None:
    store = await open_store(pooled, pool_max=10)
    pool = store._pool  # noqa: SLF001 -- no call of a store tells
    kept = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%FROM users%'"
    try:
        emails = [f"{name}@example.com" for name in ("agent", "admin", "both")] * 10
        outcomes = await asyncio.gather(*(store.logins(email) for email in emails))
        assert {len(one) for one in outcomes} == {1}
        assert set(await asyncio.gather(*(pool.fetchval(kept) for _ in range(20)))) == {0}
    finally:
        await store.close()


async def test_every_kind_of_call_is_right_and_whoever_asks_is_answered_for_themselves(
    pooled: str, world: World, start: Start
) -> None:
    gateway = await start(pooled)

    async def live(email: str) -> None:
        async def call(raw: bytes, expected: int) -> Any:
            answer = await ask_at(gateway.address, raw)
            assert answer.status == expected, (raw, answer.body)
            return answer.json() if answer.body else None

        pair = await call(post("/api/auth/login", {"email": email, "password": PASSWORD}), 200)
        told = pair.get("data", pair)
        assert told["user"]["email"] == email
        token = bearer(told["access_token"])
        await call(get("/api/contacts", token), 200)
        sessions = await call(get("/api/auth/sessions", token), 200)
        assert sessions
        again = await call(post("/api/auth/refresh", {"refresh_token": told["refresh_token"]}), 200)
        told = again.get("data", again)
        token = bearer(told["access_token"])
        await call(post("/api/auth/logout", {"refresh_token": told["refresh_token"]}, token), 200)
        await call(get("/api/contacts", token), 401)

    await asyncio.gather(*(live(f"{name}@example.com") for name in ("agent", "admin", "both", "root")))
    key = f"X-API-Key: {world.api_key}"
    statuses = [
        (await ask_at(gateway.address, get("/api/contacts", key))).status,
        (await ask_at(gateway.address, get("/api/api-keys", bearer(world.token(world.admin))))).status,
    ]
    assert statuses == [200, 200]


async def test_what_is_heard_is_told_as_it_is(pooled: str, mode: str, world: World, start: Start) -> None:
    gateway = await start(pooled, identity={"cache_seconds": 2})
    token = world.token(world.agent)
    assert await status_of(gateway, token) == 200

    async def settled() -> bool:
        return bool((await readiness(gateway))["revocation"]["changes"] != "away")

    await eventually(settled)
    if mode == "session":
        assert await is_pushed(gateway)
    for _ in range(6):
        assert await is_pushed(gateway) == (mode == "session")
        await asyncio.sleep(0.5)
    told = (await readiness(gateway))["revocation"]
    if mode == "transaction":
        assert told == {"bound_by": "time", "changes": "unproven", "at_most_seconds": 2}
    await world.sql("UPDATE users SET is_active = false WHERE email = 'agent@example.com'")

    async def refused() -> bool:
        return await status_of(gateway, token) == 401

    await eventually(refused)


async def test_with_an_address_of_its_own_the_listener_hears_behind_any_pooler(
    pooled: str, world: World, start: Start
) -> None:
    gateway = await start(pooled, identity={"cache_seconds": 3600}, database={"listen_url": world.url})
    token = world.token(world.agent)
    assert await status_of(gateway, token) == 200

    async def pushed() -> bool:
        return await is_pushed(gateway)

    await eventually(pushed)
    assert await status_of(gateway, token) == 200
    await world.sql("UPDATE users SET is_active = false WHERE email = 'agent@example.com'")

    async def refused() -> bool:
        return await status_of(gateway, token) == 401

    await eventually(refused)


async def test_a_pooler_in_statement_mode_is_named_before_anybody_signs_in(
    folder: Path, world: World, start: Start
) -> None:
    parts = urlsplit(world.url)
    socket = parse_qs(parts.query)["host"][0]
    words = "transaction blocks not allowed in statement pooling mode"
    with pgbouncer(folder / "b", socket, pool_mode="statement") as host:
        pooled = f"postgresql://gateway@/{parts.path[1:]}?host={host}&port=6432"
        settings = load(
            {
                "GATEWAY_DATABASE_URL": pooled,
                "GATEWAY_JWT_SECRET": SECRET,
                "GATEWAY_UPSTREAM_URL": "http://127.0.0.1:1",
            }
        )
        (found,) = await database_findings(settings)
        assert found.startswith("GATEWAY_DATABASE_URL: the database refuses: ")
        assert words in found
        assert "statement mode" in found.partition("; ")[2]
        gateway = await start(pooled)
        page = await readiness(gateway)
        assert page["ready"] is False
        assert page["checks"]["database"].startswith("refuses (pooler): ")
        ending = post("/api/auth/logout-all", {}, bearer(world.token(world.agent)))
        assert (await ask_at(gateway.address, ending)).status == 503
        for attempt in (migrate, pending):
            with pytest.raises(StoreUnavailable) as raised:
                await attempt(pooled)
            assert classify(raised.value.__cause__).kind is FailureKind.POOLER


async def test_migrations_by_way_of_a_pooler_are_right(
    folder: Path, mode: str, postgres_url: str, database_url: str
) -> None:
    socket = parse_qs(urlsplit(postgres_url).query)["host"][0]
    with pgbouncer(folder / "b", socket, pool_mode=mode, default_pool_size=3) as host:
        pooled = named(f"postgresql://gateway@/x?host={host}&port=6432", urlsplit(database_url).path[1:])
        done = await asyncio.gather(*(migrate(pooled) for _ in range(3)))
        assert sorted(map(bool, done)) == [False, False, True]  # one did it, the others waited for the lock
        assert await pending(pooled) == []
        await execute(database_url, "SELECT 1 FROM gateway_migrations")
