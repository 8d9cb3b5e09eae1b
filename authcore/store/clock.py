"""Database clock: the time of the one clock that all gateways share, as this process reckons it.

What two gateways compare (the grace, attempts, the end of tickets, sessions, invitations) is reckoned by the database's
clock: their own may differ. Asking the database each time would cost a round trip before most statements, so how far it
is ahead of the local clock is measured again and again, and added.

Laws:

- A reading is wrong by half the round trip of the measurement at most, and by what the local clock was set by since.
- Before the first measurement a caller that needs the time waits for one; without a database it gets the local clock.
- What took long to answer is not believed while something better is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from authcore.errors import StoreUnavailable
from authcore.figures import MetricSample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from authcore.store.pool import DatabasePool

_ASK: Final = "SELECT extract(epoch FROM clock_timestamp())::double precision"
_SLOW_SECONDS: Final = 0.5


class DatabaseClock:
    """The database's clock.

    Attributes:
        ahead: Seconds that the database's clock is ahead of the local one: what to add to a local reading.
        measured: It has been measured.
    """

    def __init__(self, pool: DatabasePool, local: Callable[[], float]) -> None:
        """`local` reads this machine's clock: POSIX seconds."""
        self._pool = pool
        self._local = local
        self.ahead = 0.0
        self.measured = False

    def now(self) -> float:
        """Return the time, POSIX seconds; by the local clock before the first measurement."""
        return self._local() + self.ahead

    async def sure(self) -> float:
        """Return the time, measured now if it never was; by the local clock where no database answers."""
        if not self.measured:
            try:
                await self.measure()
            except StoreUnavailable:
                return self._local()
        return self.now()

    async def measure(self) -> float:
        """Measure, and return how many seconds this machine's clock is ahead of the database's.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        async with self._pool.connection() as connection:
            asked = self._local()
            database_time: float = await connection.fetchval(_ASK)
            answered = self._local()
        if not self.measured or 0 <= answered - asked < _SLOW_SECONDS:
            self.ahead = database_time - (asked + answered) / 2
            self.measured = True
        return -self.ahead

    def figures(self) -> Iterable[MetricSample]:
        """What to publish."""
        yield MetricSample(
            "skew_seconds",
            "How far this machine's clock is ahead of the database's; 0 until it was measured.",
            lambda: -self.ahead if self.measured else 0.0,
        )
