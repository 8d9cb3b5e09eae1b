"""Garbage-collector settings for a large, long-lived, mostly acyclic heap: no pause is longer than a few milliseconds.

With the defaults (a young collection per 700 objects, a full one per 70,000) the collector scans long-lived objects
again and again: connections, routes, cached principals. At 256 connections that was a sixth of a request's CPU, and
with 100,000 identities one scan of all takes a quarter of a second. Laws:

- What is there when the gateway begins to listen is exempt, and is not searched before: some 700 objects of it are
  garbage that imports made, and the search would take a tenth of the start.
- A full collection that took longer than ``LONG_SECONDS`` exempts what it left. So the next one is short, and a pause
  is as long as what came since takes, however much there is.
- What is exempt is freed as ever when nothing refers to it any more. Only a cycle in it stays for good: what ends
  leaves none (``tests/flow/test_garbage.py``).
- The collector counts what is made less what is freed. Identities that take the place of others do not show there, so
  ``MANY`` of them are a reason to collect, too.
"""

from __future__ import annotations

import asyncio
import gc
import time
from typing import TYPE_CHECKING, Final

from authcore.figures import Histogram

if TYPE_CHECKING:
    from collections.abc import Callable

YOUNG: Final = 10_000
"""Net allocations between two young collections; a burst of requests in flight stays below this number."""
NEXT: Final = 0
"""Collections of a generation between two of the next: of three collections, the third is a full one."""
LONG_SECONDS: Final = 0.001
MANY: Final = 500
LOOK_SECONDS: Final = 0.25

PAUSES: Final = Histogram((0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1))
"""Collections of this process since `settle`, by how long each stopped everything, in seconds."""
_FULL: Final = 2


class Collector:
    """Watch over the garbage collector: it times each collection, and exempts what a long one left."""

    def __init__(self, loads: Callable[[], int]) -> None:
        """`loads` returns how many identities were loaded so far, the forgotten ones included."""
        self._loads = loads
        self._at_last = 0
        self._begun = self._used = 0.0

    def __call__(self, phase: str, figures: dict[str, int]) -> None:
        """Note the begin or the end of a collection; the collector calls this."""
        if phase == "start":
            self._begun, self._used = time.perf_counter(), time.thread_time()
            return
        PAUSES.add(time.perf_counter() - self._begun)
        if figures["generation"] == _FULL:
            self._at_last = self._loads()
            # Of this thread: others may have had the processor.
            if time.thread_time() - self._used > LONG_SECONDS:
                gc.freeze()

    def look(self) -> None:
        """Collect if many identities have come since the last full collection; and again soon."""
        asyncio.get_running_loop().call_later(LOOK_SECONDS, self.look)
        if self._loads() - self._at_last >= MANY:
            gc.collect()


def settle(loads: Callable[[], int]) -> None:
    """Exempt all present objects, which live until the end, and collect the rest less often.

    Args:
        loads: Returns how many identities were loaded so far, the forgotten ones included.
    """
    gc.freeze()
    gc.set_threshold(YOUNG, NEXT, NEXT)
    collector = Collector(loads)
    gc.callbacks.append(collector)
    collector.look()
