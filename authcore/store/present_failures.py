"""Present failures of the database: those that were met and are not over.

Laws:

- The watcher gets every failure, and the first answer after which it is over.
- A failure of a connection is over as soon as any statement is answered. A failure of a statement, which others do not
  share, is over when none has met it for ``QUIET_SECONDS``: chores and probes are answered while a lock holds the rest.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

from authcore.store.kinds import PASSING, FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from authcore.store.failures import Failure
    from authcore.store.watcher import Watcher

QUIET_SECONDS: Final = 15.0
"""A statement's failure is over when no statement has met it for this long. Chores write more often than that."""


class PresentFailures:
    """Failures that the statements of one pool have met and that are not over.

    Attributes:
        by_kind: The last failure of each kind.
    """

    def __init__(self, watcher: Watcher, lasts: Callable[[FailureKind], bool | None]) -> None:
        """Report to `watcher`; `lasts` returns whether a kind is known to last, and None where only time shows it."""
        self._watcher = watcher
        self._lasts = lasts
        self.by_kind: dict[FailureKind, Failure] = {}
        self._met: dict[FailureKind, float] = {}
        self._given_up = -math.inf

    def note(self, failure: Failure, *, given_up: bool = False) -> None:
        """Note a failure; `given_up` if a statement had a connection, and its answer did not come in time."""
        if failure.kind is FailureKind.CIRCUIT or failure.is_of_text:
            return
        self.by_kind[failure.kind] = failure
        now = self._met[failure.kind] = time.monotonic()
        if given_up:
            self._given_up = now
        self._watcher.failed(failure)

    def note_answer(self, silent_at: float) -> None:
        """Note that a statement was answered; `silent_at` is when the server last left a probe without an answer."""
        now = time.monotonic()
        for kind in [kind for kind in self.by_kind if self._is_over(kind, now, silent_at)]:
            self._watcher.recovered(self.by_kind.pop(kind))

    def _is_over(self, kind: FailureKind, now: float, silent_at: float) -> bool:
        lasts = self._lasts(kind)
        if lasts is not None:
            return not lasts
        # A probe without an answer shows that the server was silent towards everybody, and this answer ends that.
        if kind is FailureKind.TIMEOUT and self._given_up > silent_at:
            return now - self._given_up >= QUIET_SECONDS
        return kind in PASSING or now - self._met[kind] >= QUIET_SECONDS
