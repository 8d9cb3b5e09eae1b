"""The records that a gateway writes to standard output."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from gateway.app import Gateway

Written = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def written(capfdbinary: pytest.CaptureFixture[bytes]) -> Written:
    """The records written to standard output since the last call."""

    def read() -> list[dict[str, Any]]:
        lines = capfdbinary.readouterr().out.splitlines()
        return [one for one in map(_loaded, lines) if one.get("event") == "request"]

    return read


def _loaded(line: bytes) -> dict[str, Any]:
    with suppress(json.JSONDecodeError):
        loaded = json.loads(line)
        if isinstance(loaded, dict):
            return loaded
    return {}


async def records(gateway: Gateway, read: Written) -> list[dict[str, Any]]:
    """All that a gateway has written; it is stopped for that."""
    await gateway.stop()
    return read()
