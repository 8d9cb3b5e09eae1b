"""Failover order: which of several upstreams, by priority, gets a request now, and when an earlier one is tried again.

Laws:

- The first upstream that is not known to be away gets the request. If all are, they are tried by priority.
- An upstream that could not be reached is passed over for a second, and twice as long each time, up to a minute.
- When that time is over, one request tries it; the others pass it over until that try has ended, however long it takes.
- One outage counts once: a failure counts only if its try began at or after the moment when a try was due.
"""

from __future__ import annotations

from typing import Final

LONGEST_SECONDS: Final = 60.0
_MOST_FAILURES: Final = 7


class Failover:
    """Failover order of upstreams, each named by its place: 0 is the first choice.

    Attributes:
        back: By place, monotonic seconds until which it is passed over.
        due: By place, monotonic seconds at which the next try is due. Failures of earlier tries do not count.
        failures: By place, how often in a row it could not be reached.
        used: By place, how many requests it was chosen for.
    """

    __slots__ = ("back", "due", "failures", "used")

    def __init__(self, places: int) -> None:
        self.back = [0.0] * places
        self.due = [0.0] * places
        self.failures = [0] * places
        self.used = [0] * places

    def order(self, now: float) -> list[int]:
        """Return the places in the order in which a request tries them; :meth:`begin` comes before each try."""
        present = [place for place, back in enumerate(self.back) if back <= now]
        return present + [place for place in range(len(self.back)) if place not in present]

    def begin(self, place: int, now: float) -> None:
        """Note that a request tries a place; if its time is over, the others pass it over meanwhile.

        One of :meth:`reached`, :meth:`failed` and :meth:`left` follows.
        """
        if self.failures[place] and self.back[place] <= now:
            self.back[place] = now + LONGEST_SECONDS

    def failed(self, place: int, began: float, now: float) -> bool:
        """Note that a place could not be reached in a try that began at `began`; return whether that is news."""
        is_news = not self.failures[place]
        if is_news or began >= self.due[place]:
            self.failures[place] = min(self.failures[place] + 1, _MOST_FAILURES)
            self.back[place] = self.due[place] = now + self._wait(place)
        return is_news

    def left(self, place: int, now: float) -> None:
        """Note that a try ended without a result because its request did; the next try is after the same pause."""
        is_the_try = self.back[place] > self.due[place]  # the one that the others wait for
        if self.failures[place] and is_the_try:
            self.back[place] = self.due[place] = now + self._wait(place)

    def reached(self, place: int) -> bool:
        """Note that a request goes to a place, which was reached; return whether that is news."""
        is_news = self.failures[place] > 0
        self.used[place] += 1
        self.failures[place] = 0
        self.back[place] = self.due[place] = 0.0
        return is_news

    def is_away(self, place: int) -> bool:
        """Return whether a place could not be reached when it was last tried."""
        return self.failures[place] > 0

    def _wait(self, place: int) -> float:
        return min(LONGEST_SECONDS, 2.0 ** (self.failures[place] - 1))
