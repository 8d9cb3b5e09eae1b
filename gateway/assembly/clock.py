"""Measuring the database's clock again and again, and the event when this machine's differs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from authcore.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from authcore.store.clock import DatabaseClock

CLOCK_SECONDS: Final = 5
_QUIET_SECONDS: Final = 600

log = structlog.get_logger()


class ClockWatch:
    """Measures, and warns of a difference: at once, then every ten minutes as long as it lasts."""

    def __init__(self, clock: DatabaseClock, *, skew_seconds: float, steady: Callable[[], float]) -> None:
        """A difference over `skew_seconds` is warned of; `steady` is a clock that nobody sets."""
        self._clock = clock
        self._skew_seconds = skew_seconds
        self._steady = steady
        self._warned: float | None = None

    async def look(self) -> None:
        """Measure; a database that does not answer is others' to tell of."""
        try:
            skew = await self._clock.measure()
        except StoreUnavailable:
            return
        if abs(skew) <= self._skew_seconds:
            if self._warned is not None:
                log.info("clock_agrees", skew_seconds=round(skew, 3))
            self._warned = None
            return
        now = self._steady()
        if self._warned is None or now - self._warned >= _QUIET_SECONDS:
            self._warned = now
            log.warning(
                "clock_skewed",
                skew_seconds=round(skew, 3),
                meaning="this machine's clock is ahead of the database's by so much; the database's is used",
                todo="let both follow a time server (chrony, systemd-timesyncd)",
            )
