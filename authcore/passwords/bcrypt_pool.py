"""Thread pool for bcrypt: a few threads, and a bounded fair queue before them.

Laws:

- bcrypt never runs on the event loop, and never more at once than there are threads. What waits is bounded: past
  that, ``Overloaded``, at once.
- Client networks take turns (:mod:`authcore.fair_queue`). One network has its share of the threads and no more, so
  that another's job need not wait for it.
- A job counts until its thread is free again, not until its caller has gone.
- The threads are daemons: a job that takes long delays the end of the process by ``CLOSE_SECONDS`` at most.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Future
from functools import partial
from threading import Condition, Thread
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from authcore.errors import Overloaded, TooManyAtOnce
from authcore.fair_queue import OWN, FairQueue, QueueFull
from authcore.figures import Histogram, HistogramSample, MetricSample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from authcore.fair_queue import Lane

P = ParamSpec("P")
T = TypeVar("T")

CLOSE_SECONDS: Final = 2.0
"""How long :meth:`BcryptPool.close` waits for jobs that are running."""


class _Job:
    """A call, when it was submitted by ``time.monotonic``, and where its result goes.

    The call holds a password, and is dropped when the job is done: asyncio and concurrent.futures chain their futures
    by a cycle, which holds the job until a collection, and for good if one has exempted it.
    """

    __slots__ = ("call", "future", "submitted")

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call: Callable[[], Any] | None = call
        self.submitted = time.monotonic()
        self.future: Future[Any] = Future()

    def run(self) -> Any:
        """Make the call and return its result; None if nobody waits for it any more.

        The job lets go of the call first, so that what was given to it is gone when the result is told.
        """
        call, self.call = self.call, None
        return None if call is None else call()


class BcryptPool:
    """A few threads and a bounded queue before them.

    Attributes:
        pending: Jobs that are running or waiting.
        started: Jobs that were accepted since the start.
        refused: Jobs that there was no room for.
        refused_of_network: Those of them whose network had as many as one may have.
        displaced: Jobs that waited and lost their place to another network's, or to another kind of their own.
        waits: Seconds that jobs waited for a thread.
    """

    def __init__(
        self, *, workers: int, queue: int, network_workers: int = 0, network_queue: int | None = None
    ) -> None:
        """Start `workers` threads, before which `queue` jobs may wait.

        Of one client network `network_workers` jobs run at once, 0 for half of the threads, rounded up; and
        `network_queue` jobs run or wait, None for any number.
        """
        self._limit = workers + queue
        self._jobs: FairQueue[_Job] = FairQueue(
            total=self._limit,
            each=self._limit if network_queue is None else network_queue,
            share=network_workers or (workers + 1) // 2,
        )
        self._changed = Condition()
        self._closed = False
        self.pending = self.started = self.refused = self.refused_of_network = self.displaced = 0
        self.waits = Histogram()
        self._threads = [
            Thread(target=self._work, name=f"bcrypt_{number}", daemon=True) for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    async def run(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a job that no client network asked for, as :meth:`run_for`."""
        return await self.run_for(OWN, job, *args, **kwargs)

    async def run_for(self, lane: Lane, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `job` in a thread, when its lane has its turn.

        Raises:
            Overloaded: too many are waiting, or the pool is closed.
            TooManyAtOnce: too many of this client network are.
        """
        queued = _Job(partial(job, *args, **kwargs))
        lost = None
        with self._changed:
            if self._closed:
                self.refused += 1
                raise Overloaded
            try:
                lost = self._jobs.put(lane, queued)
            except QueueFull as full:
                self.refused += 1
                self.refused_of_network += full.of_network
                raise (TooManyAtOnce if full.of_network else Overloaded) from None
            self.pending += 1
            self.started += 1
            self.displaced += lost is not None
            queued.future.add_done_callback(partial(self._done, lane, queued))
            self._changed.notify()
        if lost is not None:
            other, displaced = lost
            displaced.future.set_exception(TooManyAtOnce() if other.network == lane.network else Overloaded())
        result: T = await asyncio.wrap_future(queued.future)
        return result

    def _work(self) -> None:
        """Run jobs until the pool is closed; the target of each thread."""
        while True:
            with self._changed:
                while (taken := self._jobs.take()) is None:
                    if self._closed and not len(self._jobs):
                        return
                    self._changed.wait()
                lane, job = taken
                self.waits.add(time.monotonic() - job.submitted)
            if job.future.set_running_or_notify_cancel():
                self._run(lane, job)
            else:
                self._free(lane)
            del job, taken

    def _run(self, lane: Lane, job: _Job) -> None:
        try:
            result = job.run()
        except BaseException as error:  # noqa: BLE001 -- the caller's, whatever it is
            self._free(lane)
            job.future.set_exception(error)
        else:
            self._free(lane)
            job.future.set_result(result)

    def _free(self, lane: Lane) -> None:
        """Count a thread of a lane as free again; another of its jobs may be due now."""
        with self._changed:
            self._jobs.done(lane)
            self._changed.notify()

    def _done(self, lane: Lane, job: _Job, _future: object) -> None:
        job.call = None
        with self._changed:
            self.pending -= 1
            self._jobs.discard(lane, job)  # whose caller has gone while it waited

    def figures(self) -> Iterable[MetricSample]:
        """Return the metrics to publish."""
        yield MetricSample("pending", "bcrypt jobs running or waiting.", lambda: self.pending)
        yield MetricSample("started", "bcrypt jobs accepted.", lambda: self.started, counts=True)
        yield MetricSample(
            "refused", "bcrypt jobs refused for want of room.", lambda: self.refused, counts=True
        )
        yield MetricSample(
            "refused_of_network",
            "bcrypt jobs refused because their client network had too many.",
            lambda: self.refused_of_network,
            counts=True,
        )
        yield MetricSample(
            "displaced",
            "bcrypt jobs that lost their place in a full queue to a network, or a kind, with fewer.",
            lambda: self.displaced,
            counts=True,
        )
        yield MetricSample("networks", "Client networks with bcrypt jobs running or waiting.", self._networks)
        yield MetricSample("capacity", "bcrypt jobs that may run or wait at most.", lambda: self._limit)

    def _networks(self) -> int:
        return self._jobs.networks

    def histograms(self) -> Iterable[HistogramSample]:
        """Return the metrics to publish."""
        yield HistogramSample("wait_seconds", "How long bcrypt jobs waited for a thread.", self.waits)

    def close(self) -> None:
        """Cancel the jobs that wait, and wait up to ``CLOSE_SECONDS`` for those that run."""
        with self._changed:
            self._closed = True
            waiting = self._jobs.drain()
            self._changed.notify_all()
        for job in waiting:
            job.future.cancel()
        deadline = time.monotonic() + CLOSE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
