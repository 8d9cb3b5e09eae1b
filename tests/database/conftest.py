"""Gateways before databases as they are run."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.flow.conftest import pytest_asyncio_loop_factories, start, upstream, world

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["pytest_asyncio_loop_factories", "start", "upstream", "world"]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a path short enough for a socket, which servers may enter."""
    path = Path(tempfile.mkdtemp(prefix="wgdb-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)
