"""Gathering of reads: questions that are asked at the same moment share one statement.

A statement for 16 subjects costs the database and this process a third of what 16 statements do, and one for a single
subject no more than before (bench/identity.md).

Laws:

- A question waits for no timer: a statement begins at the end of the loop's turn, or when one under way has ended.
- At most ``AT_ONCE`` statements are under way, of ``MOST`` questions each, in the order in which they were asked.
- A statement's error is that of each of its questions. A caller who leaves takes no other one along.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

Q = TypeVar("Q")
A = TypeVar("A")

MOST: Final = 32
"""Questions of a statement: so many answers come in one turn of the loop, which has to go on meanwhile."""
AT_ONCE: Final = 4
"""Statements under way: with more of them each has fewer questions, and costs more."""


class Gathering(Generic[Q, A]):
    """Gathering of the questions of one kind."""

    def __init__(self, read: Callable[[Sequence[Q]], Awaitable[Sequence[A]]]) -> None:
        """`read` answers questions by one statement, in their order."""
        self._read = read
        self._waiting: deque[tuple[Q, asyncio.Future[A]]] = deque()
        self._under_way: set[asyncio.Task[None]] = set()
        self._is_due = False

    async def ask(self, question: Q) -> A:
        """Return the answer.

        Raises:
            Exception: whatever `read` has raised.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[A] = loop.create_future()
        self._waiting.append((question, answer))
        if not self._is_due and len(self._under_way) < AT_ONCE:
            self._is_due = True
            loop.call_soon(self._begin)
        try:
            return await answer
        finally:  # an error of it has a traceback that refers to this frame: that would be a cycle
            del answer

    def _begin(self, _ended: object = None) -> None:
        """Begin statements for all that wait, as far as there may be more of them."""
        self._is_due = False
        while self._waiting and len(self._under_way) < AT_ONCE:
            some = [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST))]
            some = [(question, answer) for question, answer in some if not answer.done()]
            if some:
                task = asyncio.get_running_loop().create_task(self._answer(some))
                self._under_way.add(task)
                task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if self._waiting and not self._is_due:
            self._begin()

    async def _answer(self, some: list[tuple[Q, asyncio.Future[A]]]) -> None:
        try:
            found = await self._read([question for question, _ in some])
        except asyncio.CancelledError:
            for _, answer in some:
                answer.cancel()
            raise
        except Exception as error:  # noqa: BLE001 -- raised by each who asked
            _fail(some, error)
            some.clear()  # the error's traceback refers to this frame, and the answers to the error: a cycle
            return
        for (_, answer), one in zip(some, found, strict=True):
            if not answer.done():
                answer.set_result(one)


def _fail(some: Sequence[tuple[object, asyncio.Future[A]]], error: Exception) -> None:
    for _, answer in some:
        if not answer.done():
            answer.set_exception(error)
