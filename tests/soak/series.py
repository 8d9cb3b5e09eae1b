"""Series of measures of the gateway over a soak, and their slopes: what grows with time and not with load is a leak."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.soak.site import Site

PAUSE_BUCKET = "gateway_gc_pause_seconds_bucket"
MOST_POINTS = 360
"""A slope is of every pair of points, so that many are enough: their number is squared."""
JUDGED_SECONDS = 1200.0
"""A shorter soak has no slope: what is remembered is still filling up, and the noise is larger than the bound."""
SKIPPED_SHARE = 1 / 3
"""The part of a soak in which what is remembered fills up, and after which a slope is looked for."""


@dataclass(frozen=True)
class Point:
    """The gateway at one moment.

    Attributes:
        seconds: Since the load began.
        resident: Resident memory, MiB.
        private: Of that, what no other process shares, MiB.
        descriptors: Open files and sockets.
        tasks: Tasks of its event loop.
        lag: How late the loop came to its timer at worst in the last ten seconds, ms.
        entries: Identities remembered.
    """

    seconds: float
    resident: float
    private: float
    descriptors: float
    tasks: float
    lag: float
    entries: float


BOUNDS = {"resident": 4.0, "private": 4.0, "descriptors": 4.0, "tasks": 4.0, "lag": 5.0}
"""The slopes that are none, in an hour: MiB, pieces and ms. Each is a few times what noise makes of a flat line."""


async def page(site: Site) -> dict[str, float]:
    """Return the samples without labels, and the buckets of garbage collections, of the gateway's metrics."""
    host, port = site.admin
    async with site.http.get(f"http://{host}:{port}/metrics") as answer:
        text = await answer.text()
    return {
        sample.name + sample.labels.get("le", ""): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.labels or family.name == "gateway_gc_pause_seconds"
    }


async def pauses(site: Site) -> str:
    """Return how many collections of garbage there were, and how many of them took how long."""
    told = await page(site)
    counts = [
        f"{name.removeprefix(PAUSE_BUCKET)} s: {value:.0f}"
        for name, value in told.items()
        if name.startswith(PAUSE_BUCKET)
    ]
    return f"collections that took up to {', '.join(counts)}"


async def point(site: Site, seconds: float) -> Point:
    folder = Path(f"/proc/{site.pid}")
    told = await page(site)
    rollup = dict(line.split(":", 1) for line in (folder / "smaps_rollup").read_text().splitlines()[1:])

    def mebibytes(name: str) -> float:
        return int(rollup[name].split()[0]) / 1024

    return Point(
        seconds=seconds,
        resident=mebibytes("Rss"),
        private=mebibytes("Private_Clean") + mebibytes("Private_Dirty"),
        descriptors=len(list((folder / "fd").iterdir())),
        tasks=told["gateway_tasks"],
        lag=1000 * told["gateway_loop_lag_seconds"],
        entries=told["gateway_identity_entries"],
    )


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the median slope of all pairs of points (Theil and Sen): a burst here and there does not move it."""
    slopes = [(y - v) / (x - u) for (u, v), (x, y) in combinations(points, 2) if x > u]
    return median(slopes) if slopes else 0.0


def spread(points: Sequence[tuple[float, float]]) -> float:
    """Return how far values lie from the line through them, as a median: the noise of a series."""
    steep = slope(points)
    rests = [y - steep * x for x, y in points]
    middle = median(rests)
    return median(abs(rest - middle) for rest in rests)


def late(points: Sequence[Point]) -> list[Point]:
    """Return the points of after the warm-up."""
    return [one for one in points if one.seconds >= SKIPPED_SHARE * points[-1].seconds]


def values(points: Sequence[Point], name: str) -> list[tuple[float, float]]:
    """Return one value over time, after the warm-up."""
    return [(one.seconds, float(getattr(one, name))) for one in late(points)]


def leaks(points: Sequence[Point]) -> list[str]:
    """Return what grows, in words; nothing of a soak too short to have a slope."""
    if not points or points[-1].seconds < JUDGED_SECONDS:
        return []
    slopes = {name: 3600 * slope(values(points, name)) for name in BOUNDS}
    return [
        f"{name} grows by {slopes[name]:.1f} an hour, where {bound} is none"
        for name, bound in BOUNDS.items()
        if slopes[name] > bound
    ]


def table(points: Sequence[Point], parts: int = 6) -> str:
    """Return the medians of each part of the soak, and the slopes with their noise, in Markdown."""
    names = [one.name for one in fields(Point) if one.name != "seconds"]
    lines = [f"| minutes | {' | '.join(names)} |", f"|---{'|---' * len(names)}|"]
    length = points[-1].seconds / parts
    for part in range(parts):
        of_part = [one for one in points if part * length <= one.seconds < (part + 1) * length]
        middles = (
            [f"{median(getattr(one, name) for one in of_part):.1f}" for name in names] if of_part else []
        )
        lines.append(
            f"| {part * length / 60:.0f} to {(part + 1) * length / 60:.0f} | {' | '.join(middles)} |"
        )
    series = [values(points, name) for name in names]
    lines.append(f"| slope, an hour | {' | '.join(f'{3600 * slope(one):+.2f}' for one in series)} |")
    lines.append(f"| noise | {' | '.join(f'{spread(one):.2f}' for one in series)} |")
    return "\n".join(lines)
