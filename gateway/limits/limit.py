"""Limit: one named policy, with its buckets by key, how much it grants, and what became of requests.

Laws:

- Asking (:meth:`Limit.wait`) changes nothing; :meth:`Limit.take` takes, and :meth:`Limit.give_back` is its opposite.
  All three are synchronous: between the question and the taking nothing else can happen.
- A request that is refused later gets all of its units back, but never more than the bucket still holds. The bucket
  drains while the request waits for its verdict, so a key can exceed its rate by at most what drains in that time.
- A shared store is asked by :class:`~gateway.limits.leases.Leases`, from memory as well: no request waits for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.limits.buckets import Bucket, Buckets, Window
from gateway.limits.fields import fields_start, item_names, policy_of

if TYPE_CHECKING:
    from gateway.limits.leases import Leases

AT_ONCE_SECONDS: Final = 1.0
"""Seconds after which to try again where too many requests are at work: nobody knows when one will end."""


class Limit:
    """Limit: a named policy and its state.

    Attributes:
        name: Its name.
        parts: What its keys are made of, in order (:mod:`gateway.limits.keys`).
        windows: Its rates; empty if it bounds only how many requests are at work.
        concurrency: Requests at work at once for one key; 0 for no bound.
        counts_long: WebSockets and answers that flow on are at work until they end.
        shadow: It refuses nothing: what it would refuse is counted and recorded.
        early: It counts requests before their credential is read, by the client's network.
        buckets: Its state by key.
        leases: The shared source of units; None if it counts here alone.
        items: The names of its windows' items in RateLimit fields, as they are written.
        policy: Its items of a RateLimit-Policy field.
        start: The start of both fields, up to the number that is left, if it has one window and nothing else.
        admitted: Requests that it let through.
        refused: Requests that it refused.
        shadowed: Requests that it would have refused.
    """

    __slots__ = (
        "admitted",
        "buckets",
        "concurrency",
        "counts_long",
        "early",
        "items",
        "leases",
        "name",
        "parts",
        "policy",
        "refused",
        "shadow",
        "shadowed",
        "start",
        "windows",
    )

    def __init__(  # noqa: PLR0913 -- its parameters by name
        self,
        name: str,
        parts: tuple[str, ...],
        windows: list[Window],
        *,
        concurrency: int = 0,
        counts_long: bool = True,
        shadow: bool = False,
        most: int = 100_000,
    ) -> None:
        """`most` is how many keys have a bucket of their own."""
        self.name = name
        self.parts = parts
        self.windows = windows
        self.concurrency = concurrency
        self.counts_long = counts_long
        self.shadow = shadow
        self.early = "network" in parts and set(parts) <= {"network", "route"}
        self.buckets = Buckets(len(windows), most)
        self.leases: Leases | None = None
        self.items = item_names(name, windows)
        self.policy = policy_of(name, windows, concurrency)
        alone = len(windows) == 1 and not concurrency
        self.start = fields_start(self.policy, self.items[0]) if alone else b""
        self.admitted = self.refused = self.shadowed = 0

    def wait(self, bucket: Bucket, cost: int, now: float) -> float:
        """Return the seconds until a request of `cost` units may pass; 0 if it may now."""
        if self.leases is not None:
            return self.leases.wait(self, bucket, cost, now)
        longest, number = 0.0, 0
        for window in self.windows:
            wait = window.wait(bucket.drained[number], cost, now)
            longest = max(longest, wait)
            number += 1  # noqa: SIM113 -- compiled, this is a machine integer
        return longest

    def is_busy(self, bucket: Bucket) -> bool:
        """Return whether as many requests of a key are at work as there may be."""
        return self.concurrency > 0 and bucket.active >= self.concurrency

    def take(self, bucket: Bucket, cost: int, now: float) -> None:
        """Take `cost` units."""
        if self.leases is not None:
            self.leases.take(self, bucket, cost, now)
            return
        number = 0
        for window in self.windows:
            bucket.drained[number] = max(bucket.drained[number], now) + cost * window.interval
            number += 1  # noqa: SIM113 -- see above

    def give_back(self, bucket: Bucket, cost: int, now: float) -> None:
        """Give back `cost` units that were taken, as far as the bucket has not drained by `now`."""
        if self.leases is not None:
            self.leases.give_back(self, bucket, cost, now)
            return
        number = 0
        for window in self.windows:
            bucket.drained[number] = max(bucket.drained[number] - cost * window.interval, now)
            number += 1  # noqa: SIM113 -- see above

    def left(self, bucket: Bucket | None, window: int, now: float) -> tuple[int, float]:
        """Return the units that are left in a window, and the seconds until there is one more; 0 if it is full."""
        rate = self.windows[window]
        if bucket is None:
            return int(rate.burst), 0.0
        if self.leases is not None:
            return self.leases.left(self, bucket, window, now)
        owed = min(max(bucket.drained[window] - now, 0.0), rate.depth)
        units = int((rate.depth - owed + rate.slack) / rate.interval)
        return units, max(owed - rate.depth + (units + 1) * rate.interval, 0.0) if owed else 0.0

    def adopt(self, before: Limit, now: float) -> None:
        """Take over the counts and buckets of the limit of this name that it replaces.

        Debts stay the same number of units. Windows are the same if there are as many, in order, or else if they have
        the same length; other windows begin anew.
        """
        self.admitted, self.refused, self.shadowed = before.admitted, before.refused, before.shadowed
        if before.parts != self.parts:
            return
        lengths = [window.seconds for window in before.windows]
        in_order = len(lengths) == len(self.windows)
        scales = []
        for number, window in enumerate(self.windows):
            at = number if in_order else lengths.index(window.seconds) if window.seconds in lengths else -1
            scale = 0.0 if at < 0 else window.interval / before.windows[at].interval
            scales.append((at, scale, window.depth))
        self.buckets.adopt(before.buckets, scales, now)


class RouteLimits:
    """Limits of one route.

    Attributes:
        route: The name of the route, for keys that have it.
        early: Those that count before the credential is read.
        late: Those that count once the caller is known and permitted.
        cost: Units that a request takes of each.
        shadow: None of them refuses here.
        tells: Answers have the RateLimit fields.
    """

    __slots__ = ("cost", "early", "late", "route", "shadow", "tells")

    def __init__(
        self, route: str, limits: list[Limit], *, cost: int = 1, shadow: bool = False, tells: bool = True
    ) -> None:
        self.route = route
        self.early = [limit for limit in limits if limit.early]
        self.late = [limit for limit in limits if not limit.early]
        self.cost = cost
        self.shadow = shadow
        self.tells = tells

    def of_preflights(self) -> RouteLimits | None:
        """Return the limits of its CORS preflights, which bring no credential; None if there are none."""
        if not self.early:
            return None
        return RouteLimits(self.route, self.early, cost=self.cost, shadow=self.shadow, tells=self.tells)
