"""Pause-aware timers: what the process itself has slept through is no silence of others."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest
import uvloop

from authcore.pause_aware import LATE_SECONDS, READING_SECONDS, PauseAwareTimeout, PauseAwareTimer
from tests.support.peers import PATIENCE
from tests.support.processes import stand_still

if TYPE_CHECKING:
    from collections.abc import Callable

    Begin = Callable[[], asyncio.Runner]

PAUSE = 1.2
BOUND = 1.0  # shorter than a pause by more than LATE_SECONDS


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def begin(request: pytest.FixtureRequest) -> Begin:
    return lambda: asyncio.Runner(loop_factory=request.param)


async def answered_after(seconds: float, bound: float) -> bool:
    """Pause while an answer is awaited that comes `seconds` after the pause; return whether it came in time."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[None] = loop.create_future()
    try:
        async with PauseAwareTimeout(bound):
            stand_still(PAUSE)
            loop.call_later(seconds, answer.set_result, None)
            await answer
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize("seconds", [0.0, 0.05])
def test_an_answer_that_came_during_a_pause_is_in_time(begin: Begin, seconds: float) -> None:
    with begin() as runner:
        assert runner.run(answered_after(seconds, BOUND))


def test_silence_after_a_pause_still_ends(begin: Begin) -> None:
    with begin() as runner:
        assert not runner.run(answered_after(60, bound=0.05))


def test_a_process_that_is_always_late_ends_a_timer_at_the_second_time(begin: Begin) -> None:
    async def silent_and_late() -> list[int]:
        ended: list[bool] = []
        timer = PauseAwareTimer(BOUND, lambda: ended.append(True))
        counts = []
        for _ in range(2):
            stand_still(PAUSE)
            await asyncio.sleep(0.001)
            counts.append(len(ended))
        timer.cancel()
        return counts

    with begin() as runner:
        assert runner.run(silent_and_late()) == [0, 1]


async def test_in_time_it_ends_at_once_and_calls_once() -> None:
    loop = asyncio.get_running_loop()
    while True:
        ended: list[bool] = []
        begun = loop.time()
        timer = PauseAwareTimer(0.05, partial(ended.append, True))
        await asyncio.sleep(0.05 + LATE_SECONDS / 2)
        if loop.time() - begun <= 0.05 + LATE_SECONDS:
            break
        timer.cancel()  # the machine itself stood still: once more
    assert len(ended) == 1
    await asyncio.sleep(0.1)
    assert len(ended) == 1


async def test_one_that_is_cancelled_calls_nobody_not_even_after_a_pause() -> None:
    ended: list[bool] = []
    first, second = (PauseAwareTimer(0.05, lambda: ended.append(True)) for _ in range(2))
    first.cancel()
    stand_still(PAUSE)
    await asyncio.sleep(0.001)
    second.cancel()
    await asyncio.sleep(READING_SECONDS / 4)
    assert not ended


async def test_what_is_left_counts_no_pause() -> None:
    timer = PauseAwareTimer(0.05, lambda: None)
    assert 0 < timer.left <= 0.05
    stand_still(PAUSE)
    assert timer.left == 0.05, "all of it: it is not known when the pause began"
    timer.cancel()
    long = PauseAwareTimer(60, lambda: None)
    stand_still(PAUSE)
    assert 60 - PATIENCE < long.left < 60
    long.cancel()


async def test_no_bound_is_no_bound() -> None:
    async with PauseAwareTimeout(None):
        await asyncio.sleep(0)


async def test_other_errors_pass() -> None:
    with pytest.raises(KeyError):
        async with PauseAwareTimeout(60):
            raise KeyError
