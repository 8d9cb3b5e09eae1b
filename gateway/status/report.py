"""Report of /status, for one process or merged from several.

Laws:

- It is JSON first (``/status.json``); the page renders that and nothing else.
- A figure that is a metric too is merged as that is (:mod:`gateway.metrics.together`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.metrics.together import rule
from gateway.status.causes import causes
from gateway.status.recent import LONGEST, MINUTE, Recent
from gateway.version import running_version

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.metrics import Metrics

Snapshot = dict[str, Any]

_LARGEST: Final = frozenset(
    {
        *("uptime_seconds", "seconds", "loop_lag_seconds", "at_most_seconds", "failing", "panic", "away"),
        *("weight", "behind", "ejected", "unhealthy", "moment"),
    }
)
"""Keys besides those of metrics of which the largest value counts: something is wrong with one process, or all have the
same value."""
_IN_ORDER: Final = frozenset({"ok", "good", "push", "pushed"})
"""Words for what is in order; of several processes the first other word counts."""
WATCHED: Final = "watched"
"""The part of a report with the present values of gauges."""


class Report:
    """Report of one process."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        clock: Callable[[], float],
        gauges: Callable[[], Snapshot],
        parts: Callable[[], Snapshot],
        versions: Callable[[], Mapping[str, str]],
    ) -> None:
        """Create the report.

        Args:
            metrics: The metrics that count requests.
            clock: Returns monotonic seconds.
            gauges: Returns ``traffic`` and ``upstreams`` as they are now.
            parts: Returns the auth domain's figures, by part.
            versions: Returns what runs, and when its configuration was read, as texts by name.
        """
        self._clock = clock
        self._started = clock()
        self._gauges = gauges
        self._parts = parts
        self._versions = versions
        self._recent = Recent(metrics, self._started)

    def note(self) -> None:
        """Note the counts."""
        self._recent.note(self._clock())

    def tell(self) -> Snapshot:
        """Return the report."""
        now = self._clock()
        return {
            "version": running_version(),
            "uptime_seconds": round(now - self._started, 3),
            **self._gauges(),
            "recent": {
                "1m": self._recent.window(MINUTE, now).as_json(),
                "5m": self._recent.window(LONGEST, now).as_json(),
                "history": self._recent.history(),
            },
            **self._parts(),
            "versions": dict(self._versions()),
        }


def explained(snapshot: Snapshot) -> Snapshot:
    """Return a report with its causes: what is not in order, by which sentence, and where the runbook has it."""
    return {**snapshot, "causes": [cause._asdict() for cause in causes(snapshot)]}


def together(workers: Mapping[str, Snapshot]) -> Snapshot:
    """Merge the reports of several processes into one; the causes are those of the whole (:func:`explained`)."""
    snapshots = [
        {name: part for name, part in one.items() if name != "causes"}
        for one in workers.values()
        if "recent" in one
    ]
    if not snapshots:
        return {}
    return {**_merged("", "", snapshots), "workers": {"wanted": len(workers), "answering": len(snapshots)}}


def _merged(part: str, name: str, values: list[Any]) -> Any:
    """Return the values of a key of several processes as one; `part` is the key above it."""
    first = values[0]
    if isinstance(first, dict):
        names = dict.fromkeys(key for value in values for key in value)
        if name == WATCHED:
            return {key: _of_gauge(key, [value[key] for value in values if key in value]) for key in names}
        return {key: _merged(name, key, [value[key] for value in values if key in value]) for key in names}
    if isinstance(first, list | tuple):
        return _notes(values) if name == "history" else [sum(parts) for parts in zip(*values, strict=True)]
    if isinstance(first, bool):
        return all(values)
    if isinstance(first, int | float):
        return max(values) if name in _LARGEST else rule(f"gateway_{part}_{name}")(values)
    return next((value for value in values if value not in _IN_ORDER), first)


def _of_gauge(name: str, values: list[dict[str, float]]) -> dict[str, float]:
    """Merge a gauge as /metrics does, so that the page and the alert on it agree."""
    labels = dict.fromkeys(key for value in values for key in value)
    return {key: rule(name)([value[key] for value in values if key in value]) for key in labels}


def _notes(histories: list[list[list[float]]]) -> list[list[float]]:
    """Add up histories: all processes note at the same pace, so the last notes belong together."""
    size = max(map(len, histories))
    padded = [[[0.0, 0.0]] * (size - len(one)) + [list(note) for note in one] for one in histories]
    return [[sum(parts) for parts in zip(*notes, strict=True)] for notes in zip(*padded, strict=True)]
