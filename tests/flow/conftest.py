"""Flows: requests through a whole gateway. The fixtures of sockets and of foreign issuers are for these."""

from __future__ import annotations

from tests.support.issuers import provider
from tests.support.loops import pytest_asyncio_loop_factories
from tests.support.sockets import far, sockets

__all__ = ["far", "provider", "pytest_asyncio_loop_factories", "sockets"]
