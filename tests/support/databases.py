"""SQL from outside of the code under test: on a server's own database, on a loop of its own where no loop runs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg

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
