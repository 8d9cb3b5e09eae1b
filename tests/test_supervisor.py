"""Supervisor of a worker: one that cannot be started for a moment is tried again, and the end waits for nobody."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING

import pytest
import uvloop

from gateway.metrics import ParentMetrics
from gateway.supervisor import Stopping, Supervisor
from tests.support.peers import PATIENCE

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Awaitable, Callable


def supervisor(start: Callable[[], Awaitable[Process]]) -> Supervisor:
    async def answers(_: float) -> bool:
        await asyncio.sleep(0)
        return True

    metrics = ParentMetrics(wanted=1, answering=lambda: 1)
    return Supervisor(0, start, answers, 60, lambda _: 0.0, metrics, lambda: None)


class Starter:
    """Starts a process that waits, after so many failures."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.started = asyncio.Event()

    async def __call__(self) -> asyncio.subprocess.Process:
        if self.failures:
            self.failures -= 1
            raise BlockingIOError(11, "Resource temporarily unavailable")
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(60)")
        self.started.set()
        return process


async def test_a_worker_that_cannot_be_started_is_tried_again() -> None:
    stopping, start = Stopping(), Starter(failures=2)
    one = supervisor(start)
    async with asyncio.timeout(PATIENCE):
        keeping = asyncio.ensure_future(one.keep(stopping))
        await start.started.wait()
        stopping.hear(signal.SIGTERM)
        assert await keeping == 0
    assert one.process is not None
    assert one.process.returncode == -signal.SIGTERM


def test_a_worker_that_ends_as_its_silence_is_over_is_replaced_and_ends_nobody_else() -> None:
    """uvloop knows that a process has ended a moment before whoever awaits its end does."""
    stopping, start = Stopping(), Starter(failures=0)

    async def keep() -> int:
        one = supervisor(start)
        ends = 0

        async def answers(_: float) -> bool:
            nonlocal ends
            if ends == 2:
                stopping.hear(signal.SIGTERM)
                return True
            ends += 1
            one.serving = True
            if one.process is not None:
                one.process.kill()
                while one.process.returncode is None:
                    await asyncio.sleep(0)
            return False

        one.answers, one.silence_seconds = answers, 0.0
        async with asyncio.timeout(PATIENCE):
            return await one.keep(stopping)

    assert uvloop.run(keep()) == 0


@pytest.mark.parametrize("ending", ["os._exit(3)", "os._exit(2)", "os.kill(os.getpid(), signal.SIGKILL)"])
async def test_a_worker_that_fails_at_the_end_makes_the_whole_fail_with_1(ending: str) -> None:
    script = f"import os, signal; signal.signal(signal.SIGTERM, lambda *_: {ending}); print(flush=True); signal.pause()"
    stopping, heeds = Stopping(), asyncio.Event()

    async def start() -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        await process.stdout.readline()
        heeds.set()
        return process

    async with asyncio.timeout(PATIENCE):
        keeping = asyncio.ensure_future(supervisor(start).keep(stopping))
        await heeds.wait()
        stopping.hear(signal.SIGTERM)
        assert await keeping == 1


async def test_nothing_is_started_once_the_end_has_begun() -> None:
    stopping, start = Stopping(), Starter(failures=1000)
    async with asyncio.timeout(PATIENCE):
        keeping = asyncio.ensure_future(supervisor(start).keep(stopping))
        while start.failures == 1000:
            await asyncio.sleep(0)
        stopping.hear(signal.SIGINT)
        assert await keeping == 0
    assert not start.started.is_set()
