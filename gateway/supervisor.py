"""Supervisor of one worker process: it starts the process, asks it for signs of life, replaces it, and ends it in time.

Laws:

- A worker that has answered nothing for ``silence_seconds`` is killed and replaced, as one that died is. One that could
  not be asked, as this process has no descriptor left, is not silent: no other one could be started either.
- Time in which this process stood still is no silence of a worker's: all of them stood still with it, if their
  container was frozen. So a question without an answer counts for no longer than it may take.
- A worker that cannot be started is tried again; the others serve meanwhile.
- Once it is to stop, the worker has its time to drain and ``GRACE_SECONDS`` more, whatever state it is in. Nothing is
  started any more.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from gateway.metrics import ParentMetrics

RESTART_SECONDS: Final = 1.0
"""A worker that died is replaced after this, so that one that cannot live does not keep a core busy."""
GRACE_SECONDS: Final = 10.0
"""A worker that is to stop is killed this long after its time to drain."""
STARTING_SECONDS: Final = 120.0
"""Silence of a worker that has not answered yet."""
_ASKING_SECONDS: Final = 5.0
_FAILED: Final = 1

log = structlog.get_logger()


class Stopping:
    """Stop of the parent, which its supervisors wait for.

    Attributes:
        begun: The workers are to stop.
        hurried: They are to stop at once.
        signal: The signal that asked for it.
    """

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.hurried = asyncio.Event()
        self.signal = signal.SIGTERM

    def hear(self, received: signal.Signals) -> None:
        """Take a signal: the first one begins the end, and the second one hurries it."""
        if self.begun.is_set():
            self.hurried.set()
        self.signal = received
        self.begun.set()


@dataclass(slots=True)
class Supervisor:
    """Supervisor of one worker.

    Attributes:
        number: The worker's number.
        start: Starts a process; raises OSError if the system has no room for one.
        answers: Asks the worker for a sign of life, for at most so many seconds, and returns whether there was one.
        silence_seconds: The longest silence of a worker that has answered before.
        drain_seconds: How long a worker may take to stop, by the signal that asks for it.
        metrics: The parent's metrics.
        gone: Called when the process has ended, before the next one is started.
        process: The present process; None before the first one.
        serving: The process has answered.
    """

    number: int
    start: Callable[[], Awaitable[Process]]
    answers: Callable[[float], Awaitable[bool]]
    silence_seconds: float
    drain_seconds: Callable[[signal.Signals], float]
    metrics: ParentMetrics
    gone: Callable[[], None]
    process: Process | None = None
    serving: bool = False

    async def keep(self, stopping: Stopping) -> int:
        """Keep the worker running until the stop, and return the exit code for it."""
        while not stopping.begun.is_set():
            self.serving = False
            try:
                process = self.process = await self.start()
            except OSError as error:
                log.error(  # noqa: TRY400 -- the system's words are enough
                    "worker_not_started",
                    worker=self.number,
                    error=str(error),
                    again_in_seconds=RESTART_SECONDS,
                )
            else:
                ended = asyncio.ensure_future(process.wait())
                await self._until_it_ends_or_is_silent(ended, stopping)
                if stopping.begun.is_set():
                    return await self._end(process, ended, stopping)
                if not ended.done():
                    log.error("worker_silent", worker=self.number, seconds=self.silence_seconds)
                    _send(process, signal.SIGKILL)
                    await ended
                self.metrics.died.inc()
                self.gone()
                log.error("worker_died", worker=self.number, code=process.returncode)
            await _first(RESTART_SECONDS, stopping.begun.wait())
        return 0

    async def _until_it_ends_or_is_silent(self, ended: asyncio.Future[int], stopping: Stopping) -> None:
        loop = asyncio.get_running_loop()
        pause = min(_ASKING_SECONDS, self.silence_seconds / 4)
        silence = 0.0
        while True:
            asked = loop.time()
            await _first(pause, asyncio.shield(ended), stopping.begun.wait())
            if ended.done() or stopping.begun.is_set():
                return
            if await self.answers(pause):
                self.serving = True
                silence = 0.0
                continue
            silence += min(loop.time() - asked, 2 * pause)
            if silence >= (self.silence_seconds if self.serving else STARTING_SECONDS):
                return

    async def _end(self, process: Process, ended: asyncio.Future[int], stopping: Stopping) -> int:
        """Pass the signal on, wait, and kill what has not ended by then."""
        asked = stopping.signal
        seconds = self.drain_seconds(asked) + GRACE_SECONDS
        _send(process, asked)
        await _first(seconds, asyncio.shield(ended), stopping.hurried.wait())
        if not ended.done() and stopping.hurried.is_set():
            _send(process, stopping.signal)
            await _first(GRACE_SECONDS, asyncio.shield(ended))
        if not ended.done():
            log.error("worker_killed", worker=self.number, reason="it did not stop in time", seconds=seconds)
            _send(process, signal.SIGKILL)
            await ended
            return _FAILED
        # By such a signal: it was asked before it could listen.
        return 0 if ended.result() in (0, -signal.SIGTERM, -signal.SIGINT) else _FAILED


def _send(process: Process, number: signal.Signals) -> None:
    """Send a signal, unless the process has ended: the event loop may know that before whoever awaits the end does."""
    with suppress(ProcessLookupError):
        process.send_signal(number)


async def _first(seconds: float, *awaitables: Awaitable[object]) -> None:
    """Return when the first of `awaitables` is done, at the latest after `seconds`."""
    waiting = [asyncio.ensure_future(one) for one in awaitables]
    await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for one in waiting:
        one.cancel()


async def first_true(questions: Sequence[Coroutine[object, object, bool]]) -> int | None:
    """Return the index of the first of `questions` that returns True, and cancel the others; None if none does."""

    async def place_of(place: int) -> int | None:
        return place if await questions[place] else None

    asking = [asyncio.ensure_future(place_of(place)) for place in range(len(questions))]
    try:
        for done in asyncio.as_completed(asking):
            place = await done
            if place is not None:
                return place
    finally:
        for one in asking:
            one.cancel()
    return None
