"""Coroutine drive: an exchange goes on in the very call that sets its signal, and an error is thrown where it waits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.wire.drive import Abandoned, CallbackDrive, Signal, offload
from tests.support.peers import PATIENCE


class Ran:
    """A drive of `work`, and how it ended."""

    def __init__(self, work: Any) -> None:
        self.ends: list[Exception | None] = []
        self.drive = CallbackDrive(work, self.ends.append)
        self.drive.start()


def test_a_coroutine_that_waits_for_nothing_ends_before_start_returns() -> None:
    async def work() -> None:
        pass

    assert Ran(work()).ends == [None]


def test_a_signal_resumes_at_once_in_the_call_that_sets_it() -> None:
    signal: Signal[int] = Signal()
    got: list[int] = []

    async def work() -> None:
        got.append(await signal)

    ran = Ran(work())
    assert (got, ran.ends) == ([], [])
    signal.set(7)
    assert (got, ran.ends) == ([7], [None])


def test_a_signal_set_before_it_is_awaited_does_not_wait() -> None:
    signal: Signal[int] = Signal()
    signal.set(7)
    signal.set(8)  # only the first counts

    async def work() -> None:
        assert await signal == 7

    assert Ran(work()).ends == [None]


def test_a_coroutine_that_waits_for_anything_but_a_signal_raises() -> None:
    # Such a coroutine awaits signals only: a bare yield of asyncio's would leave it suspended for ever.
    async def work() -> None:
        await asyncio.sleep(0)

    with pytest.raises(AttributeError):
        Ran(work())


def test_a_failed_signal_raises_where_it_is_awaited() -> None:
    signal: Signal[int] = Signal()
    caught: list[str] = []

    async def work() -> None:
        try:
            await signal
        except ValueError as error:
            caught.append(str(error))

    ran = Ran(work())
    signal.fail(ValueError("no"))
    assert (caught, ran.ends) == (["no"], [None])


def test_an_error_thrown_in_raises_at_the_wait_and_the_signal_no_longer_counts() -> None:
    signal: Signal[int] = Signal()
    after: Signal[int] = Signal()
    steps: list[str] = []

    async def work() -> None:
        try:
            await signal
        except ValueError:
            steps.append("thrown")
        steps.append(f"after {await after}")

    ran = Ran(work())
    ran.drive.throw(ValueError())
    signal.set(1)
    assert steps == ["thrown"]
    after.set(2)
    assert (steps, ran.ends) == (["thrown", "after 2"], [None])


def test_an_error_thrown_in_while_it_runs_is_kept_for_the_next_wait() -> None:
    first: Signal[int] = Signal()
    second: Signal[int] = Signal()
    steps: list[str] = []

    async def work() -> None:
        await first
        ran.drive.throw(ValueError())
        steps.append("still running")
        try:
            await second
        except ValueError:
            steps.append("thrown")

    ran = Ran(work())
    first.set(1)
    assert (steps, ran.ends) == (["still running", "thrown"], [None])


@pytest.mark.parametrize("way", ["failed", "thrown"])
def test_an_error_that_was_handled_keeps_no_frame_of_the_coroutine(way: str) -> None:
    error = ValueError("no")
    try:
        raise error
    except ValueError:
        origin = error.__traceback__
    signal: Signal[None] = Signal()
    handled: list[tuple[bool, bool]] = []

    async def work() -> None:
        try:
            await signal
        except ValueError as raised:
            handled.append((raised is error, raised.__traceback__ is origin))

    ran = Ran(work())
    if way == "failed":
        signal.fail(error)
    else:
        ran.drive.throw(error)
    # Where it is handled, its traceback tells the way.
    assert (handled, ran.ends) == (
        [(True, False)],
        [None],
    )
    assert error.__traceback__ is origin


def test_what_escapes_is_handed_over_once() -> None:
    error = ValueError("escaped")

    async def work() -> None:
        raise error

    ran = Ran(work())
    ran.drive.throw(RuntimeError())  # after the end: nobody is there
    assert ran.ends == [error]


async def test_offloaded_work_runs_on_the_loop_and_its_result_comes_back() -> None:
    ended = asyncio.Event()
    got: list[str] = []

    async def task() -> str:
        async with asyncio.timeout(PATIENCE):  # needs a real Task around it
            await asyncio.sleep(0)
        return "done"

    async def work() -> None:
        got.append(await offload(task()))
        ended.set()

    Ran(work())
    await asyncio.wait_for(ended.wait(), PATIENCE)
    assert got == ["done"]


async def test_offloaded_failure_and_cancellation_come_back_as_errors() -> None:
    seen: list[type[BaseException]] = []
    ended = asyncio.Event()

    async def failing() -> None:
        raise KeyError

    async def cancelled() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    async def work() -> None:
        for attempt in (failing, cancelled):
            try:
                await offload(attempt())
            except (KeyError, Abandoned) as error:
                seen.append(type(error))
        ended.set()

    Ran(work())
    await asyncio.wait_for(ended.wait(), PATIENCE)
    assert seen == [KeyError, Abandoned]


async def test_throwing_in_cancels_the_offloaded_work() -> None:
    cancelled = asyncio.Event()

    async def task() -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def work() -> None:
        with pytest.raises(ValueError, match="gone"):
            await offload(task())

    ran = Ran(work())
    await asyncio.sleep(0)
    ran.drive.throw(ValueError("gone"))
    await asyncio.wait_for(cancelled.wait(), PATIENCE)
    assert ran.ends == [None]
