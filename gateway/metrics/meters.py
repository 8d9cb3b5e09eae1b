"""What every request touches: plain integers, counted by the one thread that serves.

Laws:

- No lock and no library: a counter of prometheus_client takes a lock for each increment.
- A meter is made once per name and kept: a route table that is swapped goes on counting where the last one was.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from authcore.figures import Spread

METHODS: Final = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})
OTHER: Final = b"other"
"""What stands for all other methods, which clients may invent."""
DURATION_BUCKETS: Final[tuple[float, ...]] = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1),
    *(0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
"""Seconds; from a warm request on loopback to the default deadline of an upstream."""
SIZE_BITS: Final = (8, 10, 12, 14, 16, 18, 20, 23, 26, 30)
"""Sizes are kept by their number of bits, and published at these powers of two: 256 bytes to 1 GiB."""
_SIZES: Final = 65


class Sizes:
    """Numbers of bytes, by powers of two.

    Attributes:
        counts: At place k, sizes above 2^(k-1) and up to 2^k; those of one byte and none are at 0 and 1.
        total: Their sum.
    """

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * _SIZES
        self.total = 0

    def up_to(self, bits: int) -> int:
        """Return how many were of 2^`bits` bytes or fewer."""
        return sum(self.counts[: bits + 1])


class VerdictMeter:
    """The verdicts on callers.

    Attributes:
        counts: By the kind of the credential, and ``ok``, ``stale`` or the reason for the refusal.
    """

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts: dict[tuple[str, ...], int] = {}

    def record(self, credential: str, outcome: str) -> None:
        """Count one."""
        key = (credential, outcome)
        self.counts[key] = self.counts.get(key, 0) + 1


class RouteMeter:
    """The numbers of one route.

    Attributes:
        answered: Requests by method and status.
        buckets: Requests by the bucket their duration falls into; one more than there are bounds.
        seconds: The sum of their durations.
        received: Sizes of request bodies; those of none are not in it.
        sent: Sizes of answers' bodies.
    """

    __slots__ = ("answered", "buckets", "received", "seconds", "sent")

    def __init__(self) -> None:
        self.answered: dict[tuple[bytes, int], int] = {}
        self.buckets = [0] * (len(DURATION_BUCKETS) + 1)
        self.seconds = 0.0
        self.received = Sizes()
        self.sent = Sizes()

    def record(self, method: bytes, status: int, seconds: float, received: int = 0, sent: int = 0) -> None:
        """Count one request that has been answered; sizes in bytes."""
        key = (method if method in METHODS else OTHER, status)
        self.answered[key] = self.answered.get(key, 0) + 1
        self.buckets[bisect_left(DURATION_BUCKETS, seconds)] += 1
        self.seconds += seconds
        if received:
            sizes = self.received
            sizes.counts[(received - 1).bit_length()] += 1
            sizes.total += received
        sizes = self.sent
        sizes.counts[(sent - 1).bit_length()] += 1
        sizes.total += sent


class UpstreamMeter:
    """The numbers of one upstream.

    Attributes:
        at_once: Requests that found an idle connection.
        waits: Seconds that the others waited for one, opening it included.
        heads: Seconds from a request sent to the head of its answer.
        failures: Requests it failed, by reason.
        failing: Those of them since it last answered.
        retries: Requests sent again on another connection.
    """

    __slots__ = ("at_once", "failing", "failures", "heads", "retries", "waits")

    def __init__(self) -> None:
        self.at_once = 0
        self.waits = Spread()
        self.heads = Spread(DURATION_BUCKETS)
        self.failures: dict[str, int] = {}
        self.failing = 0
        self.retries = 0

    def answered(self, seconds: float) -> None:
        """Note that the head of an answer came."""
        heads = self.heads
        heads.counts[bisect_left(DURATION_BUCKETS, seconds)] += 1
        heads.total += seconds
        self.failing = 0

    def failed(self, reason: str) -> None:
        """Note that there was none, or no whole one."""
        self.failures[reason] = self.failures.get(reason, 0) + 1
        self.failing += 1
