"""Database clock: the time of the one clock that all gateways share, as this process reckons it.

What two gateways compare (the grace, attempts, the end of tickets, sessions, invitations) is reckoned by the database's
clock: their own may differ. Asking the database each time would cost a round trip before most statements, so its time
is measured again and again, against a steady clock that nobody sets, which tells how much has passed since.

Laws:

- A reading is wrong by half the round trip of the measurement at most. This machine's wall clock changes no reading,
  however far it is set, once there was a measurement: a token issued in a moment of a wrong clock would last for long.
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
        skew: Seconds that this machine's wall clock was ahead of the database's when it was measured.
        measured: It has been measured.
        steady: The steady clock, in seconds.
        epoch: What the database's clock was when the steady one was 0, POSIX seconds; 0 before it was measured.
    """

    def __init__(self, pool: DatabasePool, local: Callable[[], float], steady: Callable[[], float]) -> None:
        """`local` reads this machine's wall clock, POSIX seconds; `steady` a clock that nobody sets, in seconds."""
        self._pool = pool
        self._local = local
        self.steady = steady
        self.epoch = 0.0
        self.skew = 0.0
        self.measured = False

    def now(self) -> float:
        """Return the time, POSIX seconds; by the local clock before the first measurement."""
        return self.steady() + self.epoch if self.measured else self._local()

    async def sure(self) -> float:
        """Return the time, measured now if it never was; by the local clock where no database answers."""
        if not self.measured:
            try:
                await self.measure()
            except StoreUnavailable:
                return self._local()
        return self.now()

    async def measure(self) -> float:
        """Measure, and return how many seconds this machine's wall clock is ahead of the database's.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        async with self._pool.connection() as connection:
            asked = self.steady()
            database_time: float = await connection.fetchval(_ASK)
            answered = self.steady()
        if not self.measured or answered - asked < _SLOW_SECONDS:
            self.epoch = database_time - (asked + answered) / 2
            self.measured = True
        self.skew = self._local() - self.now()
        return self.skew

    def figures(self) -> Iterable[MetricSample]:
        """Return the metrics to publish."""
        yield MetricSample(
            "skew_seconds",
            "How far this machine's clock is ahead of the database's; 0 until it was measured.",
            lambda: self.skew,
        )
