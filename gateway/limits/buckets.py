"""Leaky buckets of one limit, by key: GCRA (generic cell rate algorithm) over several windows, and a count of requests.

A bucket stores one time per window: when it will have drained (the algorithm's theoretical arrival time). A unit drains
in :attr:`Window.interval` seconds, and a bucket holds :attr:`Window.burst` of them. Laws:

- Over any span of t seconds a key is granted at most ``burst + t / interval`` units.
- A bucket that has drained and that no request holds is like a new one: dropping it changes no answer.
- No other bucket is ever dropped, so nobody's debts are flushed by filling the table. Keys that find it full share a
  fixed number of buckets, by a hash that clients cannot compute: memory is bounded, and they are counted too strictly
  rather than not at all.
- Adding a key looks at :data:`SWEPT` others, whatever the size of the table; nothing ever walks through all of it.
- There is no clock: ``now`` is passed in. One that runs backwards makes a key wait, and never for longer than a full
  bucket takes.
"""

from __future__ import annotations

from typing import Final

SWEPT: Final = 2
"""Buckets that are looked at, and dropped if they are like new, when a key is added."""
SHARED: Final = 1024
"""Buckets that the keys share for which the table has no room."""
_SLACK, _SLACK_SECONDS, _MOST_SLACK = 0.001, 1e-6, 0.5
"""Rounding may go wrong by a share of one unit or by some seconds, whichever is more, up to a larger share."""


class Window:
    """Rate of a limit: units in a span of time, and how many of them at once.

    Attributes:
        units: Units granted in `seconds`, on average.
        seconds: The span.
        burst: Units granted at once, by a bucket that has drained.
        interval: Seconds in which one unit drains.
        depth: Seconds in which a full bucket drains.
        slack: Seconds that are owed to rounding.
    """

    __slots__ = ("burst", "depth", "interval", "seconds", "slack", "units")

    def __init__(self, units: float, seconds: float, burst: float) -> None:
        self.units = units
        self.seconds = seconds
        self.burst = burst
        self.interval = seconds / units
        self.depth = burst * self.interval
        self.slack = min(max(self.interval * _SLACK, _SLACK_SECONDS), self.interval * _MOST_SLACK)

    def wait(self, drained: float, cost: int, now: float) -> float:
        """Return the seconds until a bucket that has drained at `drained` grants `cost` units; 0 if it does now."""
        owed = drained - now
        if owed < 0.0:
            owed = 0.0
        elif owed > self.depth:  # the clock went back
            owed = self.depth
        over = owed + cost * self.interval - self.depth
        return over if over > self.slack else 0.0


class Bucket:
    """State of one key of a limit.

    Attributes:
        key: The key; of a shared bucket a number in its place.
        drained: By window, the time at which it will have drained.
        active: Requests of the key that are at work.
        lease: What a :class:`~gateway.limits.leases.Leases` stores for the key; None without one.
        held_until: The bucket is not dropped before this time, whatever has drained.
    """

    __slots__ = ("active", "drained", "held_until", "key", "lease")

    def __init__(self, key: bytes, windows: int) -> None:
        self.key = key
        self.drained = [0.0] * windows
        self.active = 0
        self.lease: object = None
        self.held_until = 0.0

    def is_new(self, now: float) -> bool:
        """Return whether it is like a bucket that was made at `now`."""
        if self.active or self.held_until > now:
            return False
        for drained in self.drained:  # noqa: SIM110 -- compiled, a loop makes no generator
            if drained > now:
                return False
        return True


class Buckets:
    """Table of the buckets of one limit, bounded in number.

    Attributes:
        most: Keys with a bucket of their own at most.
        overflowed: How often a key shared a bucket because the table was full.
    """

    __slots__ = ("_hand", "_index", "_ring", "_shared", "_windows", "most", "overflowed")

    def __init__(self, windows: int, most: int) -> None:
        """Make an empty table of buckets for so many windows each."""
        self._windows = windows
        self.most = most
        self._index: dict[bytes, Bucket] = {}
        self._ring: list[Bucket] = []
        self._hand = 0
        self._shared: list[Bucket] = []
        self.overflowed = 0

    def __len__(self) -> int:
        return len(self._ring)

    def every(self) -> list[Bucket]:
        """Return all buckets, the shared ones too."""
        return [*self._ring, *self._shared]

    def peek(self, key: bytes) -> Bucket | None:
        """Return the bucket of `key` if it has one of its own, and change nothing."""
        return self._index.get(key)

    def find(self, key: bytes, now: float) -> Bucket:
        """Return the bucket of `key`, which is added if there is room, and shared with other keys if not."""
        bucket = self._index.get(key)
        return self._add(key, now) if bucket is None else bucket

    def _add(self, key: bytes, now: float) -> Bucket:
        for _ in range(SWEPT):
            self._sweep(now)
        if len(self._ring) >= self.most:
            self.overflowed += 1
            if not self._shared:
                self._shared = [Bucket(b"%d" % number, self._windows) for number in range(SHARED)]
            return self._shared[hash(key) % SHARED]
        bucket = Bucket(key, self._windows)
        self._index[key] = bucket
        self._ring.append(bucket)
        return bucket

    def _sweep(self, now: float) -> None:
        """Look at the next bucket, and drop it if it is like new: the newest takes its place, and is not looked at."""
        ring, hand = self._ring, self._hand
        if hand >= len(ring):
            hand = 0
            if not ring:
                return
        self._hand = hand + 1
        bucket = ring[hand]
        if bucket.is_new(now):
            last = ring.pop()
            if last is not bucket:
                ring[hand] = last
            del self._index[bucket.key]

    def adopt(self, before: Buckets, scales: list[tuple[int, float, float]], now: float) -> None:
        """Take over the buckets of the table that this one replaces, which requests on their way still use.

        Their buckets have room for the windows of both from now on. Each of `scales` is the number of a window before,
        by how much its debts grow, and how deep its buckets are now, for the windows of this table in order; a window
        that is new has the number -1.
        """
        self._windows = before._windows = max(self._windows, before._windows)
        self._index, self._ring, self._shared = before._index, before._ring, before._shared
        self._hand, self.overflowed = before._hand, before.overflowed
        for bucket in self.every():
            drained = bucket.drained
            bucket.drained = [
                0.0 if number < 0 else now + min(max(drained[number] - now, 0.0) * scale, depth)
                for number, scale, depth in scales
            ]
            bucket.drained += [0.0] * (self._windows - len(scales))
