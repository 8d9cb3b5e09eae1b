"""Guarded pool: a database pool that lends nothing while the database is known not to be what the statements need.

Law: what is looked at here is compared again every few seconds; meanwhile the last comparison counts.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from authcore.errors import StoreUnavailable
from authcore.figures import MetricSample
from authcore.store import migrate, rights
from authcore.store.kinds import Kind
from authcore.store.pool import DatabasePool
from authcore.store.schema import Gaps, SchemaUnfit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from authcore.store.pool import Connection


class GuardedPool(DatabasePool):
    """A pool that lends nothing while Whatomate's tables are known to lack what the statements need.

    A statement would be answered there with an error, or with values of another type.
    """

    gaps = Gaps()
    lacking: tuple[str, ...] = ()
    """Rights that the database's user was last found to lack."""
    _pending: Sequence[str] = ()

    @property
    def is_read_only(self) -> bool:
        """Whether the server is known to refuse writes."""
        return self._lender.open.is_read_only

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """As ``DatabasePool.connection``."""
        if self.gaps:
            raise StoreUnavailable from SchemaUnfit(str(self.gaps))
        async with super().connection() as connection:
            yield connection

    async def look_at_schema(self) -> tuple[Sequence[str], Gaps]:
        """Return the pending migrations and what is lacking, and be guarded by that from now on.

        While rights are lacking both are as they were: without rights there is no telling.
        """
        async with super().connection() as connection:
            self.lacking = await rights.lacking(connection)
            if not self.lacking:
                self._pending = await migrate.pending_on(connection)
                self.gaps = await migrate.gaps_on(connection, self._pending)
        return self._pending, self.gaps

    def _is_over(self, kind: Kind, now: float) -> bool:
        """As ``DatabasePool._is_over``; a right or a table that is still lacking is not over."""
        if (kind is Kind.PRIVILEGE and self.lacking) or (
            kind is Kind.SCHEMA and (self.gaps or self._pending)
        ):
            return False
        return super()._is_over(kind, now)

    def figures(self) -> Iterable[MetricSample]:
        """As ``DatabasePool.figures``, and whether the disk is full."""
        yield from super().figures()
        yield MetricSample(
            "disk_full",
            "1 while writes find the database's disk full.",
            lambda: float(Kind.DISK_FULL in self.failing),
        )
