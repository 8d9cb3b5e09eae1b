"""Pause-aware timers: the time in which this process stood still does not count against another party.

A process is paused when its container is frozen or throttled, its machine is moved or suspended, or one of its own
callbacks takes long. Its timers are then due all at once, before it has read what the other side sent meanwhile. A
timer that took this for silence would refuse requests that were answered, and have healthy servers ejected.

Laws:

- A timer that comes more than ``LATE_SECONDS`` late was held up by its own process. It runs once more: as long as it
  was late and ``READING_SECONDS``, but no longer than its whole time. So it ends however busy the process is.
- One that comes in time ends at once.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

LATE_SECONDS: Final = 0.1
"""A timer that is later than this was held up. The turns of a busy event loop are shorter."""
READING_SECONDS: Final = 1.0
"""Time to read what came during the pause, and to wait for what could be asked for only after it."""


class PauseAwareTimer:
    """Timer that calls back once, and allows for a pause of the process; see the laws above."""

    __slots__ = ("_callback", "_due", "_handle", "_seconds", "_was_held_up")

    def __init__(self, seconds: float, callback: Callable[[], object]) -> None:
        """Call `callback` after `seconds`, unless the timer is cancelled before."""
        self._seconds = seconds
        self._callback: Callable[[], object] | None = callback
        self._was_held_up = False
        self._due = 0.0
        self._handle: asyncio.TimerHandle | None = None
        self._start(seconds)

    @property
    def left(self) -> float:
        """The seconds that are left, as they would be if the timer came now."""
        left = self._due - time.monotonic()
        return max(left, 0.0) if self._was_held_up or -left <= LATE_SECONDS else self._again(-left)

    def cancel(self) -> None:
        """Call nobody back."""
        self._callback = None  # it may refer to whoever refers to this timer
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _start(self, seconds: float) -> None:
        self._due = time.monotonic() + seconds
        self._handle = asyncio.get_running_loop().call_later(seconds, self._expire)

    def _again(self, late: float) -> float:
        return min(late + READING_SECONDS, self._seconds)

    def _expire(self) -> None:
        self._handle = None
        late = time.monotonic() - self._due
        if late > LATE_SECONDS and not self._was_held_up:
            self._was_held_up = True
            self._start(self._again(late))
        elif self._callback is not None:
            callback, self._callback = self._callback, None
            callback()


class PauseAwareTimeout:
    """``asyncio.timeout`` that allows for a pause of the process; an asynchronous context manager.

    Its block ends with ``TimeoutError`` after the seconds.
    """

    __slots__ = ("_scope", "_seconds", "_timer")

    def __init__(self, seconds: float | None) -> None:
        """Bound the block to `seconds`; None sets no bound."""
        self._seconds = seconds
        self._scope = asyncio.timeout(None)
        self._timer: PauseAwareTimer | None = None

    async def __aenter__(self) -> None:
        await self._scope.__aenter__()
        if self._seconds is not None:
            self._timer = PauseAwareTimer(self._seconds, self._expire)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self._scope.__aexit__(kind, error, traceback)

    def _expire(self) -> None:
        self._scope.reschedule(asyncio.get_running_loop().time())
