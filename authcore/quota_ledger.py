"""Quota ledger: it counts requests in memory, against leases from the counts that all gateways share.

Laws:

- Charging waits for nothing. The database is asked in the background, for all counts in one statement.
- A request is let through on a lease. Without one it is let through as a debt, unless the quota is used up by what this
  process knows: the database's last count, and its own debts. ``closed`` also bounds the debts, by ``slack``.
- A debt is settled once, whatever answers are lost: a batch is sent unchanged until it is answered, and the database
  counts a number once. A lease is lost with the process that holds it, or with the answer that grants it; never twice.
- Of several counts, a request is charged to all or to none.
- A count that is at rest holds no lease, and is forgotten when it is not used up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from authcore.errors import QuotaExceeded, QuotaUnknown
from authcore.quotas import Ask, Batch, Period, QuotaKey, SubjectKind, window

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from uuid import UUID

    from authcore.quotas import Standing, Usual

BATCH: Final = 1000
"""Counts in one statement at most."""
PERIODS: Final = (Period.DAY, Period.MONTH)
_LEASE: Final = 10_000
_REST_SECONDS: Final = 600.0


class Count:
    """Requests of one subject in one window.

    Attributes:
        key: Whose, and in which window.
        ends: When the window ends, POSIX seconds.
        most: The quota, as far as is known; None for none.
        used: The database's count at its last answer; 0 before the first.
        known: The database has answered.
        held: What is left of the leases.
        debt: Requests let through without a lease, and not sent yet.
        sent: What the batch under way settles: debts, or minus a lease that is returned.
        spent: Requests since the last batch.
        low: A lease below this is renewed at once.
        seen: When a request came last.
        listed: It is among the counts that the next batch looks at.
        asked: Requests refused since the last batch: the database may have room for them by now.
    """

    __slots__ = (
        "asked",
        "debt",
        "ends",
        "held",
        "key",
        "known",
        "listed",
        "low",
        "most",
        "seen",
        "sent",
        "spent",
        "used",
    )

    def __init__(self, key: QuotaKey, ends: float, most: int | None) -> None:
        self.key = key
        self.ends = ends
        self.most = most
        self.used = self.held = self.debt = self.sent = self.spent = self.low = self.asked = 0
        self.known = self.listed = False
        self.seen = 0.0

    def left(self) -> int | None:
        """Return how many requests are left, as far as is known; None without a quota."""
        if self.most is None:
            return None
        return max(0, self.most - self.used + self.held - self.sent - self.debt)

    @property
    def is_at_rest(self) -> bool:
        """True if nothing is to be sent or awaited."""
        return not (self.held or self.debt or self.sent or self.asked)


class QuotaLedger:
    """Quota ledger of one process.

    Attributes:
        refused: Requests refused as over a quota, since the start.
        unknown: Requests refused as the database does not answer.
    """

    def __init__(
        self, usual: Usual, *, slack: int, is_open: bool, wake: Callable[[], None] = lambda: None
    ) -> None:
        """Begin an empty ledger.

        Args:
            usual: The quotas of subjects that have none of their own.
            slack: Requests of one subject beyond its leases; more are refused unless `is_open`.
            is_open: Debts are bounded by the quota alone.
            wake: Called when a count should be settled soon.
        """
        self._usual = usual
        self._slack = slack
        self._is_open = is_open
        self._wake = wake
        self._counts: dict[SubjectKind, dict[UUID, list[Count]]] = {kind: {} for kind in SubjectKind}
        self._keys = self._counts[SubjectKind.API_KEY]
        self._organizations = self._counts[SubjectKind.ORGANIZATION]
        self._active: dict[QuotaKey, Count] = {}
        self._under_way: Batch | None = None
        self._number = 0
        self._forget_at = 0.0
        self.refused = self.unknown = 0

    def __len__(self) -> int:
        return len(self._keys) + len(self._organizations)

    def charge(self, key_id: UUID | None, organization_id: UUID | None, now: float, cost: int = 1) -> None:
        """Charge a request to its API key, if one was used, and to its organization.

        Args:
            key_id: The API key; None for any other credential.
            organization_id: The organization; None for nobody's request, which is charged to nobody.
            now: POSIX seconds by the shared clock.
            cost: How many requests it counts as.

        Raises:
            QuotaExceeded: a quota is used up. Nothing is charged.
            QuotaUnknown: the database does not answer, the debts are at their bound, and the ledger is closed.
        """
        if organization_id is None:
            return
        counts = self.counts(SubjectKind.ORGANIZATION, organization_id, now)
        if key_id is not None:
            counts = self.counts(SubjectKind.API_KEY, key_id, now) + counts
        for count in counts:
            if count.held < cost:
                self._admit(count, cost, now)
        for count in counts:
            self._take(count, cost, now)

    def knows(self, key_id: UUID | None, organization_id: UUID | None, now: float) -> bool:
        """Return whether the database has answered for the counts of a request; if not, it is asked in the next batch.

        The parameters are those of :meth:`charge`.
        """
        if organization_id is None:
            return True
        counts = self.counts(SubjectKind.ORGANIZATION, organization_id, now)
        if key_id is not None:
            counts = self.counts(SubjectKind.API_KEY, key_id, now) + counts
        is_known = True
        for count in counts:
            if not count.known:
                is_known = False
                self._ask_again(count, 1, now)
        return is_known

    def counts(self, kind: SubjectKind, subject: UUID, now: float) -> list[Count]:
        """Return the counts of a subject in the windows of `now`."""
        subjects = self._keys if kind is SubjectKind.API_KEY else self._organizations
        counts = subjects.get(subject)
        if counts is None:
            counts = subjects[subject] = [self._begin(kind, subject, period, now) for period in PERIODS]
        elif now >= counts[0].ends:  # a month ends with a day
            counts[:] = [
                count if now < count.ends else self._begin(kind, subject, count.key.period, now)
                for count in counts
            ]
        return counts

    def _begin(self, kind: SubjectKind, subject: UUID, period: Period, now: float) -> Count:
        starts, ends = window(period, now)
        count = Count(QuotaKey(kind, subject, period, starts), ends, self._usual.get((kind, period)))
        return self._active.get(count.key, count)

    def _admit(self, count: Count, cost: int, now: float) -> None:
        """Refuse a request for which there is no lease, if it may be no debt.

        Raises:
            QuotaExceeded: the quota is used up.
            QuotaUnknown: the debts are at their bound.
        """
        most = count.most
        if most is None:
            return
        if count.used - count.held + count.sent + count.debt + cost > most:
            self._ask_again(count, cost, now)
            self.refused += 1
            raise QuotaExceeded(count.key.kind, count.key.period, most, count.ends, now)
        if not self._is_open and count.debt + max(0, count.sent) + cost > self._slack:
            self._ask_again(count, cost, now)
            self._wake()
            self.unknown += 1
            raise QuotaUnknown

    def _ask_again(self, count: Count, cost: int, now: float) -> None:
        count.asked, count.seen = min(count.asked + cost, _LEASE), now
        self._list(count)

    def _list(self, count: Count) -> None:
        if not count.listed:
            count.listed = True
            self._active[count.key] = count

    def _take(self, count: Count, cost: int, now: float) -> None:
        count.seen = now
        count.spent += cost
        if count.held >= cost:
            count.held -= cost
        else:
            count.debt += cost
        if not count.listed:
            self._list(count)
        if count.held <= count.low and (count.most is not None or not count.known):
            self._wake()

    # -- the batches -------------------------------------------------------------------------------------------------

    def batch(self, now: float, *, last: bool = False) -> Batch | None:
        """Return the next batch to settle; None if there is nothing. An unanswered batch is returned again.

        `last` returns every lease and asks for none.
        """
        if self._under_way is not None:
            return self._under_way
        if now >= self._forget_at:
            self._forget(now)
        asks = []
        for count in [*self._active.values()][:BATCH]:
            if count.is_at_rest and not count.spent:
                del self._active[count.key]
                count.listed = False
                continue
            asks.append(self._ask(count, now, last=last))
        if not asks:
            return None
        self._number += 1
        self._under_way = Batch(self._number, tuple(asks))
        return self._under_way

    def _ask(self, count: Count, now: float, *, last: bool) -> Ask:
        """Move what is to be settled of a count into the batch."""
        ended = last or now >= count.ends or count.most is None
        target = 0 if ended else min(2 * count.spent, _LEASE)
        surplus = max(0, count.held - target)
        count.held -= surplus
        count.sent, count.debt = count.debt - surplus, 0
        wanted = 0 if ended else max(target, count.asked) - count.held
        count.low, count.spent, count.asked = target // 4, 0, 0
        # Counted last in line from now on, so that a batch that is full leaves nobody behind for ever.
        self._active[count.key] = self._active.pop(count.key)
        return Ask(count.key, count.sent, wanted)

    def settled(self, batch: Batch, standings: Mapping[QuotaKey, Standing]) -> None:
        """Take the database's answer to a batch."""
        if self._under_way is not batch:
            return
        self._under_way = None
        for ask in batch.asks:
            count = self._active.get(ask.key)
            standing = standings.get(ask.key)
            if count is None:
                continue
            count.sent = 0
            if standing is not None:
                count.used, count.most, count.known = standing.used, standing.most, True
                # What came while the statement was under way was let through without it, and uses the lease up first.
                covered = min(count.debt, count.held + standing.granted)
                count.held += standing.granted - covered
                count.debt -= covered

    def _forget(self, now: float) -> None:
        """Forget the subjects that are at rest; but not those of which a quota is used up."""
        self._forget_at = now + _REST_SECONDS / 10
        for subjects in self._counts.values():
            for subject, counts in [*subjects.items()]:
                if all(count.is_at_rest and self._is_forgettable(count, now) for count in counts):
                    del subjects[subject]

    @staticmethod
    def _is_forgettable(count: Count, now: float) -> bool:
        if now >= count.ends:
            return True
        return now - count.seen >= _REST_SECONDS and (count.most is None or count.used < count.most)

    def beyond(self, key: QuotaKey) -> int:
        """Return how many requests this process let through beyond the database's count; leases count as minus."""
        count = self._active.get(key)
        return 0 if count is None else count.debt + count.sent - count.held
