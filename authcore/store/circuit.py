"""The circuit before a database that does not answer: asked no more until a sign of life, and then at once.

Laws:

- Closed, statements go. After a few failures in a row it opens: statements fail at once, those under way too, and a
  probe of its own asks for a sign of life. No request is ever the one that tries.
- Only silence and refused connections count. A statement that was answered, if by an error, proves life.
- Waiting for the next probe is never longer than the database's absence is worth: a quarter of a second.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from authcore.errors import StoreUnavailable
from authcore.figures import Figure
from authcore.store.failures import CircuitOpen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

FAILURES: Final = 3
PROBE_SECONDS: Final = 0.25


async def ended(task: asyncio.Task[None]) -> None:
    """Cancel a task that may be in a library that swallows a cancellation coming at the wrong moment."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.1)


class Circuit:
    """Counts failures, and stands between."""

    def __init__(self, probe: Callable[[], Awaitable[object]]) -> None:
        """`probe` asks for a sign of life, in bounded time."""
        self._probe = probe
        self._failures = 0
        self._probing: asyncio.Task[None] | None = None
        self._under_way: set[asyncio.Timeout] = set()
        self.is_open = False
        self._opened = self._refused = 0

    @asynccontextmanager
    async def passed(self) -> AsyncIterator[None]:
        """Lead a statement through.

        Raises:
            StoreUnavailable: the circuit is open.
            TimeoutError: it opened while the statement was under way.
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
        """Note an answer."""
        self._failures = 0

    def failed(self) -> None:
        """Note that there was none."""
        self._failures += 1
        if self._failures >= FAILURES:
            self._open()

    def suspect(self) -> None:
        """Find out, beside the requests, whether the database still answers: elsewhere it did not."""
        if self._probing is None:
            self._start_probing()

    async def recover(self) -> None:
        """Ask for a sign of life now, since there was one elsewhere; without one, raise what the probe raises."""
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

    def figures(self) -> Iterable[Figure]:
        """What to publish."""
        yield Figure("circuit_open", "1 while the database is not asked.", lambda: float(self.is_open))
        yield Figure("circuit_opened", "Times the circuit opened.", lambda: self._opened, counts=True)
        yield Figure(
            "circuit_refused", "Statements that were not even tried.", lambda: self._refused, counts=True
        )
