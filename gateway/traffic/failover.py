"""Failover order: which of several upstreams, by priority, gets a request now, and when an earlier one is tried again.

Laws:

- The first upstream that is not known to be away gets the request. If all are, they are tried by priority.
- An upstream that could not be reached is passed over for a second, and twice as long each time, up to a minute.
- When that time is over, one request tries it; the others pass it over until that one has reached it.
"""

from __future__ import annotations

from typing import Final

LONGEST_SECONDS: Final = 60.0
_MOST_FAILURES: Final = 7


class Failover:
    """Failover order of upstreams, each named by its place: 0 is the first choice.

    Attributes:
        back: By place, monotonic seconds until which it is passed over.
        failures: By place, how often in a row it could not be reached.
        used: By place, how many requests it was chosen for.
    """

    __slots__ = ("back", "failures", "used")

    def __init__(self, places: int) -> None:
        self.back = [0.0] * places
        self.failures = [0] * places
        self.used = [0] * places

    def order(self, now: float) -> list[int]:
        """Return the places in the order in which a request tries them."""
        present = [place for place, back in enumerate(self.back) if back <= now]
        if present and self.failures[present[0]]:  # this request tries it, for all others
            self.back[present[0]] = now + self._wait(present[0])
        return present + [place for place in range(len(self.back)) if place not in present]

    def failed(self, place: int, now: float) -> bool:
        """Note that a place could not be reached; return whether that is news."""
        is_news = not self.failures[place]
        self.failures[place] = min(self.failures[place] + 1, _MOST_FAILURES)
        self.back[place] = now + self._wait(place)
        return is_news

    def reached(self, place: int) -> bool:
        """Note that a request goes to a place, which was reached; return whether that is news."""
        is_news = self.failures[place] > 0
        self.used[place] += 1
        self.failures[place] = 0
        self.back[place] = 0.0
        return is_news

    def is_away(self, place: int) -> bool:
        """Return whether a place could not be reached when it was last tried."""
        return self.failures[place] > 0

    def _wait(self, place: int) -> float:
        return min(LONGEST_SECONDS, 2.0 ** (self.failures[place] - 1))
