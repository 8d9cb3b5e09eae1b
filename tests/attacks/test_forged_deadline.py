"""A client that sends fields by which proxies and services set deadlines and retries: none of them passes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.traffic.deadline import STEERING
from tests.support.calls import ask, get

if TYPE_CHECKING:
    from tests.support.peers import Upstream
    from tests.support.worlds import Start

FIELD = "X-Envoy-Expected-Rq-Timeout-Ms"
NAMES = sorted(name.decode() for name in STEERING)
SPELLINGS = (*NAMES, FIELD.replace("-", "_"), FIELD.upper(), "x.envoy.retry.on", "X-Envoy_Max-Retries")


@pytest.mark.parametrize("name", SPELLINGS)
@pytest.mark.parametrize("seconds", [0, 30])
async def test_no_client_sets_deadlines_or_retries_behind_the_gateway(
    start: Start, upstream: Upstream, name: str, seconds: float
) -> None:
    gateway = await start(upstream={"deadline_seconds": seconds})
    answer = await ask(gateway, get("/", f"{name}: 99999999"))
    sent = {key: value for key, value in answer.json()["headers"] if "envoy" in key.lower()}
    assert list(sent) == ([FIELD] if seconds else [])
    assert all(int(value) <= 30_000 for value in sent.values())
