"""Logs, metrics and traces of whole gateways."""

from __future__ import annotations

from tests.observe.recording import written
from tests.support.loops import pytest_asyncio_loop_factories

__all__ = ["pytest_asyncio_loop_factories", "written"]
