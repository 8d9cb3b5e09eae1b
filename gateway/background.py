"""Scheduler of background tasks: periodic work, and work that is done once, beside the requests.

Law: a task that fails is logged and runs again at its next time; it does not affect anything else.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

from authcore.errors import StoreUnavailable
from authcore.store.circuit import ended
from authcore.store.failures import classify

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    Work = Callable[[], Awaitable[object] | None]

log = structlog.get_logger()


class BackgroundTasks:
    """Background tasks of a gateway."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def every(self, seconds: float, name: str, work: Work) -> None:
        """Run `work` every `seconds`, for the first time after `seconds`."""
        self._begin(self._repeat(seconds, name, work), name)

    def once(self, name: str, work: Work) -> None:
        """Run `work` once, now, in the background."""
        self._begin(attempt(name, work), name)

    def _begin(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _repeat(self, seconds: float, name: str, work: Work) -> None:
        while True:
            await asyncio.sleep(seconds)
            await attempt(name, work)

    async def stop(self) -> None:
        """Cancel every task, including one inside a library that swallows a cancellation."""
        await asyncio.gather(*(ended(task) for task in [*self._tasks]))


async def attempt(name: str, work: Work) -> None:
    """Run `work` once, and log its failure."""
    try:
        under_way = work()
        if under_way is not None:
            await under_way
    except StoreUnavailable as error:
        log.warning("chore_put_off", chore=name, error=classify(error.__cause__).sentence)
    except Exception:  # see the law
        log.exception("chore_failed", chore=name)
