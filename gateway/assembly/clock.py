"""Clock watch: it measures the database's clock periodically, and warns if this machine's clock differs."""

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
    """Clock watch: it warns of a difference at once, and then every ten minutes as long as it lasts."""

    def __init__(self, clock: DatabaseClock, *, skew_seconds: float, steady: Callable[[], float]) -> None:
        """It warns if the difference exceeds `skew_seconds`; `steady` is a monotonic clock, in seconds."""
        self._clock = clock
        self._skew_seconds = skew_seconds
        self._steady = steady
        self._warned: float | None = None

    async def look(self) -> None:
        """Measure the difference; other parts report a database that does not answer."""
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
