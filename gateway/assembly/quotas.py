"""Quota synchronizer: it settles the ledger with the database in the background, and returns its leases at the end."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import structlog

from authcore.errors import StoreUnavailable
from authcore.figures import MetricSample
from authcore.quota_ledger import BATCH, PERIODS, QuotaLedger
from authcore.quotas import Period, QuotaKey, SubjectKind, window
from authcore.store.failures import classify

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from authcore.quotas import Standing, Usual
    from authcore.store.clock import DatabaseClock
    from authcore.store.postgres import PostgresStore
    from config.settings import Settings

GAP_SECONDS: Final = 0.02
"""Between two statements, at least: what comes meanwhile is settled together."""
LEARN_SECONDS: Final = 0.25
"""What the first request of a caller waits for its counts, at most; it then goes on as a debt."""
_LAST_SECONDS: Final = 2.0
"""What returning the leases may take at the end; one that is not returned is lost, as by a crash."""

log = structlog.get_logger()


class QuotaService:
    """Quotas of one process: its ledger, and the exchange with the database.

    Attributes:
        ledger: The ledger that requests are charged to.
    """

    def __init__(self, settings: Settings, store: PostgresStore, clock: DatabaseClock) -> None:
        quota = settings.quota
        self._usual = usual_quotas(settings)
        self._store = store
        self._clock = clock
        self._seconds = quota.sync_seconds
        self._process = uuid4()
        self._due = asyncio.Event()
        self._turn = asyncio.Lock()
        self._trouble = ""
        self._settled = 0
        self._failed = 0
        self.ledger = QuotaLedger(
            self._usual, slack=quota.slack, is_open=quota.store_away == "open", wake=self._due.set
        )

    async def turn(self) -> None:
        """Wait until a count should be settled, or it is time, and settle; the task runs this again and again."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._seconds):
                await self._due.wait()
        self._due.clear()
        # Shielded: a statement that is broken off at the end would lose the leases that its answer grants.
        if not await asyncio.shield(self.settle()):
            await asyncio.sleep(self._seconds)

    async def settle(self, *, last: bool = False) -> bool:
        """Settle the ledger with the database; return False if it does not answer. `last` returns the leases."""
        async with self._turn:
            return await self._settle(last=last)

    async def learn(self) -> None:
        """Ask the database for counts that are not known yet, and wait for the answer, unless the database is away."""
        if self._trouble:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(LEARN_SECONDS):
                await asyncio.shield(self.settle())

    async def _settle(self, *, last: bool = False) -> bool:
        while (batch := self.ledger.batch(self._clock.now(), last=last)) is not None:
            try:
                standings = await self._store.settle_quotas(self._process, batch, self._usual)
            except StoreUnavailable as error:
                self._failed += 1
                self._note(classify(error.__cause__).sentence)
                return False
            self._settled += 1
            self._note("")
            self.ledger.settled(batch, standings)
            if len(batch.asks) < BATCH and not last:
                break
        return True

    def _note(self, trouble: str) -> None:
        if bool(trouble) != bool(self._trouble):
            if trouble:
                log.warning(
                    "quotas_not_settled", error=trouble, meaning="requests are counted, and settled later"
                )
            else:
                log.info("quotas_settled_again")
        self._trouble = trouble

    async def close(self) -> None:
        """Settle the rest and return the leases, if the database answers in time."""
        try:
            async with asyncio.timeout(_LAST_SECONDS):
                await self.settle(last=True)
        except TimeoutError:
            log.warning(
                "quotas_not_settled", error="no answer in time", meaning="leases of this process are lost"
            )

    async def purge(self) -> int:
        """Delete windows that are long over; return how many."""
        return await self._store.purge_quotas(self._clock.now())

    async def usage(self, kind: SubjectKind, subject: UUID, now: float) -> dict[Period, Standing]:
        """Return where a subject's counts stand, with all that this process let through and without its leases.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        keys = [QuotaKey(kind, subject, period, window(period, now).starts) for period in PERIODS]
        async with self._turn:
            await self._settle()
            found = await self._store.quota_standings(keys, self._usual)
            return {
                key.period: standing._replace(used=max(0, standing.used + self.ledger.beyond(key)))
                for key, standing in found.items()
            }

    def figures(self) -> Iterable[MetricSample]:
        """Return the metrics to publish."""
        ledger = self.ledger
        yield MetricSample(
            "subjects", "API keys and organizations whose requests are counted.", lambda: len(ledger)
        )
        yield MetricSample(
            "refused", "Requests refused as over a quota.", lambda: ledger.refused, counts=True
        )
        yield MetricSample(
            "unknown", "Requests refused as no quota could be read.", lambda: ledger.unknown, counts=True
        )
        yield MetricSample("batches", "Batches of counts settled.", lambda: self._settled, counts=True)
        yield MetricSample(
            "batches_failed", "Batches that the database did not answer.", lambda: self._failed, counts=True
        )
        yield MetricSample(
            "away", "1 while the database does not answer batches.", lambda: float(bool(self._trouble))
        )


def usual_quotas(settings: Settings) -> Usual:
    """Return the quotas of subjects that have none of their own."""
    quota = settings.quota
    return {
        (SubjectKind.API_KEY, Period.DAY): quota.key_day or None,
        (SubjectKind.API_KEY, Period.MONTH): quota.key_month or None,
        (SubjectKind.ORGANIZATION, Period.DAY): quota.organization_day or None,
        (SubjectKind.ORGANIZATION, Period.MONTH): quota.organization_month or None,
    }


def build_quotas(settings: Settings, store: PostgresStore, clock: DatabaseClock) -> QuotaService | None:
    """Build the quotas; None if they are off."""
    return QuotaService(settings, store, clock) if settings.quotas else None
