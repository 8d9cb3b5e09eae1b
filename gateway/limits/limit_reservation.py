"""Reservation of one request: what it has taken of the limits of its route.

Laws:

- A request passes only if every limit grants it, and takes nothing of any if one refuses: what it took before its
  caller was known is then given back.
- A limit in shadow refuses nothing, and what it would have refused takes nothing of it.
- A request at work is counted out exactly once, whatever became of it.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from gateway.limits.fields import fields_of, state_of
from gateway.limits.limit import AT_ONCE_SECONDS, Limit, RouteLimits
from gateway.limits.refusal import ConcurrencyExceeded, LimitExceeded, LimitUnknown

if TYPE_CHECKING:
    from authcore.principal import Principal
    from gateway.limits.buckets import Bucket
    from gateway.limits.keys import CallerKeys


class LimitGrant:
    """Grant or refusal of one limit for a request.

    Attributes:
        limit: The limit.
        bucket: Its bucket for the caller.
        before: The grant that came before; None for the first of a request.
        granted: The limit lets the request through.
        at_work: The request counts as one at work.
    """

    __slots__ = ("at_work", "before", "bucket", "granted", "limit")

    def __init__(self, limit: Limit, bucket: Bucket, before: LimitGrant | None, *, granted: bool) -> None:
        self.limit = limit
        self.bucket = bucket
        self.before = before
        self.granted = granted
        self.at_work = False


class LimitReservation:
    """Reservation of one request on the limits of its route.

    Attributes:
        settled: The limits that count callers have been asked.
        shadowed: The first refusal by a limit in shadow; None if there is none.
    """

    __slots__ = ("_at", "_at_work", "_concurrent", "_keys", "_last", "_route", "settled", "shadowed")

    def __init__(self, limits: RouteLimits, keys: CallerKeys, now: float, *, concurrent: bool = True) -> None:
        """Hold nothing yet, for a request that came at `now` and whose keys are `keys`.

        Unless `concurrent`, the request is not at work here, and no limit counts it as that.
        """
        self._route = limits
        self._keys = keys
        self._at = now
        self._concurrent = concurrent
        self._last: LimitGrant | None = None
        self._at_work = False
        self.settled = False
        self.shadowed: LimitExceeded | None = None

    def enter(self) -> None:
        """Take of the limits that count before the credential is read.

        Raises:
            LimitExceeded: one of them refuses.
        """
        route = self._route
        if route.early:
            self._take(route.early, self._keys.early(route), self._at)

    def settle(self, principal: Principal, now: float) -> None:
        """Take of the limits that count callers, the first time that it is called.

        Raises:
            LimitExceeded: one of them refuses.
        """
        if self.settled:
            return
        self.settled = True
        route = self._route
        if route.late:
            self._take(route.late, self._keys.late(route, principal), now)

    def _take(self, limits: list[Limit], keys: list[bytes], now: float) -> None:
        cost, first, number = self._route.cost, self._last, 0
        refusal: LimitExceeded | None = None
        for limit in limits:
            key = keys[number]
            number += 1
            if not key:
                continue
            bucket = limit.buckets.find(key, now)
            wait = limit.wait(bucket, cost, now)
            granted = wait <= 0.0 and not (self._concurrent and limit.is_busy(bucket))
            self._last = LimitGrant(limit, bucket, self._last, granted=granted)
            if not granted:
                one = self._refused(limit, wait)
                if one is not None and (refusal is None or one.seconds > refusal.seconds):
                    refusal = one
        if refusal is not None:
            self._give_back(first, now)
            try:
                raise refusal
            finally:  # its traceback refers to this frame: that would be a cycle
                one = refusal = None
        grant = self._last
        while grant is not None and grant is not first:
            if grant.granted:
                self._grant(grant, now)
            grant = grant.before

    def _refused(self, limit: Limit, wait: float) -> LimitExceeded | None:
        """Count a refusal, by its rate or else for want of room, and return it if it is not in shadow."""
        one: LimitExceeded
        if wait == inf:
            one = LimitUnknown(limit.name)
        elif wait > 0.0:
            one = LimitExceeded(limit.name, wait)
        else:
            one = ConcurrencyExceeded(limit.name, AT_ONCE_SECONDS)
        if not (limit.shadow or self._route.shadow):
            limit.refused += 1
            return one
        limit.shadowed += 1
        if self.shadowed is None:
            self.shadowed = one
        return None

    def _grant(self, grant: LimitGrant, now: float) -> None:
        limit, bucket = grant.limit, grant.bucket
        limit.admitted += 1
        if limit.windows:
            limit.take(bucket, self._route.cost, now)
        if limit.concurrency and self._concurrent:
            bucket.active += 1
            grant.at_work = self._at_work = True

    def _give_back(self, taken: LimitGrant | None, now: float) -> None:
        """Give back what `taken` and the grants before it took: the request is refused by another limit."""
        self.release()
        grant = taken
        while grant is not None:
            if grant.granted and grant.limit.windows:
                grant.limit.give_back(grant.bucket, self._route.cost, now)
            grant = grant.before

    def withdraw(self, now: float) -> None:
        """Give back what it took of every limit: a quota refuses the request, or it is shed."""
        self._give_back(self._last, now)

    def flows_on(self) -> None:
        """Count the request out of the limits that do not count what flows on for long."""
        grant = self._last if self._at_work else None
        while grant is not None:
            if grant.at_work and not grant.limit.counts_long:
                grant.at_work = False
                grant.bucket.active -= 1
            grant = grant.before

    def release(self) -> None:
        """Count the request out: it has ended."""
        grant = self._last if self._at_work else None
        self._at_work = False
        while grant is not None:
            if grant.at_work:
                grant.at_work = False
                grant.bucket.active -= 1
            grant = grant.before

    def lines(self, now: float) -> bytes:
        """Return the field lines about the limits that it met, without those in shadow."""
        route, grant = self._route, self._last
        if grant is None or not route.tells or route.shadow:
            return b""
        if grant.before is None:
            return b"" if grant.limit.shadow else fields_of(grant.limit, grant.bucket, now)
        policies: list[bytes] = []
        states: list[bytes] = []
        one: LimitGrant | None = grant
        while one is not None:
            if not one.limit.shadow:
                policies.append(one.limit.policy)
                states.append(state_of(one.limit, one.bucket, now))
            one = one.before
        if not policies:
            return b""
        policies.reverse()
        states.reverse()
        return b"RateLimit-Policy: %b\r\nRateLimit: %b\r\n" % (b", ".join(policies), b", ".join(states))
