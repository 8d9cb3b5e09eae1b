"""Ports that tests choose: nobody is given one while its owner is away for a moment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.ports import free_port

if TYPE_CHECKING:
    from tests.support.peers import Upstream

RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


@pytest.mark.skipif(not RANGE.exists(), reason="the range of this system's ports is not in a file")
async def test_an_upstream_that_comes_back_finds_its_port_free(upstream: Upstream) -> None:
    lowest = int(RANGE.read_text().split()[0])
    assert upstream.port < lowest, "the system gives it to whoever asks for any port"
    assert free_port() < lowest
