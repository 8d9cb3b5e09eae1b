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

from math import inf
from typing import TYPE_CHECKING, Final

from gateway.limits.buckets import Window
from gateway.limits.lease_book import Lease

if TYPE_CHECKING:
    from gateway.limits.buckets import Bucket
    from gateway.limits.lease_book import LeaseBook
    from gateway.limits.limit import Limit

LEASE_SHARE: Final = 4
"""All processes together hold one part in so many of a burst as leases, or the cost of one request each if more."""
UNKNOWN_SECONDS: Final = 1.0
"""After this, at most, a request may try again that found the share used up and the store not asked yet."""


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
