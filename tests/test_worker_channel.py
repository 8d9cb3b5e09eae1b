"""The channel of a worker: connections through it, and what both ends see of each other's end."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING

import pytest
import uvloop

from gateway.worker_channel import ParentEnd, WorkerEnd
from tests.support.peers import PATIENCE

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable


@asynccontextmanager
async def ends() -> AsyncIterator[tuple[ParentEnd, WorkerEnd]]:
    parent = ParentEnd()
    with parent.far:
        worker = WorkerEnd(os.dup(parent.far.fileno()))
    with closing(parent):
        yield parent, worker
    worker.close()


async def test_a_connection_of_before_the_worker_serves_is_taken_when_it_does() -> None:
    async with ends() as (parent, worker):
        mine = parent.connect()
        assert not parent.is_served
        taken: asyncio.Queue[socket.socket] = asyncio.Queue()
        worker.accept(taken.put_nowait)
        assert parent.is_served
        theirs = await asyncio.wait_for(taken.get(), PATIENCE)
        with mine, theirs:
            mine.sendall(b"question")
            assert theirs.recv(100) == b"question"
        assert not worker.parent_gone.is_set()
        parent.close()
        await asyncio.wait_for(worker.parent_gone.wait(), PATIENCE)


async def test_a_worker_that_never_served_sees_that_its_parent_is_gone() -> None:
    async with ends() as (parent, worker):
        parent.close()
        worker.accept(lambda _: None)
        await asyncio.wait_for(worker.parent_gone.wait(), PATIENCE)


async def seen_of_a_parent_that_asked(number: int) -> int:
    """Return how many connections a worker takes whose parent was killed as it asked; it sees that the parent is gone.

    What the parent has not read of the worker's makes its end a reset.
    """
    async with ends() as (parent, worker):
        taken: list[socket.socket] = []
        worker.accept(taken.append)
        await asyncio.sleep(0)
        for _ in range(number):
            parent.connect().close()
        parent.close()
        await asyncio.wait_for(worker.parent_gone.wait(), PATIENCE)
        for one in taken:
            one.close()
        return len(taken)


@pytest.mark.parametrize("loop", [uvloop.new_event_loop, asyncio.new_event_loop])
@pytest.mark.parametrize("number", [1, 2])
def test_a_worker_whose_parent_is_gone_sees_it_behind_connections(
    number: int, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(seen_of_a_parent_that_asked(number)) == number


def test_a_connection_that_was_not_taken_ends_with_the_process() -> None:
    with closing(ParentEnd()) as parent:
        with parent.connect() as mine:
            parent.far.close()
            mine.settimeout(PATIENCE)
            assert mine.recv(1) == b""
        with pytest.raises(BrokenPipeError):
            parent.connect()


def test_a_worker_that_takes_nothing_never_blocks_its_parent() -> None:
    refused = pytest.raises(OSError, match=r"Resource temporarily unavailable|Too many references")
    with closing(ParentEnd()) as parent, parent.far, refused:
        while True:
            parent.connect().close()
