"""An upstream that goes nowhere: for tests that look at routes and send nothing."""

from __future__ import annotations

from typing import NoReturn

from gateway.proxy.upstreams import Upstream
from gateway.wire.deadlines import Deadlines
from gateway.wire.outbox import Outbox
from gateway.wire.pool import Pool, PoolLimits


async def _dial(_: object) -> NoReturn:
    raise OSError


NOWHERE = Upstream("nowhere", Pool(_dial, PoolLimits(1, 1, 1, 1), Deadlines(), Outbox(print)), 1, 1)
