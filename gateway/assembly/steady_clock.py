"""Steady clock of this machine: seconds since it started. Nobody sets it, and it goes on while the machine sleeps."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

# CLOCK_MONOTONIC of Linux stands still while the machine is suspended, and tokens would be good for longer then.
_BOOT: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None)
steady: Final[Callable[[], float]] = time.monotonic if _BOOT is None else partial(time.clock_gettime, _BOOT)
"""Read the clock, in seconds; only differences mean anything."""
