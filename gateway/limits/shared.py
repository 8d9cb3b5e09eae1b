"""Shared leases: units of limits that several gateways count in one store, taken ahead so that no request asks it.

A lease is a number of units that the store has already counted for this process. Laws:

- Deciding waits for nothing. Leases that run low are renewed in the background, those at rest are returned.
- Without a lease a request passes on this process's own share of the limit (GCRA in memory), as a debt. The store
  counts debts at the next exchange, and the share has room for others then. So whatever the store does, all processes
  together let through their shares and their leases at most, beyond what it counts.
- When the store has nothing left, by its last answer and what drains since, requests are refused: no share is added.
- While the store is away an ``open`` limit grants the share, and a ``closed`` one nothing.
- What was sent in an exchange that failed is forgotten: the share that it passed on was bounded already.
"""

from __future__ import annotations

from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.limits.buckets import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.limits.buckets import Bucket
    from gateway.limits.limit import Limit

IDLE_SECONDS: Final = 1.0
"""A lease is returned when nothing was asked of it for so long."""
LEASE_SHARE: Final = 4
"""All processes together hold one part in so many of a burst as leases, or the cost of one request each if more."""
UNKNOWN_SECONDS: Final = 1.0
"""After this, at most, a request may try again that found the share used up and the store not asked yet."""
BATCH: Final = 500
"""Leases in one exchange at most, and those that are looked at for one besides the ones that ran low."""


class Lease:
    """Lease of one key in one process.

    Attributes:
        source: The limit that it is of.
        bucket: The key's bucket; it has the debts to the process's own share.
        held: Units that are left.
        debt: Units let through without a lease, which the store does not know of.
        size: Units to hold.
        cost: The highest cost of a request so far.
        wanted: Units that were asked for and refused since the last exchange.
        spent: Units let through since then.
        owed: By window, the seconds in which the key's bucket in the store drains.
        at: When that was so, monotonic seconds; 0 before the first answer.
        seen: When a request came last.
        is_listed: It is among those that exchanges look at.
        is_under_way: It is part of an exchange.
        sent: Debts that are part of it.
    """

    __slots__ = (
        *("at", "bucket", "cost", "debt", "held", "is_listed", "is_under_way", "owed", "seen", "size"),
        *("sent", "source", "spent", "wanted"),
    )

    def __init__(self, source: SharedLimit, bucket: Bucket) -> None:
        self.source = source
        self.bucket = bucket
        self.held = self.debt = self.size = self.wanted = self.spent = self.sent = 0
        self.cost = 1
        self.owed = [0.0] * len(bucket.drained)
        self.at = self.seen = 0.0
        self.is_listed = self.is_under_way = False

    def short(self, cost: int, now: float) -> float:
        """Return the seconds until the store has `cost` units, by its last answer and the debts since; 0 if it does."""
        longest = 0.0
        for owed, window in zip(self.owed, self.source.windows, strict=True):
            units = self.debt + self.sent + cost
            left = max(owed - (now - self.at), 0.0) + units * window.interval - window.depth
            if left > window.slack:
                longest = max(longest, left)
        return longest


class Ask(NamedTuple):
    """Request for one lease in an exchange with the store.

    Attributes:
        lease: The lease.
        key: Its key in the store.
        windows: The windows of its limit.
        settled: Debts, or minus the units that are returned.
        wanted: Units that are asked for.
    """

    lease: Lease
    key: bytes
    windows: Sequence[Window]
    settled: int
    wanted: int


class LeaseGrant(NamedTuple):
    """The store's grant for one lease: the units granted, and by window the seconds that are owed."""

    units: int
    owed: Sequence[float]


class LeaseBook:
    """Book of all leases of one process, and what its next exchange has to settle.

    Attributes:
        is_away: The store does not answer.
        shares: Processes among which limits are shared while it does not.
    """

    def __init__(self, shares: int, wake: Callable[[], None] = lambda: None, *, looks: int = BATCH) -> None:
        """`wake` is called when a lease should be renewed soon; an exchange looks at `looks` other leases in turn."""
        self.shares = shares
        self.is_away = False
        self._wake = wake
        self._looks = looks
        self._listed: dict[Lease, None] = {}
        self._low: dict[Lease, None] = {}

    def __len__(self) -> int:
        return len(self._listed)

    @property
    def held(self) -> int:
        """The units that this process holds."""
        return sum(lease.held for lease in self._listed)

    def add(self, lease: Lease) -> None:
        """List a lease for the next exchange."""
        lease.is_listed = True
        lease.bucket.held_until = inf
        self._listed[lease] = None

    def renew(self, lease: Lease) -> None:
        """Have the next exchange look at a listed lease, and come soon."""
        self._low[lease] = None
        self._wake()

    def asks(self, now: float, *, last: bool = False) -> list[Ask]:
        """Return what to exchange; `last` returns leases, 500 at a time, and asks for none."""
        asks: list[Ask] = []
        for lease in self._next(everything=last):
            if len(asks) >= BATCH:
                break
            if not lease.is_under_way:
                self._low.pop(lease, None)
                self._ask(lease, now, asks, last=last)
        return asks

    def _next(self, *, everything: bool) -> list[Lease]:
        """Return the leases to look at: those that ran low, and the next ones in turn; or every one."""
        if everything or len(self._listed) <= self._looks:
            return [*self._listed]
        turn = [*islice(self._listed, self._looks)]
        for lease in turn:  # to the end of the line
            del self._listed[lease]
            self._listed[lease] = None
        return [*dict.fromkeys([*islice(self._low, 2 * BATCH), *turn])]

    def _ask(self, lease: Lease, now: float, asks: list[Ask], *, last: bool) -> None:
        idle = last or now - lease.seen >= IDLE_SECONDS
        size = lease.size = 0 if idle else self._size(lease)
        surplus = max(0, lease.held - size)
        settled = lease.debt - surplus
        wanted = size - (lease.held - surplus)
        if wanted and lease.at and lease.short(1, now) > 0.0:
            wanted = 0
        if settled == 0 and wanted == 0:
            if idle and not lease.held:
                lease.is_listed, lease.bucket.held_until = False, 0.0
                del self._listed[lease]
            return
        lease.held -= surplus
        lease.debt = lease.spent = lease.wanted = 0
        lease.is_under_way, lease.sent = True, max(0, settled)
        del self._listed[lease]  # to the end of the line
        self._listed[lease] = None
        asks.append(Ask(lease, lease.source.prefix + lease.bucket.key, lease.source.windows, settled, wanted))

    @staticmethod
    def _size(lease: Lease) -> int:
        """Return how many units a lease should be of: twice as many when it ran low, half when few were used."""
        most = max(lease.source.most, lease.cost)
        if lease.held * 2 <= lease.size or lease.wanted:
            return min(max(2 * lease.size, lease.wanted, lease.cost), most)
        return max(lease.size // 2, lease.cost) if lease.spent * 4 < lease.size else lease.size

    def granted(self, ask: Ask, grant: LeaseGrant, now: float) -> None:
        """Take the store's answer for one lease."""
        lease = ask.lease
        lease.is_under_way, lease.sent = False, 0
        lease.owed, lease.at = list(grant.owed), now
        # What came while the exchange was under way uses the lease up first.
        covered = min(lease.debt, lease.held + grant.units)
        lease.held += grant.units - covered
        lease.debt -= covered
        lease.source.restore(lease.bucket, covered + max(0, ask.settled), now)

    @staticmethod
    def failed(ask: Ask) -> None:
        """Note that the store did not answer for a lease."""
        ask.lease.is_under_way, ask.lease.sent = False, 0


class SharedLimit:
    """Leases of one limit, in place of its own windows (:class:`~gateway.limits.leases.Leases`).

    Attributes:
        prefix: Start of its keys in the store.
        windows: The whole limit's windows.
        most: Units that one lease holds at most.
    """

    def __init__(self, limit: Limit, book: LeaseBook, *, closed: bool) -> None:
        """With `closed` nothing is granted while the store is away."""
        self._book = book
        self._closed = closed
        self.windows = list(limit.windows)
        shares = book.shares
        self._share = [
            Window(window.units / shares, window.seconds, max(window.burst / shares, 1.0))
            for window in self.windows
        ]
        terms = ",".join(f"{window.interval:.9g}/{window.depth:.9g}" for window in self.windows)
        self.prefix = f"gateway:limit:{limit.name}:{'+'.join(limit.parts)}:{terms}:".encode("ascii")
        bursts = [window.burst for window in self.windows]
        self.most = max(1, int(min(bursts, default=1.0) / (LEASE_SHARE * shares)))

    def wait(self, _limit: Limit, bucket: Bucket, cost: int, now: float) -> float:
        """Return the seconds until `cost` units are granted; 0 if they are now, infinity if the store is away."""
        lease = self._lease(bucket)
        if lease.held >= cost:
            return 0.0
        book = self._book
        if book.is_away:
            if self._closed:
                return inf
        elif lease.at and (short := lease.short(cost, now)) > 0.0:
            self._want(lease, cost, now)
            return short
        longest = 0.0
        for number, window in enumerate(self._share):
            # A request that costs more than the share holds passes when the share is whole.
            longest = max(longest, window.wait(bucket.drained[number], min(cost, int(window.burst)), now))
        if longest > 0.0 and not book.is_away:  # the store is about to say whether there is more
            self._want(lease, cost, now)
            book.renew(lease)
            return min(longest, UNKNOWN_SECONDS)
        return longest

    def restore(self, bucket: Bucket, units: int, now: float) -> None:
        """Give units back to the process's own share: the store has counted them, or their requests were refused."""
        for number, window in enumerate(self._share):
            bucket.drained[number] = max(bucket.drained[number] - units * window.interval, now)

    def _want(self, lease: Lease, cost: int, now: float) -> None:
        lease.seen, lease.cost = now, max(lease.cost, cost)
        lease.wanted += cost
        if not lease.is_listed:
            self._book.add(lease)

    def take(self, _limit: Limit, bucket: Bucket, cost: int, now: float) -> None:
        """Take `cost` units, which :meth:`wait` has just granted."""
        lease, book = self._lease(bucket), self._book
        lease.seen, lease.cost = now, max(lease.cost, cost)
        lease.spent += cost
        if lease.held >= cost:
            lease.held -= cost
        else:
            for number, window in enumerate(self._share):
                bucket.drained[number] = max(bucket.drained[number], now) + cost * window.interval
            if not book.is_away:
                lease.debt += cost
        if not lease.is_listed:
            book.add(lease)
        if lease.debt or lease.held * 2 <= lease.size:
            book.renew(lease)

    def give_back(self, _limit: Limit, bucket: Bucket, cost: int, now: float) -> None:
        """Give `cost` units back to what they came from: a debt, the share while the store is away, or the lease."""
        lease = self._lease(bucket)
        if lease.debt >= cost:
            lease.debt -= cost
            self.restore(bucket, cost, now)
        elif self._book.is_away and not self._closed and any(drained > now for drained in bucket.drained):
            self.restore(bucket, cost, now)
        else:
            lease.held += cost
            if not lease.is_listed:
                self._book.add(lease)

    def left(self, limit: Limit, bucket: Bucket, window: int, now: float) -> tuple[int, float]:
        """Return the units that are left in a window, and the seconds until there is one more."""
        lease = self._lease(bucket)
        if self._book.is_away or not lease.at:
            rate, owed, held = self._share[window], bucket.drained[window] - now, 0
        else:
            rate, owed, held = (
                limit.windows[window],
                lease.owed[window] - (now - lease.at),
                lease.held - lease.debt,
            )
        owed = min(max(owed, 0.0), rate.depth)
        units = int((rate.depth - owed + rate.slack) / rate.interval)
        seconds = max(owed - rate.depth + (units + 1) * rate.interval, 0.0) if owed else 0.0
        return max(0, min(units + held, int(limit.windows[window].burst))), seconds

    def _lease(self, bucket: Bucket) -> Lease:
        """Return the bucket's lease; after a reload of the routes it may have one of a limit that was replaced."""
        lease = bucket.lease
        if not isinstance(lease, Lease) or lease.source is not self:
            lease = bucket.lease = Lease(self, bucket)
        return lease
