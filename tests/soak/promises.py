"""Ledger of a soak: what was asked and answered, and which laws did not hold; and the bound that a gateway promises."""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from typing import Any

import click

NOTICE_SECONDS = 3.0
"""A server that falls silent is noticed in two; the rest is for a machine that is busy."""
ROUND_TRIPS = 10
"""A change is heard, and looked up after the statement under way, over a connection that may have to be opened."""
KEPT = 10_000


@dataclass(frozen=True)
class Sample:
    """Bound on how late a revocation is noticed, as the gateway stated it at a moment."""

    at: float
    seconds: float


class Promise:
    """Bound on how late a revocation may be noticed, by what ``/readyz`` said lately.

    Attributes:
        round_trip: How much longer than it should a question to the database takes, in seconds.
    """

    def __init__(self, *, cache_seconds: float, stale_seconds: float) -> None:
        self._cache_seconds = cache_seconds
        self._stale_seconds = stale_seconds
        self._samples: deque[Sample] = deque(maxlen=KEPT)
        self.round_trip = 0.0

    def note(self, at: float, answer: Any, took: float = 0.0) -> None:
        """Take in what ``/readyz`` answered to a question of the time `at`, and how long that took on this machine."""
        late = took + ROUND_TRIPS * self.round_trip
        seconds = float(answer["revocation"]["at_most_seconds"])
        if answer["checks"]["database"].startswith("unreachable"):
            seconds = self._cache_seconds + self._stale_seconds
        elif answer["revocation"]["changes"] == "away":
            seconds = max(seconds, self._cache_seconds + self._stale_seconds)
        self._samples.append(Sample(at, seconds + late))

    def bound(self, at: float) -> float:
        """Return how long before `at` a revocation may have been made that is not noticed by then."""
        worst = 0.0
        for sample in reversed(self._samples):
            if sample.at <= at:
                worst = max(worst, sample.seconds)
            if sample.at < at - NOTICE_SECONDS:
                break
        return NOTICE_SECONDS + worst


@dataclass
class Ledger:
    """Ledger of the soak: what was asked and answered, and which laws did not hold.

    Attributes:
        fault: What is being done to the database at the moment.
        statuses: Answers, by load and status; 0 where there was none.
        late: How long after their revocation the last of the revoked were served, by fault, in seconds.
        slow: The longest that a known caller waited, by fault, in seconds.
        back: How long after a fault sign-in and "pushed" were there again, by fault, in seconds.
    """

    promise: Promise
    begun: float = field(default_factory=time.monotonic)
    fault: str = "warm-up"
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    late: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    slow: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    back: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def breaks(self, law: str, what: str) -> None:
        """Note that a law did not hold."""
        line = f"{time.monotonic() - self.begun:8.2f} s, {self.fault}: {law}: {what}"
        self.broken.append(line)
        click.echo(f"BROKEN {line}")

    def known(self, load: str, status: int, seconds: float) -> None:
        """Note the answer to somebody who is known and has done nothing wrong."""
        self.statuses[load, status] += 1
        self.slow[self.fault] = max(self.slow[self.fault], seconds)
        if status != 200:
            self.breaks("nobody known is refused", f"{load} was answered {status} after {seconds:.2f} s")

    def newcomer(self, load: str, status: int, content: object = None) -> None:
        """Note the answer to somebody genuine whom an outage may keep out, and nothing else may."""
        self.statuses[load, status] += 1
        if status not in {200, 503}:
            self.breaks("an outage denies nobody", f"{load} was answered {status}: {content}")

    def visitor(self, load: str, status: int, allowed: set[int]) -> None:
        """Note the answer to a visitor, of whom it is known what they may be answered."""
        self.statuses[load, status] += 1
        if status not in allowed:
            self.breaks("a visitor is answered as they should be", f"{load} was answered {status}")

    def revoked(self, load: str, status: int, revoked: float, asked: float) -> None:
        """Note the answer to somebody who asked after they had been revoked."""
        self.statuses[load, status] += 1
        late, bound = asked - revoked, self.promise.bound(asked)
        if status in {200, 101}:
            if late > bound:
                self.breaks(
                    "nobody revoked is served",
                    f"{load} was, {late:.2f} s later, where {bound:.2f} were promised",
                )
        elif status not in {401, 403, 503}:
            self.breaks("whoever is revoked is refused", f"{load} was answered {status}")
