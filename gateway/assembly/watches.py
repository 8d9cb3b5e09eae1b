"""Watches over the database: its clock, schema, rights and connections; and the log events of its failures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from authcore.errors import StoreUnavailable
from authcore.passwords.stored_hashes import MAX_COST, Unusable
from authcore.store.failures import classify
from authcore.store.migrate import MigrationChanged
from authcore.store.rights import Lacking
from authcore.store.schema import REMEDY
from gateway.logs.limited import LimitedEvents

if TYPE_CHECKING:
    from collections.abc import Callable

    from authcore.store.clock import DatabaseClock
    from authcore.store.failures import Failure
    from authcore.store.postgres import PostgresStore

log = structlog.get_logger()

CLOCK_SECONDS: Final = 5
_QUIET_SECONDS: Final = 600


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


COMPARE_SECONDS: Final = 3600
_BESIDE: Final = 2
"""Connections of each process besides its pool: one that listens, and one while another is renewed."""


async def compare_connections(store: PostgresStore, pool_max: int, processes: int) -> None:
    """Warn if `processes`, each with `pool_max` connections, may open more than the database allows.

    Raises:
        StoreUnavailable: the database does not answer.
    """
    limits = await store.limits()
    wanted = processes * (pool_max + _BESIDE)
    for name, allowed in (("max_connections", limits.server), ("the role's CONNECTION LIMIT", limits.role)):
        if 0 <= allowed < wanted:
            log.warning(
                "connections_scarce",
                wanted=wanted,
                allowed=allowed,
                limit=name,
                meaning="other machines are not counted; statements will wait for the connections there are",
                todo="lower GATEWAY_DATABASE_POOL_MAX or the number of workers, or raise the limit",
            )


SCHEMA_SECONDS: Final = 5


class SchemaWatch:
    """Schema watch: it logs when the schema or the rights have come to lack something, and when they no longer do."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store
        self._lacked = ""
        self._lacking = Lacking()

    async def begin(self) -> None:
        """Log, at the start, the reason for which ``/readyz`` is not ready, if there is one."""
        try:
            pending = await self._look()
        except StoreUnavailable as error:
            log.warning("not_ready", reason=classify(error.__cause__).sentence, until="the database answers")
        except MigrationChanged as error:
            log.warning("not_ready", reason=str(error), until="this program fits")
        else:
            if pending and not self._lacked:
                log.warning(
                    "not_ready", reason="migrations are pending", pending=pending, until="migrate has run"
                )

    async def look(self) -> None:
        """Compare again; a database that does not answer changes nothing."""
        try:
            await self._look()
        except (StoreUnavailable, MigrationChanged):
            return

    async def _look(self) -> list[str]:
        pending, gaps = await self._store.look_at_schema()
        lacked, self._lacked = self._lacked, str(gaps) if gaps else ""
        if self._lacked and self._lacked != lacked:
            log.warning("not_ready", reason=self._lacked, until=REMEDY)
        elif lacked and not self._lacked:
            log.info("schema_fits")
        before, self._lacking = self._lacking, self._store.lacking
        if self._lacking and self._lacking != before:
            log.warning(
                "rights_missing",
                rights=list(self._lacking.rights),
                hidden=list(self._lacking.hidden),
                until=self._lacking.advice,
            )
        elif before and not self._lacking:
            log.info("rights_complete")
        return list(pending)


class StoreEvents:
    """Observer of a store that logs its failures; each kind and code at most once a minute."""

    def __init__(self) -> None:
        self._events = LimitedEvents()
        self._logged: set[str] = set()

    def failed(self, failure: Failure) -> None:
        """Log a failure, unless the same one was logged within a minute."""
        if self._events.warning(
            "store_unavailable",
            key=f"{failure.kind} {failure.sqlstate}",
            kind=str(failure.kind),
            sqlstate=failure.sqlstate,
            words=failure.words,
            advice=failure.advice,
        ):
            self._logged.add(failure.kind)

    def recovered(self, failure: Failure) -> None:
        """Log that a failure is over, once for each time it was logged."""
        if failure.kind in self._logged:
            self._logged.discard(failure.kind)
            log.info("store_recovered", kind=str(failure.kind))


_ADVICE: Final = {
    Unusable.MALFORMED: "Find rows of users or api_keys whose hash no bcrypt wrote; set that password anew.",
    Unusable.TOO_COSTLY: f"Find rows of users or api_keys with a bcrypt cost above {MAX_COST}; set that password anew.",
}


def unusable_hash_events() -> Callable[[Unusable], None]:
    """Return the function that logs a stored hash that cannot be tried; each kind at most once a minute."""
    events = LimitedEvents()

    def report(why: Unusable) -> None:
        events.warning("stored_hash_unusable", key=why, why=str(why), advice=_ADVICE[why])

    return report
