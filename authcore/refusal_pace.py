"""Constant-time pace of refusals: how long an attempt that is not tried takes, so that it looks like one that was.

Laws:

- A refusal takes as long as the longest of the failures proved lately, up to ``MOST_SECONDS``: at whatever cost
  passwords are stored, and however busy the gateway is.
- Only failures at a password count, all of which cost the same: nobody makes refusals quick by work that is cheap.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

FIRST_SECONDS: Final = 0.25
"""What a failure is taken to last before one was seen."""
MOST_SECONDS: Final = 2.0
"""A refusal waits no longer: a failure that took longer met a gateway that was overloaded."""
_REMEMBERED: Final = 32


class RefusalPace:
    """Pace of refusals, learnt from failures."""

    def __init__(self) -> None:
        self._lately: deque[float] = deque([FIRST_SECONDS], maxlen=_REMEMBERED)

    @property
    def seconds(self) -> float:
        """How long a refusal takes from the attempt's beginning."""
        return min(MOST_SECONDS, max(self._lately))

    def failed(self, seconds: float) -> None:
        """Learn how long a failure took that was not held."""
        self._lately.append(seconds)

    async def keep(self, began: float) -> None:
        """Wait until an attempt that `began` then, by the loop's clock, has taken its time."""
        rest = began + self.seconds - asyncio.get_running_loop().time()
        if rest > 0:
            await asyncio.sleep(rest)
