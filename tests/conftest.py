"""Fixtures: one real PostgreSQL for the whole session, a fresh database for every test that asks for one, gateways.

What they hand out is in tests/support.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from gateway.dev.postgres import EmbeddedPostgres
from tests.support.databases import execute, finish, fresh_database, named, server_folder
from tests.support.peers import Client, Upstream
from tests.support.worlds import populated, starter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from gateway.app import Gateway
    from tests.support.worlds import Start, World

# No test depends on the speed of the machine: an example may take its time, and so may making one.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The server, by its own database ``gateway``; tests take `database_url` or `migrated_url` instead."""
    with server_folder("whatomate-tests-") as folder, EmbeddedPostgres(folder, durable=False) as postgres:
        yield postgres.url


@pytest.fixture
def database_url(postgres_url: str) -> Iterator[str]:
    """A fresh, empty database."""
    yield from fresh_database(postgres_url, "template0")


@pytest.fixture(scope="session")
def migrated_template(postgres_url: str) -> str:
    from authcore.store.migrate import migrate  # noqa: PLC0415 - tests that need no schema do not need its maker

    finish(execute(postgres_url, "CREATE DATABASE migrated TEMPLATE template0"))
    finish(migrate(named(postgres_url, "migrated")))
    return "migrated"


@pytest.fixture
def migrated_url(postgres_url: str, migrated_template: str) -> Iterator[str]:
    """A fresh database with the schema in it and no rows but the schema's own."""
    yield from fresh_database(postgres_url, migrated_template)


@pytest.fixture
async def world(migrated_url: str) -> AsyncIterator[World]:
    """Organizations and users in a database of the test's own."""
    async with populated(migrated_url) as one:
        yield one


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """An upstream that answers with what it was sent, unless it is given a script."""
    async with Upstream() as one:
        yield one


@pytest.fixture
async def start(upstream: Upstream) -> AsyncIterator[Start]:
    """Starter of gateways before the upstream."""
    async with AsyncExitStack() as stack:
        yield starter(stack, upstream)


@pytest.fixture
async def gateway(start: Start) -> Gateway:
    """A gateway with the default settings, and no database."""
    return await start(timeout={"drain_seconds": 0.1})


@pytest.fixture
async def gate(world: World, start: Start) -> Gateway:
    """A gateway with the default settings, on the world's database."""
    return await start(world.url)


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[Client]:
    """A connection to the gateway that has no database."""
    async with Client(gateway.address) as one:
        yield one
