"""Shared limits: the exchange of leases with the store in the background, and its figures."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog

from authcore.figures import MetricSample
from config.rereading import reread
from gateway.limits.lease_book import BATCH, LeaseBook
from gateway.limits.shared import SharedLimit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from authcore.store.dialled_loop import Dial
    from config.settings import Settings
    from gateway.limits.limit import Limit
    from gateway.limits.redis_store import RedisStore

GAP_SECONDS: Final = 0.005
"""Between two exchanges, at least: what comes meanwhile is settled together."""
TICK_SECONDS: Final = 0.25
"""Leases are looked at so often, though none runs low: those at rest are returned."""
AWAY_SECONDS: Final = 1.0
"""A store that did not answer is asked again after this."""
_LAST_SECONDS: Final = 2.0
_LATE: Final = "no answer in time"

log = structlog.get_logger()


class SharedLimits:
    """Shared limits of one process.

    Attributes:
        book: Its leases.
    """

    def __init__(self, store: RedisStore, *, shares: int, closed: bool) -> None:
        """`closed` holds for limits that say nothing else; `shares` is how many processes share the limits."""
        self._store = store
        self._closed = closed
        self._due = asyncio.Event()
        self._turn = asyncio.Lock()
        self._exchanges = self._failures = 0
        self.book = LeaseBook(shares, self._due.set)

    def of(self, limit: Limit, *, closed: bool | None) -> SharedLimit:
        """Return the leases of a limit; `closed` is None if it says nothing."""
        return SharedLimit(limit, self.book, closed=self._closed if closed is None else closed)

    async def turn(self) -> None:
        """Wait until a lease should be renewed, or it is time, and exchange; the task runs this again and again."""
        with suppress(TimeoutError):
            async with asyncio.timeout(AWAY_SECONDS if self.book.is_away else TICK_SECONDS):
                await (asyncio.sleep(AWAY_SECONDS) if self.book.is_away else self._due.wait())
        self._due.clear()
        # Shielded: one that is broken off at the end would lose the leases that its answer grants.
        await asyncio.shield(self.exchange())

    async def exchange(self, *, last: bool = False) -> bool:
        """Exchange leases with the store; return False if it does not answer. `last` returns the leases."""
        async with self._turn:
            while True:
                asks = self.book.asks(time.monotonic(), last=last)
                if not asks and not self.book.is_away:
                    return True
                try:
                    if asks:
                        grants = await self._store.exchange(asks)
                    else:
                        await self._store.ping()
                        grants = []
                except Exception as error:  # noqa: BLE001 -- also whatever the library makes of a server that is no Redis
                    for ask in asks:
                        self.book.failed(ask)
                    self._failed(error)
                    return False
                self._answered()
                now = time.monotonic()
                for ask, grant in zip(asks, grants, strict=True):
                    self.book.granted(ask, grant, now)
                if len(asks) < BATCH and not last:
                    return True

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        if not self.book.is_away:
            log.warning(
                "limits_store_away",
                error=str(error) or (_LATE if isinstance(error, TimeoutError) else type(error).__name__),
                meaning="limits whose store_away is closed refuse, and of the others each process grants its share",
                advice="check that Redis or Valkey runs, that GATEWAY_LIMITS_URL names it (rediss:// for TLS), that "
                "it takes writes of its user, and that it answers within GATEWAY_LIMITS_TIMEOUT_SECONDS",
            )
        self.book.is_away = True

    def _answered(self) -> None:
        self._exchanges += 1
        if self.book.is_away:
            log.info("limits_store_back")
        self.book.is_away = False

    async def close(self) -> None:
        """Return the leases, if the store answers in time, and close every connection."""
        try:
            async with asyncio.timeout(_LAST_SECONDS):
                if not self.book.is_away:
                    await self.exchange(last=True)
        except TimeoutError:
            log.warning("limits_store_away", error=_LATE, meaning="leases of this process are lost")
        finally:
            await self._store.close()

    def figures(self) -> Iterable[MetricSample]:
        """Return the metrics to publish."""
        book = self.book
        yield MetricSample(
            "up",
            "1 while the store of shared limits answers and takes writes.",
            lambda: float(not book.is_away),
        )
        yield MetricSample("leases", "Leases of callers.", lambda: len(book))
        yield MetricSample("leased_units", "Units held as leases.", lambda: book.held)
        yield MetricSample(
            "exchanges", "Exchanges with the store of shared limits.", lambda: self._exchanges, counts=True
        )
        yield MetricSample("failures", "Exchanges that failed.", lambda: self._failures, counts=True)


def build_shared_limits(settings: Settings, processes: int, dial: Dial) -> SharedLimits | None:
    """Build the shared limits; None if no store is set. `dial` opens the TCP connections to it."""
    limits = settings.limits
    if limits.url is None:
        return None
    from gateway.limits.redis_store import RedisStore  # noqa: PLC0415 -- nothing of Redis without its URL

    url = limits.url.get_secret_value()
    store = RedisStore(
        url,
        timeout_seconds=limits.timeout_seconds,
        present_url=reread(settings, "GATEWAY_LIMITS_URL", url),
        dial=dial,
    )
    return SharedLimits(store, shares=limits.replicas * processes, closed=limits.store_away == "closed")
