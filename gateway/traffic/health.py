"""Health of an endpoint by active checks: a state machine that rises and falls; and the slow start of one that is back.

Laws:

- The first check of an endpoint decides alone: until then it is used, so that a gateway that starts refuses nothing.
- A healthy endpoint becomes unhealthy by ``fall`` checks in a row that fail, and an unhealthy one healthy by ``rise``
  checks in a row that pass. Nothing else changes its state.
- An endpoint that is back gets a share of its weight that grows evenly, from a tenth, until its slow start is over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FIRST_SHARE: Final = 0.1
"""Share of its weight that an endpoint has at the beginning of its slow start: with none it would never be chosen."""


@dataclass(frozen=True, slots=True)
class HealthPolicy:
    """Terms of active checks; times in seconds.

    Attributes:
        path: Target of the request, with its query.
        host: Its Host; empty for that of the upstream's URL.
        statuses: Statuses of answers that pass.
        body: What the answer's body has to hold; empty for any body.
        interval_seconds: From one check to the next.
        jitter_percent: Each interval is longer or shorter by up to so much, by chance.
        timeout_seconds: For a whole check, from connecting to the last byte that is looked at.
    """

    path: str
    host: bytes = b""
    statuses: frozenset[int] = frozenset(range(200, 300))
    body: bytes = b""
    interval_seconds: float = 5.0
    jitter_percent: int = 20
    timeout_seconds: float = 2.0
    rise: int = 2
    fall: int = 3

    def pause(self, chance: float) -> float:
        """Return the seconds to the next check; `chance` is evenly spread from 0 to 1."""
        return self.interval_seconds * (1 + self.jitter_percent / 100 * (2 * chance - 1))


class CheckedHealth:
    """Health of one endpoint.

    Attributes:
        healthy: Whether it is used.
        known: A check has been made.
        streak: Number of checks in a row that speak against the present state.
    """

    __slots__ = ("healthy", "known", "streak")

    def __init__(self) -> None:
        self.healthy = True
        self.known = False
        self.streak = 0

    def note(self, *, passed: bool, rise: int, fall: int) -> bool:
        """Note a check; return whether the state has changed."""
        if passed == self.healthy:
            self.known, self.streak = True, 0
            return False
        self.streak += 1
        if self.known and self.streak < (fall if self.healthy else rise):
            return False
        self.known, self.healthy, self.streak = True, passed, 0
        return True


def share(since: float, now: float, slow_start_seconds: float) -> float:
    """Return the share of its weight, up to 1, that an endpoint has `now` if it has been back `since` then."""
    if slow_start_seconds <= 0 or now - since >= slow_start_seconds:
        return 1.0
    return max(FIRST_SHARE, (now - since) / slow_start_seconds)
