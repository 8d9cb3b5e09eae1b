"""Figure and Spread: what a part of the domain knows about itself in numbers, for whoever publishes it.

Law: reading one costs no I/O and takes no lock, and noting a value costs next to nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

WAITS: Final[tuple[float, ...]] = (0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)
"""Bounds, in seconds, for waits that should not be there at all."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number.

    Attributes:
        name: Snake case, unique within its part.
        meaning: One sentence.
        read: Tells it as it is now.
        counts: It only ever grows.
    """

    name: str
    meaning: str
    read: Callable[[], float]
    counts: bool = False


class Spread:
    """How values are spread, by buckets. Noted by one thread at a time.

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
        """Note a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


@dataclass(frozen=True, slots=True)
class Distribution:
    """A spread to publish; name and meaning as of a :class:`Figure`."""

    name: str
    meaning: str
    spread: Spread
