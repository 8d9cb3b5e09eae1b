"""SQL from outside of the code under test: on a server's own database, on a loop of its own where no loop runs."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

T = TypeVar("T")

# A file system in memory, where Linux has one, and the bytes the tests' databases may come to in it.
_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of an unguessable name is made in it
_MEMORY_BYTES = 2 << 30


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


@contextmanager
def server_folder(prefix: str) -> Iterator[Path]:
    """Make a folder for a server's files, in memory if there is room; it is removed in the end.

    A fresh database for each test is a few hundred files made and removed. Where ext4 has just removed many files, it
    looks at each of their inodes before it makes one: that was a third of all processor time of the suite.
    """
    in_memory = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free >= _MEMORY_BYTES
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=_MEMORY if in_memory else None))
    folder.chmod(0o755)  # as root the server is another user, who must get in
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def fresh_database(server: str, template: str) -> Iterator[str]:
    name = f"test_{uuid4().hex}"
    finish(execute(server, f"CREATE DATABASE {name} TEMPLATE {template}"))
    yield named(server, name)
    finish(execute(server, f"DROP DATABASE {name} WITH (FORCE)"))
