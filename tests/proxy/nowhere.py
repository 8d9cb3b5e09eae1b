"""An upstream that goes nowhere: for tests that look at routes and send nothing."""

from __future__ import annotations

from typing import NoReturn

from gateway.proxy.upstreams import Upstream
from gateway.wire.deadlines import Deadlines
from gateway.wire.pool import PoolLimits, UpstreamPool
from gateway.wire.write_buffer import WriteBatch


async def _dial(_protocol: object, _to: object) -> NoReturn:
    raise OSError


NOWHERE = Upstream(
    "nowhere", UpstreamPool(_dial, PoolLimits(1, 1, 1, 1), Deadlines(), WriteBatch(print)), 1, 1
)
