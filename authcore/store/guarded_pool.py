"""Guarded pool: a database pool that lends no connection while the database is known to lack what statements need.

Law: what is looked at here is compared again every few seconds; meanwhile the last comparison counts.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from authcore.errors import StoreUnavailable
from authcore.figures import MetricSample
from authcore.store import migrate, rights
from authcore.store.kinds import FailureKind
from authcore.store.pool import DatabasePool
from authcore.store.rights import Lacking, RowsHidden
from authcore.store.schema import Gaps, SchemaUnfit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from authcore.store.pool import Connection


class GuardedPool(DatabasePool):
    """A pool that lends nothing while Whatomate's tables are known to lack what the statements need, or to hide rows.

    A statement would be answered there with an error, with values of another type, or as if a user did not exist.
    """

    gaps = Gaps()
    lacking = Lacking()
    """What the database's user was last found to lack."""
    _pending: Sequence[str] = ()
    _has_looked = False

    @property
    def is_read_only(self) -> bool:
        """True if the server is known to refuse writes."""
        return self._connections.open.is_read_only

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """As ``DatabasePool.connection``."""
        if self.gaps:
            raise StoreUnavailable from SchemaUnfit(str(self.gaps))
        self._require_rows()
        async with super().connection() as connection:
            if not self._has_looked:  # a command looks at nothing else, and a gateway has not looked yet
                self.lacking = Lacking(hidden=await rights.hidden(connection))
                self._has_looked = True
                self._require_rows()
            yield connection

    def _require_rows(self) -> None:
        if self.lacking.hidden:
            raise StoreUnavailable from RowsHidden(Lacking(hidden=self.lacking.hidden).words)

    async def look_at_schema(self) -> tuple[Sequence[str], Gaps]:
        """Return the pending migrations and what is lacking, and be guarded by that from now on.

        While rights are lacking both are as they were: without rights there is no telling. It is a transaction, which a
        pooler in statement mode refuses.
        """
        async with super().connection() as connection, connection.transaction():
            self.lacking, self._has_looked = await rights.lacking(connection), True
            if not self.lacking:
                self._pending = await migrate.pending_on(connection)
                self.gaps = await migrate.gaps_on(connection, self._pending)
        return self._pending, self.gaps

    def _lasts(self, kind: FailureKind) -> bool | None:
        """As ``DatabasePool._lasts``; a right or a table that is still lacking lasts."""
        lasting = {
            FailureKind.PRIVILEGE: self.lacking.rights,
            FailureKind.ROW_SECURITY: self.lacking.hidden,
            FailureKind.SCHEMA: self.gaps or self._pending,
        }
        return True if lasting.get(kind) else super()._lasts(kind)

    def figures(self) -> Iterable[MetricSample]:
        """As ``DatabasePool.figures``, and whether the disk is full."""
        yield from super().figures()
        yield MetricSample(
            "disk_full",
            "1 while writes find the database's disk full.",
            lambda: float(FailureKind.DISK_FULL in self.failing),
        )
