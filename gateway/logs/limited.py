"""Rate limiter for events: the first of a kind is logged at once, and repetitions periodically with their number.

Laws:

- One kind, named by the event and a key, is logged at most once in ``seconds``. The events left out are counted, and
  the next logged one has the number as ``repeated``.
- The number of kinds is bounded: past ``MOST_KINDS`` the least recent is forgotten, and is logged at once when it comes
  again.
- Any thread may log.
"""

from __future__ import annotations

import math
import time
from threading import Lock
from typing import TYPE_CHECKING, Final

import structlog
from cachetools import LRUCache

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_KINDS: Final = 256
EVENT_SECONDS: Final = 60.0


class LimitedEvents:
    """Logger that limits the rate of repeated events."""

    def __init__(self, seconds: float = EVENT_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        """At least `seconds` lie between two events of a kind, measured by `clock`, which returns seconds."""
        self._seconds = seconds
        self._clock = clock
        self._lock = Lock()
        self._kinds: LRUCache[tuple[str, str], tuple[float, int]] = LRUCache(MOST_KINDS)
        self._log = structlog.get_logger()

    def warning(self, event: str, *, key: str = "", **fields: object) -> bool:
        """Log a warning, unless the same `event` and `key` was logged just before; return whether it was."""
        return self._limited(self._log.warning, event, key, fields)

    def notice(self, event: str, *, key: str = "", **fields: object) -> bool:
        """Log an event that needs nobody's attention, at the same rate; return whether it was logged."""
        return self._limited(self._log.info, event, key, fields)

    def record(self, kind: str, write: Callable[..., object], fields: dict[str, object]) -> None:
        """Call `write` with `fields`, for something of a `kind` that is no event of ours, at the same rate."""
        self._limited(lambda _, **rest: write(**rest), kind, "", fields)

    def _limited(self, write: Callable[..., object], event: str, key: str, fields: dict[str, object]) -> bool:
        now, kind = self._clock(), (event, key)
        with self._lock:
            logged, left_out = self._kinds.get(kind, (-math.inf, 0))
            if now - logged < self._seconds:
                self._kinds[kind] = (logged, left_out + 1)
                return False
            self._kinds[kind] = (now, 0)
        if left_out:
            fields["repeated"] = left_out
        write(event, **fields)
        return True
