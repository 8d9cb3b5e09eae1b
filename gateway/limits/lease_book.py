"""Book of leases: the leases of shared limits that one process holds, and what its next exchange has to settle.

:mod:`gateway.limits.shared` has the laws. An exchange looks at the leases that ran low and at some others in turn, so
that it takes the same time whatever number of callers there are.
"""

from __future__ import annotations

from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.limits.buckets import Bucket, Window
    from gateway.limits.shared import SharedLimit

IDLE_SECONDS: Final = 1.0
"""A lease is returned when nothing was asked of it for so long."""
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
        "at",
        "bucket",
        "cost",
        "debt",
        "held",
        "is_listed",
        "is_under_way",
        "owed",
        "seen",
        "sent",
        "size",
        "source",
        "spent",
        "wanted",
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
