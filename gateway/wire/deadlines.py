"""Deadline sweeper: one timer enforces the deadlines of all connections.

A timer per request would be a heap push and a cancelled entry per request. One sweep over the open connections every
quarter second costs next to nothing. The price: a deadline fires up to one sweep late. It is early by as much as the
sweep before it came late, a quarter second at most.

Laws:

- A connection sets ``deadline`` (loop time, or None) as often as it likes. When the deadline has passed, the sweeper
  sets it to None and then calls ``expire``. One that an expiry of the same sweep has set anew has not passed, and what
  is not watched any more has none.
- Time in which the event loop stood still for more than a sweep counts against nobody: all deadlines are that much
  later. What the other sides sent meanwhile has not been read yet (see :mod:`authcore.pause_aware`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Protocol

SWEEP_SECONDS: Final = 0.25
_LOOKED_BACK: Final = 40
"""Number of sweeps whose lateness is stored: ten seconds of them."""


class Timed(Protocol):
    """Object with a deadline."""

    deadline: float | None

    def expire(self) -> None:
        """Handle the deadline that has passed."""


class Deadlines:
    """Deadline sweeper of one event loop.

    Attributes:
        now: The loop's clock as of the last sweep: cheap to read, and at most one sweep old.
        watched: The objects whose deadlines are enforced.
        lateness: By how many seconds the last sweeps came late, which is how long the event loop was blocked.
    """

    __slots__ = ("_due", "_loop", "_timer", "lateness", "now", "watched")

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.now = self._due = 0.0
        self.lateness: deque[float] = deque(maxlen=_LOOKED_BACK)
        self.watched: set[Timed] = set()

    def start(self) -> None:
        """Start sweeping on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time()
        self._sweep()

    def stop(self) -> None:
        """Stop sweeping."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def after(self, seconds: float) -> float:
        """Return the deadline that is `seconds` away from now, which is up to one sweep after ``now``: it is added."""
        return self.now + seconds + SWEEP_SECONDS

    def _sweep(self) -> None:
        if self._loop is None:
            return
        self._timer = self._loop.call_later(SWEEP_SECONDS, self._sweep)
        now = self.now = self._loop.time()
        late = max(now - self._due, 0.0)
        self.lateness.append(late)
        self._due = now + SWEEP_SECONDS
        if late > SWEEP_SECONDS:
            self._postpone(late)
        for timed in [one for one in self.watched if one.deadline is not None and one.deadline <= now]:
            # An expiry before this one may have ended it, or given it a new deadline: exchanges go on in that call.
            if timed in self.watched and timed.deadline is not None and timed.deadline <= now:
                timed.deadline = None
                timed.expire()

    def _postpone(self, seconds: float) -> None:
        for timed in self.watched:
            if timed.deadline is not None:
                timed.deadline += seconds
