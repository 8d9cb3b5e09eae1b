"""Thread pool for bcrypt: a few threads, and a bounded queue before them.

Laws:

- bcrypt never runs on the event loop, and never more at once than there are threads. What waits is bounded: past
  that, ``Overloaded``, at once.
- A job counts until its thread is free again, not until its caller has gone.
- The threads are daemons: a job that takes long delays the end of the process by ``CLOSE_SECONDS`` at most.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from concurrent.futures import Future
from functools import partial
from threading import Condition, Thread
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from authcore.errors import Overloaded
from authcore.figures import Distribution, Figure, Spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

P = ParamSpec("P")
T = TypeVar("T")

CLOSE_SECONDS: Final = 2.0
"""How long :meth:`BcryptPool.close` waits for jobs that are running."""


class _Job:
    """A call, when it was submitted by ``time.monotonic``, and where its result goes."""

    __slots__ = ("call", "future", "submitted")

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call = call
        self.submitted = time.monotonic()
        self.future: Future[Any] = Future()


class BcryptPool:
    """A few threads and a bounded queue before them.

    Attributes:
        pending: Jobs that are running or waiting.
        started: Jobs that were accepted since the start.
        refused: Jobs that there was no room for.
        waits: Seconds that jobs waited for a thread.
    """

    def __init__(self, *, workers: int, queue: int) -> None:
        self._limit = workers + queue
        self._jobs: deque[_Job] = deque()
        self._changed = Condition()
        self._closed = False
        self.pending = self.started = self.refused = 0
        self.waits = Spread()
        self._threads = [
            Thread(target=self._work, name=f"bcrypt_{number}", daemon=True) for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    async def run(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `job` in a thread.

        Raises:
            Overloaded: too many are waiting, or the pool is closed.
        """
        queued = _Job(partial(job, *args, **kwargs))
        with self._changed:
            if self._closed or self.pending >= self._limit:
                self.refused += 1
                raise Overloaded
            self.pending += 1
            self.started += 1
            queued.future.add_done_callback(self._done)
            if len(self._jobs) > 2 * self._limit:  # mostly of callers that have gone
                self._jobs = deque(job for job in self._jobs if not job.future.cancelled())
            self._jobs.append(queued)
            self._changed.notify()
        result: T = await asyncio.wrap_future(queued.future)
        return result

    def _work(self) -> None:
        """Run jobs until the pool is closed; the target of each thread."""
        while True:
            with self._changed:
                while not self._jobs:
                    if self._closed:
                        return
                    self._changed.wait()
                job = self._jobs.popleft()
                if job.future.cancelled():
                    continue
                self.waits.add(time.monotonic() - job.submitted)
            if not job.future.set_running_or_notify_cancel():
                continue
            try:
                result = job.call()
            except BaseException as error:  # noqa: BLE001 -- the caller's, whatever it is
                job.future.set_exception(error)
            else:
                job.future.set_result(result)
            del job

    def _done(self, _future: object) -> None:
        with self._changed:
            self.pending -= 1

    def figures(self) -> Iterable[Figure]:
        """Return what to publish."""
        yield Figure("pending", "bcrypt jobs running or waiting.", lambda: self.pending)
        yield Figure("started", "bcrypt jobs accepted.", lambda: self.started, counts=True)
        yield Figure("refused", "bcrypt jobs refused for want of room.", lambda: self.refused, counts=True)
        yield Figure("capacity", "bcrypt jobs that may run or wait at most.", lambda: self._limit)

    def spreads(self) -> Iterable[Distribution]:
        """Return what to publish."""
        yield Distribution("wait_seconds", "How long bcrypt jobs waited for a thread.", self.waits)

    def close(self) -> None:
        """Cancel the jobs that wait, and wait up to ``CLOSE_SECONDS`` for those that run."""
        with self._changed:
            self._closed = True
            waiting = list(self._jobs)
            self._jobs.clear()
            self._changed.notify_all()
        for job in waiting:
            job.future.cancel()
        deadline = time.monotonic() + CLOSE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
