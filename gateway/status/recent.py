"""Sliding windows of the metrics: the last minutes, as the difference between present and noted counts.

Law: a window is as old as its oldest note, and has the number of seconds it covers: a gateway that has just started
does not claim a minute.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from gateway.metrics.meters import DURATION_BUCKETS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.metrics import Metrics

NOTE_SECONDS: Final = 5.0
MINUTE: Final = 60.0
LONGEST: Final = 300.0
_REFUSED: Final = 400


@dataclass(slots=True)
class Counts:
    """Counts since the start, or in a window.

    Attributes:
        seconds: Length of the window.
        requests: Number of requests. The upstream or the gateway ``failed`` some; others were ``refused``, with a
            status of 400 and above.
        buckets: Seconds to the heads of their answers, in the buckets of the metrics.
        faults: Number of requests that the gateway answered itself, by reason.
        callers: Number of verdicts on callers, by ``credential outcome``.
        upstreams: By upstream, the seconds to its response heads in buckets, and the number of failed requests.
    """

    seconds: float = 0.0
    requests: int = 0
    refused: int = 0
    failed: int = 0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(DURATION_BUCKETS) + 1))
    faults: dict[str, float] = field(default_factory=dict)
    callers: dict[str, float] = field(default_factory=dict)
    upstreams: dict[str, tuple[list[int], int]] = field(default_factory=dict)

    def since(self, then: Counts) -> Counts:
        """Return the counts since `then`."""
        nothing = [0] * len(self.buckets)
        return Counts(
            self.seconds - then.seconds,
            self.requests - then.requests,
            self.refused - then.refused,
            self.failed - then.failed,
            _less(self.buckets, then.buckets),
            _grown(self.faults, then.faults),
            _grown(self.callers, then.callers),
            {
                name: (
                    _less(heads, then.upstreams.get(name, (nothing, 0))[0]),
                    failures - then.upstreams.get(name, (nothing, 0))[1],
                )
                for name, (heads, failures) in self.upstreams.items()
            },
        )

    def as_json(self) -> dict[str, object]:
        """Return the counts for JSON, with values derived from them."""
        return {
            "seconds": round(self.seconds, 3),
            "requests": self.requests,
            "refused": self.refused,
            "failed": self.failed,
            "buckets": self.buckets,
            "faults": self.faults,
            "callers": self.callers,
            "upstreams": {
                name: {"buckets": heads, "answered": sum(heads), "failed": failures}
                for name, (heads, failures) in self.upstreams.items()
            },
        }


def _less(now: Sequence[int], then: Sequence[int]) -> list[int]:
    return [one - other for one, other in zip(now, then, strict=True)]


def _grown(now: Mapping[str, float], then: Mapping[str, float]) -> dict[str, float]:
    return {name: grown for name, count in now.items() if (grown := count - then.get(name, 0))}


def counted(metrics: Metrics, now: float) -> Counts:
    """Return the counts since the start; `now` is in seconds of any monotonic clock."""
    counts = Counts(now)
    for meter in metrics.routes.values():
        for (_, status), number in meter.answered.items():
            counts.requests += number
            if status >= _REFUSED:
                counts.refused += number
        for (_, status), number in meter.failures.items():
            counts.failed += number
            if status >= _REFUSED:
                counts.refused -= number
        counts.buckets = [one + other for one, other in zip(counts.buckets, meter.heads.counts, strict=True)]
    counts.faults = metrics.faults_by_reason()
    counts.callers = {" ".join(labels): number for labels, number in metrics.verdicts.counts.items()}
    counts.upstreams = {
        name: (list(meter.heads.counts), sum(meter.failures.values()) + meter.faulted)
        for name, meter in metrics.upstreams.items()
    }
    return counts


class Recent:
    """Sliding windows: it notes the counts periodically, and subtracts."""

    def __init__(self, metrics: Metrics, now: float) -> None:
        self._metrics = metrics
        self._notes: deque[Counts] = deque([counted(metrics, now)], maxlen=round(LONGEST / NOTE_SECONDS) + 1)

    def note(self, now: float) -> None:
        """Note the counts; called every ``NOTE_SECONDS``."""
        self._notes.append(counted(self._metrics, now))

    def window(self, seconds: float, now: float) -> Counts:
        """Return the counts of the last `seconds`, or since the start if that is later."""
        oldest = next(
            note for note in self._notes if note is self._notes[-1] or now - note.seconds <= seconds
        )
        return counted(self._metrics, now).since(oldest)

    def history(self) -> list[tuple[float, float]]:
        """Return requests a second, and the failed ones among them, between each two notes."""
        return [
            (
                round((later.requests - earlier.requests) / (later.seconds - earlier.seconds), 3),
                round((later.failed - earlier.failed) / (later.seconds - earlier.seconds), 3),
            )
            for earlier, later in pairwise(self._notes)
            if later.seconds > earlier.seconds
        ]


def quantile(share: float, buckets: Sequence[float]) -> float | None:
    """Estimate a quantile of durations in seconds, as ``histogram_quantile`` does; None if all buckets are empty."""
    wanted = share * sum(buckets)
    if not wanted:
        return None
    below, floor = 0.0, 0.0
    for bound, count in zip(DURATION_BUCKETS, buckets, strict=False):
        if below + count >= wanted:
            return floor + (bound - floor) * (wanted - below) / count
        below += count
        floor = bound
    return floor
