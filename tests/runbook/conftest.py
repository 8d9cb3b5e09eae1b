"""Sites for rehearsals of the runbook."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from tests.database.servers import short_folder
from tests.runbook.site import Site, Whatomate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.runbook.site import Sites


@pytest.fixture
async def whatomate() -> AsyncIterator[Whatomate]:
    """A Whatomate that checks tokens itself."""
    one = Whatomate()
    async with one.upstream:
        yield one


@pytest.fixture
async def site(whatomate: Whatomate, tmp_path: Path) -> AsyncIterator[Sites]:
    """Starter of sites."""
    async with AsyncExitStack() as stack:

        async def begin(
            url: str, codes: Mapping[str, Path] | None = None, /, **settings: str | Sequence[str]
        ) -> Site:
            shared = {name: value for name, value in settings.items() if isinstance(value, str)}
            own = {name: value for name, value in settings.items() if not isinstance(value, str)}
            one = Site(whatomate, tmp_path, {"GATEWAY_DATABASE_URL": url, **shared}, **own)
            stack.push_async_callback(one.end)
            if codes is not None:
                one.codes, one.version = dict(codes), next(iter(codes))
            await one.start()
            return one

        yield begin


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for servers and their sockets."""
    with short_folder() as path:
        yield path
