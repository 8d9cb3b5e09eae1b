"""Every deadline of every connection, kept by one sweeping timer.

A timer per request is a heap push and a cancelled entry per request; one sweep over the open connections every
quarter second is nothing. The price: a deadline fires up to one sweep late, never early.

Law: a connection sets ``deadline`` (loop time, or None) as often as it likes; the sweeper calls ``expire`` when it has
passed, having cleared it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Protocol

SWEEP_SECONDS: Final = 0.25
_LOOKED_BACK: Final = 40
"""Sweeps whose lateness is remembered: ten seconds of them."""


class Timed(Protocol):
    """Something with a deadline."""

    deadline: float | None

    def expire(self) -> None:
        """Act on the deadline that has passed."""


class Deadlines:
    """The sweeper.

    Attributes:
        now: The loop's clock as of the last sweep: cheap, and at most one sweep old.
        watched: Those whose deadlines are kept.
        lateness: How late the last sweeps came, in seconds: what the event loop kept everybody waiting.
    """

    __slots__ = ("_due", "_loop", "_timer", "lateness", "now", "watched")

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.now = self._due = 0.0
        self.lateness: deque[float] = deque(maxlen=_LOOKED_BACK)
        self.watched: set[Timed] = set()

    def start(self) -> None:
        """Begin to sweep, on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time()
        self._sweep()

    def stop(self) -> None:
        """Sweep no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def after(self, seconds: float) -> float:
        """Return the deadline that is `seconds` away, rounded up by one sweep so that it is never early."""
        return self.now + seconds + SWEEP_SECONDS

    def _sweep(self) -> None:
        if self._loop is None:
            return
        self._timer = self._loop.call_later(SWEEP_SECONDS, self._sweep)
        now = self.now = self._loop.time()
        self.lateness.append(max(now - self._due, 0.0))
        self._due = now + SWEEP_SECONDS
        for timed in [one for one in self.watched if one.deadline is not None and one.deadline <= now]:
            timed.deadline = None
            timed.expire()
