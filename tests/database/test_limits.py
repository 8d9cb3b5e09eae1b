"""Fewer connections than asked for, and passwords that rotate: neither is an outage."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import asyncpg
import pytest
import structlog

from authcore.errors import StoreUnavailable
from authcore.store.failures import Failure, classify
from authcore.store.kinds import FailureKind
from authcore.store.postgres import PostgresStore
from gateway.assembly.watches import compare_connections
from tests.database.gateways import value
from tests.database.servers import Server, servers
from tests.support.databases import execute
from tests.support.processes import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

OPTIONS: dict[str, Any] = {
    "pool_min": 1,
    "connect_timeout_seconds": 5,
    "acquire_timeout_seconds": 5,
    "statement_timeout_seconds": 5,
}


class Watch:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.failures: list[Failure] = []
        self.recoveries: list[FailureKind] = []

    def failed(self, failure: Failure) -> None:
        self.failures.append(failure)

    def recovered(self, failure: Failure) -> None:
        self.recoveries.append(failure.kind)


@pytest.fixture
async def role(migrated_url: str) -> AsyncIterator[str]:
    """A user who may have two connections."""
    name = f"few_{uuid4().hex[:8]}"
    await execute(migrated_url, f"CREATE ROLE {name} LOGIN CONNECTION LIMIT 2")
    yield name
    await execute(migrated_url, f"DROP ROLE {name}")


async def test_with_fewer_connections_than_asked_for_everybody_is_answered(
    migrated_url: str, role: str
) -> None:
    watch = Watch()
    store = await PostgresStore.connect(
        migrated_url.replace("gateway@", f"{role}@"), pool_max=10, watcher=watch, **OPTIONS
    )
    for _ in range(4):
        await asyncio.gather(*(store.ping() for _ in range(40)))
    assert value(store, "circuit_opened") == 0
    assert value(store, "connections") == value(store, "connections_allowed") == 2
    refused = value(store, "connections_refused")
    assert refused > 0
    assert {one.kind for one in watch.failures} == {FailureKind.CONNECTIONS}
    assert (watch.failures[0].sqlstate, "too many connections for role" in watch.failures[0].words) == (
        "53300",
        True,
    )
    await execute(migrated_url, f"ALTER ROLE {role} CONNECTION LIMIT 10")

    async def grown() -> bool:
        await asyncio.gather(*(store.ping() for _ in range(40)))
        return value(store, "connections_allowed") == 10

    await eventually(grown)
    assert FailureKind.CONNECTIONS in watch.recoveries
    await store.close()


async def test_work_under_way_outlives_refused_connections(migrated_url: str, role: str) -> None:
    store = await PostgresStore.connect(migrated_url.replace("gateway@", f"{role}@"), pool_max=10, **OPTIONS)
    pool = store._pool  # noqa: SLF001 - no call of a store takes a time of the test's choice
    slow = asyncio.ensure_future(pool.fetchval("SELECT pg_sleep(1), 1"))
    await asyncio.gather(*(store.ping() for _ in range(30)))
    await slow
    await store.close()


async def test_every_connection_in_use_is_no_silence(migrated_url: str) -> None:
    options = {**OPTIONS, "acquire_timeout_seconds": 0.1}
    store = await PostgresStore.connect(migrated_url, pool_max=1, **options)
    pool = store._pool  # noqa: SLF001 - as above
    holder = await asyncpg.connect(migrated_url)
    await holder.execute("SELECT pg_advisory_lock(1)")
    slow = asyncio.ensure_future(pool.fetchval("SELECT pg_advisory_lock(1)"))

    async def is_at_work() -> bool:
        return bool(
            await holder.fetchval("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        )

    try:
        await eventually(is_at_work)
        outcomes = await asyncio.gather(*(store.ping() for _ in range(5)), return_exceptions=True)
    finally:
        await holder.close()
    assert {one and classify(one.__cause__).kind for one in outcomes} == {FailureKind.CONNECTIONS}
    await slow
    await store.ping()
    assert value(store, "circuit_opened") == 0
    await store.close()


@pytest.mark.parametrize(("processes", "warned"), [(1, False), (2, True)])
async def test_more_connections_than_are_allowed_are_warned_of(
    migrated_url: str, processes: int, warned: bool
) -> None:
    store = await PostgresStore.connect(migrated_url, pool_max=110, **OPTIONS)  # of 197
    with structlog.testing.capture_logs() as logs:
        await compare_connections(store, 110, processes)
    assert [(one["event"], one["wanted"], one["allowed"]) for one in logs] == (
        [("connections_scarce", 224, 197)] if warned else []
    )
    await store.close()


@pytest.fixture
def guarded(folder: Path) -> Iterator[Server]:
    """A server that wants a password."""
    with servers(folder) as (server,):
        server.make()
        (server.files / "pg_hba.conf").write_text("local all gateway trust\nlocal all all scram-sha-256\n")
        server.start()
        yield server


async def test_a_password_that_rotates_is_read_again_and_one_that_is_refused_is_named(
    guarded: Server, tmp_path: Path
) -> None:
    await execute(guarded.url(), "CREATE ROLE gw LOGIN PASSWORD 'one'")
    secret = tmp_path / "password"
    secret.write_text("one")
    watch = Watch()
    store = await PostgresStore.connect(
        guarded.url(user="gw"), pool_max=3, watcher=watch, password=secret.read_text, **OPTIONS
    )
    await store.ping()
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'gw'"
    await execute(guarded.url(), "ALTER ROLE gw PASSWORD 'two'", end)

    async def is_refused() -> bool:
        try:
            await store.ping()
        except StoreUnavailable as outage:
            return classify(outage.__cause__).kind is FailureKind.PASSWORD
        return False

    await eventually(is_refused)
    assert 'password authentication failed for user "gw"' in watch.failures[-1].words
    assert "two" not in watch.failures[-1].sentence
    secret.write_text("two")
    await store.ping()
    assert watch.recoveries[-1] is FailureKind.PASSWORD
    await store.close()
