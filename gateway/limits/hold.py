"""Hold of one request: what it has taken of the limits of its route.

Laws:

- A request passes only if every limit grants it, and takes nothing of any if one refuses: what it took before its
  caller was known is then given back.
- A limit in shadow refuses nothing, and what it would have refused takes nothing of it.
- A request at work is counted out exactly once, whatever became of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.limits.fields import state_of
from gateway.limits.keys import key_of, network_key
from gateway.limits.limit import AT_ONCE_SECONDS, Limit, RouteLimits, of_principal
from gateway.limits.refusal import ConcurrencyExceeded, LimitExceeded

if TYPE_CHECKING:
    from authcore.principal import Principal
    from gateway.limits.buckets import Bucket


class Hold:
    """Hold of one request on the limits of its route.

    Attributes:
        settled: The limits that count callers have been asked.
        shadowed: The first refusal by a limit in shadow; None if there is none.
    """

    __slots__ = (
        "_at",
        "_buckets",
        "_client",
        "_concurrent",
        "_granted",
        "_of",
        "_route",
        "_working",
        "settled",
        "shadowed",
    )

    def __init__(self, limits: RouteLimits, client: str, now: float, *, concurrent: bool = True) -> None:
        """Hold nothing yet, for a request from the address `client` that came at `now`.

        Unless `concurrent`, the request is not at work here, and no limit counts it as that.
        """
        self._route = limits
        self._client = network_key(client)
        self._at = now
        self._concurrent = concurrent
        self._of: list[Limit] = []
        self._buckets: list[Bucket] = []
        self._granted: list[bool] = []
        self._working: list[int] | None = None
        self.settled = False
        self.shadowed: LimitExceeded | None = None

    def enter(self) -> None:
        """Take of the limits that count before the credential is read.

        Raises:
            LimitExceeded: one of them refuses.
        """
        if self._route.early:
            self._take(self._route.early, None, self._at)

    def settle(self, principal: Principal, now: float) -> None:
        """Take of the limits that count callers, the first time that it is called.

        Raises:
            LimitExceeded: one of them refuses.
        """
        if self.settled:
            return
        self.settled = True
        if self._route.late:
            self._take(self._route.late, principal, now)

    def _take(self, limits: list[Limit], principal: Principal | None, now: float) -> None:
        route, first = self._route, len(self._of)
        refusal: LimitExceeded | None = None
        for limit in limits:
            if principal is not None and not of_principal(limit, principal):
                continue
            bucket = limit.buckets.find(key_of(limit.parts, self._client, route.route, principal), now)
            wait = limit.wait(bucket, route.cost, now)
            busy = self._concurrent and limit.is_busy(bucket)
            self._of.append(limit)
            self._buckets.append(bucket)
            self._granted.append(wait <= 0.0 and not busy)
            if wait > 0.0 or busy:
                one = self._refused(limit, wait)
                if one is not None and (refusal is None or one.seconds > refusal.seconds):
                    refusal = one
        if refusal is not None:
            self._give_back(first, now)
            raise refusal
        for number in range(first, len(self._of)):
            if self._granted[number]:
                self._grant(number, now)

    def _refused(self, limit: Limit, wait: float) -> LimitExceeded | None:
        """Count a refusal, by its rate or else for want of room, and return it if it is not in shadow."""
        one = (
            LimitExceeded(limit.name, wait)
            if wait > 0.0
            else ConcurrencyExceeded(limit.name, AT_ONCE_SECONDS)
        )
        if not (limit.shadow or self._route.shadow):
            limit.refused += 1
            return one
        limit.shadowed += 1
        if self.shadowed is None:
            self.shadowed = one
        return None

    def _grant(self, number: int, now: float) -> None:
        limit, bucket = self._of[number], self._buckets[number]
        limit.admitted += 1
        if limit.windows:
            limit.take(bucket, self._route.cost, now)
        if limit.concurrency and self._concurrent:
            bucket.active += 1
            if self._working is None:
                self._working = []
            self._working.append(number)

    def _give_back(self, taken: int, now: float) -> None:
        """Give back what the first `taken` limits granted: the request is refused by another."""
        self.release()
        for number in range(taken):
            limit = self._of[number]
            if self._granted[number] and limit.windows:
                limit.give_back(self._buckets[number], self._route.cost, self._at, now)
        self._granted = [False] * len(self._of)

    def flows_on(self) -> None:
        """Count the request out of the limits that do not count what flows on for long."""
        if self._working is not None:
            self._working = [number for number in self._working if self._stays(number)]

    def _stays(self, number: int) -> bool:
        if not self._of[number].counts_long:
            self._buckets[number].active -= 1
            return False
        return True

    def release(self) -> None:
        """Count the request out: it has ended."""
        working, self._working = self._working, None
        if working is not None:
            for number in working:
                self._buckets[number].active -= 1

    def lines(self, now: float) -> bytes:
        """Return the field lines about the limits that it met, without those in shadow."""
        if not self._route.tells:
            return b""
        policies: list[bytes] = []
        states: list[bytes] = []
        for number in range(len(self._of)):
            limit = self._of[number]
            if not (limit.shadow or self._route.shadow):
                policies.append(limit.policy)
                states.append(state_of(limit, self._buckets[number], now))
        if not policies:
            return b""
        if len(policies) == 1:
            return b"RateLimit-Policy: %b\r\nRateLimit: %b\r\n" % (policies[0], states[0])
        return b"RateLimit-Policy: %b\r\nRateLimit: %b\r\n" % (b", ".join(policies), b", ".join(states))
