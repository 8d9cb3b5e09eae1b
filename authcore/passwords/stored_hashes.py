"""Reader of stored bcrypt hashes: it decides which are tried, and counts the unusable ones.

Laws:

- A hash that other writers left malformed, or that would hold a thread for seconds, proves nothing: no error, no work.
- Each refusal is counted, and reported with the reason. The report never holds the hash.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import bcrypt

from authcore.figures import MetricSample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MAX_COST: Final = 16
"""The dearest hash that is tried: about four seconds of one thread. Each step doubles that."""

_HASH: Final = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}\Z", re.ASCII)
_MIN_COST: Final = 4


class Unusable(StrEnum):
    """Reason for which a stored hash is not tried."""

    MALFORMED = "malformed"
    """It is no bcrypt hash, though it may look like one."""
    TOO_COSTLY = "too_costly"
    """Its cost is above ``MAX_COST``."""


class StoredHashes:
    """Reader of stored hashes.

    Attributes:
        unusable: How many were refused, by reason. An empty one is not counted: such an account has no password.
    """

    def __init__(self, report: Callable[[Unusable], None] = lambda _: None) -> None:
        """`report` is called with the reason of each refusal, in whatever thread that happens."""
        self._report = report
        self.unusable = dict.fromkeys(Unusable, 0)

    def cost(self, stored: str | None) -> int | None:
        """Return the cost of a hash, from 4 to ``MAX_COST``; None when it cannot be tried."""
        if not stored:
            return None
        match = _HASH.match(stored)
        cost = 0 if match is None else int(match[1])
        if cost < _MIN_COST:
            self._refuse(Unusable.MALFORMED)
            return None
        if cost > MAX_COST:
            self._refuse(Unusable.TOO_COSTLY)
            return None
        return cost

    def proves(self, secret: bytes, stored: str) -> bool | None:
        """Run bcrypt, in this thread: whether `stored`, which has a cost, is the hash of `secret`.

        Returns:
            None where it looked like a hash and is none: then no work was done.
        """
        try:
            return bcrypt.checkpw(secret, stored.encode("ascii"))
        except ValueError:  # bits that no encoder writes, or the like
            self._refuse(Unusable.MALFORMED)
            return None

    def _refuse(self, reason: Unusable) -> None:
        self.unusable[reason] += 1
        self._report(reason)

    def figures(self) -> Iterable[MetricSample]:
        """Return the metrics to publish."""
        yield MetricSample(
            "malformed_hashes",
            "Stored password and key hashes that were met and are no bcrypt hashes.",
            lambda: self.unusable[Unusable.MALFORMED],
            counts=True,
        )
        yield MetricSample(
            "costly_hashes",
            f"Stored password and key hashes that were met and not tried: their cost is above {MAX_COST}.",
            lambda: self.unusable[Unusable.TOO_COSTLY],
            counts=True,
        )
