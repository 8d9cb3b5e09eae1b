"""The store on Whatomate's own PostgreSQL: the parts by subject, over one pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from authcore.store import migrate
from authcore.store.accounts import AccountRows
from authcore.store.attempts import AttemptRows
from authcore.store.clock import DatabaseClock
from authcore.store.invitations import InvitationRows
from authcore.store.keys import KeyRows
from authcore.store.people import PeopleRows
from authcore.store.pool import Pool
from authcore.store.sessions import SessionRows
from authcore.store.standing import StandingRows
from authcore.store.tickets import TicketRows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from authcore.figures import Distribution, Figure


class PostgresStore(
    AccountRows,
    SessionRows,
    KeyRows,
    AttemptRows,
    InvitationRows,
    PeopleRows,
    TicketRows,
    StandingRows,
):
    """Everything the domain asks of its database."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @classmethod
    async def connect(  # noqa: PLR0913 - the settings of a pool, by name
        cls,
        url: str,
        *,
        pool_min: int,
        pool_max: int,
        connect_timeout_seconds: float,
        acquire_timeout_seconds: float,
        statement_timeout_seconds: float,
    ) -> Self:
        """Make a store. The database may be down: each call then raises ``StoreUnavailable`` until it is up.

        Raises:
            ValueError: `url` cannot be read as a PostgreSQL URL.
        """
        return cls(
            Pool(
                url,
                pool_min=pool_min,
                pool_max=pool_max,
                connect_timeout_seconds=connect_timeout_seconds,
                acquire_timeout_seconds=acquire_timeout_seconds,
                statement_timeout_seconds=statement_timeout_seconds,
            )
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()

    def suspect(self) -> None:
        """Find out, beside the requests, whether the database still answers: elsewhere it did not."""
        self._pool.suspect()

    async def recover(self) -> None:
        """Take up work again at once, since the database gave a sign of life elsewhere.

        Raises:
            StoreUnavailable: it gives none here.
        """
        await self._pool.recover()

    def clock(self, local: Callable[[], float]) -> DatabaseClock:
        """Return the database's clock, reckoned from the `local` one."""
        return DatabaseClock(self._pool, local)

    def figures(self) -> Iterable[Figure]:
        """What to publish."""
        return self._pool.figures()

    def spreads(self) -> Iterable[Distribution]:
        """What to publish."""
        return self._pool.spreads()

    async def ping(self) -> None:
        """Ask for a sign of life.

        Raises:
            StoreUnavailable: there is none.
        """
        await self._pool.fetchval("SELECT 1")

    async def pending_migrations(self) -> Sequence[str]:
        """Return the names of migrations that are not applied."""
        async with self._pool.connection() as connection:
            return await migrate.pending_on(connection)
