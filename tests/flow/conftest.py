"""Flows: requests through a whole gateway. The fixtures of sockets and of foreign issuers are for these."""

from __future__ import annotations

from tests.conftest import (
    client,  # noqa: F401 -- for tests that are under way
    gateway,  # noqa: F401 -- for tests that are under way
    start,  # noqa: F401 -- for tests that are under way
    upstream,  # noqa: F401 -- for tests that are under way
    world,  # noqa: F401 -- for tests that are under way
)
from tests.support.issuers import provider
from tests.support.loops import pytest_asyncio_loop_factories
from tests.support.sockets import far, sockets
from tests.support.worlds import *  # noqa: F403 -- for tests that are under way

__all__ = ["far", "provider", "pytest_asyncio_loop_factories", "sockets"]
