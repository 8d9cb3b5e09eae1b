"""Background tasks: they end when they are stopped."""

from __future__ import annotations

import asyncio
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
