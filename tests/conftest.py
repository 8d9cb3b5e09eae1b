"""One real PostgreSQL for the whole session; a fresh database for every test that asks for one."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest

from gateway.dev.postgres import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

T = TypeVar("T")


def finish(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end on a loop of its own, leaving the test's current loop alone."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(work)


async def execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def fetch(url: str, statement: str) -> Any:
    """The first value of the first row."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def named(url: str, database: str) -> str:
    """The same server's URL with another database in it."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


def fresh_database(server: str, template: str) -> Iterator[str]:
    name = f"test_{uuid4().hex}"
    finish(execute(server, f"CREATE DATABASE {name} TEMPLATE {template}"))
    yield named(server, name)
    finish(execute(server, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The server, by its own database ``gateway``; tests take `database_url` or `migrated_url` instead."""
    directory = Path(tempfile.mkdtemp(prefix="whatomate-tests-"))
    directory.chmod(0o755)  # as root the server is another user, who must get in
    try:
        with EmbeddedPostgres(directory, durable=False) as postgres:
            yield postgres.url
    finally:
        shutil.rmtree(directory)


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
