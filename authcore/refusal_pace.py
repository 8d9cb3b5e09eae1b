"""Constant-time pace of refusals: how long an attempt that is not tried takes, so that it looks like one that was.

Laws:

- A refusal takes as long as the longest of the failures proved lately, but no longer than twice their median, and than
  ``MOST_SECONDS``: it follows the cost of passwords and the speed of the machine, and no single stall.
- Only failures at a password count, all of which cost the same, and only those that found no other attempt of their
  network under way: nobody makes refusals quick by work that is cheap, or slow by much of it at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from statistics import median
from typing import Final

FIRST_SECONDS: Final = 0.25
"""What a failure is taken to last before one was seen."""
MOST_SECONDS: Final = 2.0
"""A refusal waits no longer: a failure that took longer met a gateway that was overloaded."""
_REMEMBERED: Final = 32


class RefusalPace:
    """Pace of refusals, learnt from failures.

    Attributes:
        seconds: How long a refusal takes from the attempt's beginning.
    """

    def __init__(self) -> None:
        self._lately: deque[float] = deque(maxlen=_REMEMBERED)
        self.seconds = FIRST_SECONDS

    def failed(self, seconds: float) -> None:
        """Learn how long a failure took."""
        self._lately.append(seconds)
        self.seconds = min(MOST_SECONDS, max(self._lately), 2 * median(self._lately))

    async def keep(self, began: float) -> None:
        """Wait until an attempt that `began` then, by the loop's clock, has taken its time."""
        rest = began + self.seconds - asyncio.get_running_loop().time()
        if rest > 0:
            await asyncio.sleep(rest)
