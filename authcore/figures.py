"""Metric samples of the domain: gauges, counters and histograms, described for whichever module publishes them.

Law: reading a figure does no I/O and takes no lock, and adding a value to a histogram costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

WAITS: Final[tuple[float, ...]] = (0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)
"""Bucket bounds, in seconds, of a histogram of waits that should be near zero."""


def bucket(bounds: tuple[float, ...], value: float) -> int:
    """Return the number of the first of `bounds` that is not below `value`; how many there are if all are.

    A scan, since most values are within the first few: compiled, each step costs a fraction of what calling ``bisect``
    does.
    """
    at = 0
    for bound in bounds:
        if value <= bound:
            break
        at += 1
    return at


@dataclass(frozen=True, slots=True)
class MetricSample:
    """Gauge or counter: one named number with the function that reads it.

    Attributes:
        name: Snake case, unique within its part.
        meaning: One sentence that describes it.
        read: Returns its current value.
        counts: True for a counter, which only grows; False for a gauge.
    """

    name: str
    meaning: str
    read: Callable[[], float]
    counts: bool = False


class Histogram:
    """Histogram: counts of values by bucket. Only one thread may add values at a time.

    Attributes:
        bounds: The upper bounds of the buckets, in order; one more bucket holds the rest.
        counts: Values in each bucket.
        total: The sum of the values.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...] = WAITS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Add a value to its bucket and to the sum."""
        self.counts[bucket(self.bounds, value)] += 1
        self.total += value


@dataclass(frozen=True, slots=True)
class HistogramSample:
    """Histogram with the name and meaning under which it is published, as of a :class:`MetricSample`."""

    name: str
    meaning: str
    histogram: Histogram
