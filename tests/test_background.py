"""Background tasks: they end when they are stopped."""

from __future__ import annotations

import asyncio
import weakref
from contextlib import suppress

from gateway.background import BackgroundTasks

PATIENCE = 10


async def test_a_chore_whose_library_swallows_a_cancellation_ends_all_the_same() -> None:
    """The database driver swallows a cancellation that comes just after an answer."""
    begun, swallowed = asyncio.Event(), 0

    async def watch() -> None:
        nonlocal swallowed
        while True:
            with suppress(asyncio.CancelledError):
                begun.set()
                await asyncio.sleep(PATIENCE * 2)
            swallowed += 1
            if swallowed == 1:
                await asyncio.sleep(PATIENCE * 2)

    chores = BackgroundTasks()
    chores.once("watch", watch)
    await begun.wait()
    await asyncio.wait_for(chores.stop(), PATIENCE)
    assert swallowed == 1


async def test_a_chore_that_is_done_once_is_not_held_any_more() -> None:
    """A gateway runs one for each SIGHUP."""
    held: list[weakref.ref[asyncio.Task[object]]] = []

    async def work() -> None:
        task = asyncio.current_task()
        assert task is not None
        held.append(weakref.ref(task))

    chores = BackgroundTasks()
    chores.once("reload", work)
    async with asyncio.timeout(PATIENCE):
        while not held or held[0]() is not None:
            await asyncio.sleep(0)
    await chores.stop()
