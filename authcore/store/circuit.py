"""Circuit breaker of the database: it stops statements while the database does not answer.

Laws:

- While it is closed, statements pass. After a few failures in a row it opens: all statements fail at once, also those
  under way, and a background probe asks the database until it answers. No request is used as the probe.
- Only silence and refused connections count as failures. A statement that was answered, even by an error, does not.
- The pause between two probes is at most a quarter of a second.
"""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from authcore.errors import StoreUnavailable
from authcore.figures import MetricSample
from authcore.store.failures import CircuitOpen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

FAILURES: Final = 3
PROBE_SECONDS: Final = 0.25


async def ended(task: asyncio.Task[Any]) -> None:
    """Cancel a task that may be in a library that swallows a cancellation coming at the wrong moment."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.1)


class Circuit:
    """Circuit breaker; it counts failures in a row.

    Attributes:
        is_open: No statement passes.
        silent_at: When a probe was last left without an answer, by the monotonic clock.
    """

    def __init__(self, probe: Callable[[], Awaitable[object]]) -> None:
        """Use `probe`, which returns if the database answers and raises in bounded time if not."""
        self._probe = probe
        self._failures = 0
        self._probing: asyncio.Task[None] | None = None
        self._under_way: set[asyncio.Timeout] = set()
        self.is_open = False
        self._opened = self._refused = 0
        self.silent_at = -math.inf

    def __repr__(self) -> str:
        return f"circuit {'open' if self.is_open else 'closed'}"

    @asynccontextmanager
    async def passed(self) -> AsyncIterator[None]:
        """Run a statement in the block.

        Raises:
            StoreUnavailable: The circuit is open.
            TimeoutError: The circuit opened while the statement was under way.
        """
        if self.is_open:
            self._refused += 1
            raise StoreUnavailable from CircuitOpen("the database did not answer lately")
        async with asyncio.timeout(None) as way:
            self._under_way.add(way)
            try:
                yield
            finally:
                self._under_way.discard(way)

    def succeeded(self) -> None:
        """Record an answer."""
        self._failures = 0

    def failed(self) -> None:
        """Record that there was no answer."""
        self._failures += 1
        if self._failures >= FAILURES:
            self._open()

    def suspect(self) -> None:
        """Probe in the background whether the database still answers, as another connection got no answer."""
        if self._probing is None:
            self._start_probing()

    async def recover(self) -> None:
        """Probe now, as another connection got an answer, and close the circuit; raise the error of the probe."""
        if self.is_open:
            await self._probe()
            self._close()

    def _close(self) -> None:
        self._failures = 0
        self.is_open = False

    def _open(self) -> None:
        if self.is_open:
            return
        self.is_open = True
        self._opened += 1
        now = asyncio.get_running_loop().time()
        for way in self._under_way:
            if not way.expired():
                way.reschedule(now)
        if self._probing is None:
            self._start_probing()

    def _start_probing(self) -> None:
        self._probing = asyncio.get_running_loop().create_task(self._probe_until_it_answers())

    async def _probe_until_it_answers(self) -> None:
        try:
            while True:
                if self.is_open:
                    await asyncio.sleep(PROBE_SECONDS)
                try:
                    await self._probe()
                except Exception:  # noqa: BLE001 - of whatever kind: it is not there
                    self.silent_at = time.monotonic()
                    self._open()
                else:
                    self._close()
                    return
        finally:
            self._probing = None

    async def close(self) -> None:
        """End the probe."""
        if self._probing is not None:
            await ended(self._probing)

    def figures(self) -> Iterable[MetricSample]:
        """Return the metrics to publish."""
        yield MetricSample("circuit_open", "1 while the database is not asked.", lambda: float(self.is_open))
        yield MetricSample("circuit_opened", "Times the circuit opened.", lambda: self._opened, counts=True)
        yield MetricSample(
            "circuit_refused", "Statements that were not even tried.", lambda: self._refused, counts=True
        )
