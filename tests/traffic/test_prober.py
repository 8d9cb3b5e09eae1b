"""The prober over real sockets: each endpoint at its interval, none delayed by another, nothing after the end."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.traffic.health import HealthPolicy
from gateway.traffic.prober import Prober
from gateway.wire.endpoint import Authority, Endpoint
from tests.support.peers import PATIENCE, Upstream

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.wire.probe import Probed

POLICY = HealthPolicy("/ready", interval_seconds=0.05, timeout_seconds=PATIENCE)


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not what():
            await asyncio.sleep(0.01)


def endpoint_of(upstream: Upstream) -> Endpoint:
    return Endpoint(Authority(upstream.host, upstream.port), upstream.host)


class Watched:
    """A prober, and what it has noted."""

    def __init__(self, policy: HealthPolicy = POLICY) -> None:
        self.noted: list[tuple[str, Probed]] = []
        self.prober = Prober(policy, self._note, chance=lambda: 0.5)

    def _note(self, endpoint: Endpoint, probed: Probed) -> None:
        self.noted.append((endpoint.name, probed))

    def times(self, endpoint: Endpoint) -> int:
        return sum(name == endpoint.name for name, _ in self.noted)


async def hang(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()
    await asyncio.Event().wait()


async def test_one_that_hangs_delays_the_checks_of_no_other_and_its_own_never_overlap() -> None:
    async with AsyncExitStack() as stack:
        good, bad = [await stack.enter_async_context(Upstream()) for _ in range(2)]
        bad.script = hang
        watched = Watched()
        stack.callback(watched.prober.close)
        watched.prober.follow([endpoint_of(bad), endpoint_of(good)])
        await until(lambda: watched.times(endpoint_of(good)) >= 5)
        assert watched.times(endpoint_of(bad)) == 0
        assert len(bad.raw) == 1


async def test_checks_of_an_endpoint_that_has_gone_end_and_one_that_is_new_is_checked_at_once() -> None:
    async with AsyncExitStack() as stack:
        old, new = [await stack.enter_async_context(Upstream()) for _ in range(2)]
        hourly = Watched(replace(POLICY, interval_seconds=3600))
        stack.callback(hourly.prober.close)
        first, second = endpoint_of(old), endpoint_of(new)
        hourly.prober.follow([first])
        await until(lambda: hourly.times(first) == 1)
        hourly.prober.follow([first, second])
        await until(lambda: hourly.times(second) == 1)
        assert hourly.times(first) == 1, "it is not checked anew because another one came"
        often = Watched()
        stack.callback(often.prober.close)
        often.prober.follow([first, second])
        await until(lambda: often.times(first) >= 2)
        often.prober.follow([second])
        before = often.times(first)
        await until(lambda: often.times(second) >= 5)
        assert often.times(first) == before


async def test_nothing_is_sent_after_the_end(upstream: Upstream) -> None:
    upstream.script = hang
    watched = Watched()
    watched.prober.follow([endpoint_of(upstream)])
    await until(lambda: upstream.connections == 1)
    before = asyncio.all_tasks()
    watched.prober.close()
    await until(
        lambda: not any(task.get_name().startswith("check ") for task in asyncio.all_tasks() & before)
    )
    assert len(upstream.raw) == 1
    assert watched.noted == []


async def test_a_failure_of_our_own_is_not_the_last_check(upstream: Upstream) -> None:
    noted = 0

    def note(_endpoint: Endpoint, _probed: Probed) -> None:
        nonlocal noted
        noted += 1
        raise RuntimeError("a fault of the receiver")

    prober = Prober(POLICY, note)
    prober.follow([endpoint_of(upstream)])
    await until(lambda: noted >= 3)
    prober.close()
