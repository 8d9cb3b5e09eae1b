"""Schema watch: it compares tables and rights with what the statements need, at the start and periodically."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from authcore.errors import StoreUnavailable
from authcore.store.failures import classify
from authcore.store.kinds import ADVICE, Kind
from authcore.store.migrate import MigrationChanged
from authcore.store.schema import REMEDY

if TYPE_CHECKING:
    from authcore.store.postgres import PostgresStore

SCHEMA_SECONDS: Final = 5

log = structlog.get_logger()


class SchemaWatch:
    """Schema watch: it logs when the schema or the rights have come to lack something, and when they no longer do."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store
        self._lacked = ""
        self._rights: list[str] = []

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
        before, self._rights = self._rights, list(self._store.lacking)
        if self._rights and self._rights != before:
            log.warning("rights_missing", rights=self._rights, until=ADVICE[Kind.PRIVILEGE])
        elif before and not self._rights:
            log.info("rights_complete")
        return list(pending)
