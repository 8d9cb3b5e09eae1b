"""Waiting room before an upstream that restarts: a bounded queue of requests, of which the first one tries to connect.

Laws:

- The first in the queue leads: it alone tries to reach the upstream. If it leaves, the next one leads.
- When the upstream is reached, all go, in the order in which they came.
- Past its bound nobody is let in.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class WaitingRoom(Generic[T]):
    """Waiting room of one upstream, of turns that the caller makes.

    Attributes:
        most: Most turns that wait.
        entered: Turns that have waited so far.
    """

    def __init__(self, most: int = 0) -> None:
        self.most = most
        self.entered = 0
        self._queue: deque[T] = deque()

    def __len__(self) -> int:
        return len(self._queue)

    def join(self, turn: T) -> bool:
        """Add a turn at the end; return False if the room is full."""
        if len(self._queue) >= self.most:
            return False
        self._queue.append(turn)
        self.entered += 1
        return True

    def leads(self, turn: T) -> bool:
        """Return whether a turn is the first."""
        return bool(self._queue) and self._queue[0] is turn

    def leave(self, turn: T) -> T | None:
        """Remove a turn, if it is there; return the one that leads from now on because of it."""
        led = self.leads(turn)
        for place, other in enumerate(self._queue):
            if other is turn:
                del self._queue[place]
                break
        return self._queue[0] if led and self._queue else None

    def open(self) -> list[T]:
        """Remove every turn, and return them in order."""
        turns = list(self._queue)
        self._queue.clear()
        return turns
