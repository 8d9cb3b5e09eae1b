"""The store on Whatomate's own PostgreSQL: the parts by subject, over one pool."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from authcore.store import migrate, rights, triggers
from authcore.store.accounts import AccountRows
from authcore.store.address import Address, StatementCache
from authcore.store.attempts import AttemptRows
from authcore.store.clock import DatabaseClock
from authcore.store.directory import DirectoryRows
from authcore.store.gathering import Gathering
from authcore.store.guarded_pool import GuardedPool
from authcore.store.invitations import InvitationRows
from authcore.store.keys import KeyRows, read_candidates
from authcore.store.operations import OperationRows
from authcore.store.origins import OriginRows
from authcore.store.quotas import QuotaRows
from authcore.store.revocation import RevocationRows
from authcore.store.sessions import SessionRows
from authcore.store.shared_sessions import SharedSessionRows
from authcore.store.sso import SsoRows
from authcore.store.subjects import read_subjects
from authcore.store.tickets import TicketRows
from authcore.store.trail import TrailRows
from authcore.store.user_lookup import UserLookupRows
from authcore.store.waiting import WaitingRows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from authcore.figures import HistogramSample, MetricSample
    from authcore.store.address import Server
    from authcore.store.dialled_loop import Dial
    from authcore.store.failures import Failure
    from authcore.store.kinds import FailureKind
    from authcore.store.schema import Gaps
    from authcore.store.watcher import Watcher

LOOK_SECONDS: Final = 10.0
_LIMITS: Final = (
    "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int "
    "AS server, "
    "(SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user) AS role"
)


class ConnectionLimits(NamedTuple):
    """Bounds of the connection pool.

    Attributes:
        server: To the whole server, for users that are no superusers.
        role: Of the user the gateway connects as; -1 for no limit.
    """

    server: int
    role: int


class PostgresStore(
    AccountRows,
    SessionRows,
    SharedSessionRows,
    KeyRows,
    AttemptRows,
    WaitingRows,
    InvitationRows,
    OriginRows,
    QuotaRows,
    UserLookupRows,
    DirectoryRows,
    OperationRows,
    TicketRows,
    RevocationRows,
    SsoRows,
    TrailRows,
):
    """PostgreSQL store: everything that the domain asks of its database."""

    _pool: GuardedPool

    def __init__(self, pool: GuardedPool) -> None:
        self._pool = pool
        self._asked = Gathering(partial(read_subjects, pool))
        self._presented = Gathering(partial(read_candidates, pool))

    def __repr__(self) -> str:
        return repr(self._pool)

    @property
    def is_read_only(self) -> bool:
        """True if the database is known to refuse writes."""
        return self._pool.is_read_only

    @classmethod
    async def connect(  # noqa: PLR0913 - the settings of a pool, by name
        cls,
        url: str | Callable[[], str],
        *,
        pool_min: int,
        pool_max: int,
        connect_timeout_seconds: float,
        acquire_timeout_seconds: float,
        statement_timeout_seconds: float,
        password: Callable[[], str] | None = None,
        statement_cache: StatementCache = StatementCache.AUTO,
        look_seconds: float = LOOK_SECONDS,
        watcher: Watcher | None = None,
        dial: Dial | None = None,
    ) -> Self:
        """Make a store. The database may be down: each call then raises ``StoreUnavailable`` until it is up.

        `url` and `password`, where they are functions, are asked anew for each connection; `dial` opens it by TCP.

        Raises:
            ValueError: `url` cannot be read as a PostgreSQL URL.
        """
        address = Address(
            (lambda: url) if isinstance(url, str) else url,
            password=password,
            connect_timeout_seconds=connect_timeout_seconds,
            statement_timeout_seconds=statement_timeout_seconds,
            statement_cache=statement_cache,
            dial=dial,
        )
        return cls(
            GuardedPool(
                address,
                pool_min=pool_min,
                pool_max=pool_max,
                acquire_timeout_seconds=acquire_timeout_seconds,
                look_seconds=look_seconds,
                watcher=watcher,
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

    @property
    def server(self) -> Server | None:
        """The server that statements go to; None before the first."""
        return self._pool.server

    @property
    def lacking(self) -> rights.Lacking:
        """The rights and tables that the database's user lacked at the last check."""
        return self._pool.lacking

    @property
    def failing(self) -> Mapping[FailureKind, Failure]:
        """The present failures of the database, by kind; empty while there are none."""
        return self._pool.failing

    async def look(self) -> None:
        """See where the database's address leads now, and follow it."""
        await self._pool.look()

    def tell_moves(self, moved: Callable[[], None]) -> None:
        """Call `moved` when statements go to another server from now on."""
        self._pool.tell_moves(moved)

    async def echo(self, channel: str, payload: str) -> None:
        """Notify a channel, over a connection that statements go over.

        Raises:
            StoreUnavailable: the database does not answer, or is a standby, which notifies nobody.
        """
        await self._pool.fetchval("SELECT pg_notify($1, $2)", channel, payload)

    async def limits(self) -> ConnectionLimits:
        """Return how many connections the server allows.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        row = await self._pool.fetchrow(_LIMITS)
        return ConnectionLimits(-1, -1) if row is None else ConnectionLimits(row["server"], row["role"])

    def clock(self, local: Callable[[], float], steady: Callable[[], float]) -> DatabaseClock:
        """Return the database's clock, reckoned by a `steady` one; before it was measured, the `local` one."""
        return DatabaseClock(self._pool, local, steady)

    def figures(self) -> Iterable[MetricSample]:
        """Return the metrics to publish."""
        return self._pool.figures()

    def histograms(self) -> Iterable[HistogramSample]:
        """Return the metrics to publish."""
        return self._pool.histograms()

    async def ping(self) -> None:
        """Ask for a sign of life.

        Raises:
            StoreUnavailable: there is none.
        """
        await self._pool.fetchval("SELECT 1")

    async def look_at_schema(self) -> tuple[Sequence[str], Gaps]:
        """Return the names of migrations that are not applied, and what Whatomate's tables lack.

        While they lack anything, everything else that is asked of the store raises ``StoreUnavailable``.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        return await self._pool.look_at_schema()

    async def encoding(self) -> str:
        """Return the encoding of the database, such as ``UTF8``.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        return str(await self._pool.fetchval(migrate.ENCODING))

    async def look_at_triggers(self) -> triggers.State:
        """Return the state of the triggers that notify of changes.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        async with self._pool.connection() as connection:
            return (await triggers.look(connection)).state

    async def most_connections(self) -> int | None:
        """Return how many connections the server has for this user and database; None behind a pooler.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        async with self._pool.connection() as connection:
            return await rights.most_connections(connection)
