"""Chores: done again and again, and over when they are told to be."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from gateway.chores import Chores

PATIENCE = 10


async def test_a_chore_whose_library_swallows_a_cancellation_ends_all_the_same() -> None:
    """A driver that has just been answered does so, and the watch over sockets asks as soon as one opens."""
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

    chores = Chores()
    chores.once("watch", watch)
    await begun.wait()
    await asyncio.wait_for(chores.stop(), PATIENCE)
    assert swallowed == 1
