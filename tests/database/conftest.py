"""Gateways before databases as they are run."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from authcore.store.migrate import migrate
from tests.database.servers import pgbouncer, servers, short_folder
from tests.support.databases import finish
from tests.support.loops import pytest_asyncio_loop_factories

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.database.servers import Server

__all__ = ["pytest_asyncio_loop_factories"]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a path short enough for a socket, which servers may enter."""
    with short_folder() as path:
        yield path


@pytest.fixture
def pair(folder: Path) -> Iterator[list[Server]]:
    """A primary, and a standby that follows it; the database is migrated."""
    with servers(folder, 2) as both:
        primary, standby = both
        primary.make().start()
        finish(migrate(primary.url()))
        standby.copy(primary).start()
        yield both


@pytest.fixture(params=["session", "transaction"])
def mode(request: pytest.FixtureRequest) -> str:
    """PgBouncer's pool_mode."""
    return str(request.param)


@pytest.fixture
def pooled(folder: Path, migrated_url: str, mode: str) -> Iterator[str]:
    """The world's database behind a pooler with fewer connections than are asked for."""
    socket = parse_qs(urlsplit(migrated_url).query)["host"][0]
    size = 30 if mode == "session" else 5
    with pgbouncer(folder / "b", socket, pool_mode=mode, default_pool_size=size) as host:
        yield f"postgresql://gateway@/{urlsplit(migrated_url).path[1:]}?host={host}&port=6432"
