"""Report writer: a Markdown page of medians and ratios, and a plot."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

from bench import candidates as c
from bench.plot import OURS, THEIRS, Panel, draw

if TYPE_CHECKING:
    from pathlib import Path

    from bench.load import Load, Measured


@dataclass(frozen=True)
class Row:
    """One run of wrk, and what it cost.

    Attributes:
        measured: wrk's report.
        cpu: The candidate's CPU seconds.
        memory: Its memory afterwards, in bytes.
        opened: The upstream connections that it opened meanwhile.
        load_busy: CPU seconds a second of wrk and the upstream, which share a core; near 1, they are what limits the
            rate, and not the candidate.
    """

    measured: Measured
    cpu: float
    memory: int
    opened: int
    load_busy: float = 0.0


Results = dict[tuple[str, str], list[Row]]

_BARS: Final = (
    ("JWT against HAProxy jwt_verify", c.GATEWAY_JWT, c.HAPROXY, 1.0),
    ("JWT against Envoy jwt_authn", c.GATEWAY_JWT, c.ENVOY, 3.0),
    ("JWT against the idiomatic aiohttp proxy", c.GATEWAY_JWT, c.AIOHTTP, 8.0),
    ("JWT against the splice", c.GATEWAY_JWT, c.SPLICE, 0.45),
    ("API key against JWT", c.GATEWAY_KEY, c.GATEWAY_JWT, 0.95),
)
_SECURE: Final = ("470 B by TLS, 64 connections", "TLS, a connection each")
_FIRST: Final = "470 B, 64 connections"


def rate(rows: list[Row]) -> float:
    """Return the median of requests per second."""
    return median(row.measured.rate for row in rows)


def cpu_per_thousand(rows: list[Row]) -> float:
    """Return the median of the candidate's CPU seconds per thousand requests."""
    return median(1000 * row.cpu / row.measured.requests for row in rows)


def write(  # noqa: PLR0913 -- the parts of a report
    out: Path,
    date: str,
    results: Results,
    loads: list[Load],
    *,
    machine: str,
    skipped: list[str],
    rounds: int,
    seconds: int,
) -> Path:
    """Write ``<date>.md`` and ``<date>.svg`` and return the page's path."""
    out.mkdir(parents=True, exist_ok=True)
    lines = [
        f"# Side by side, {date}",
        "",
        f"{machine}.",
        "",
        f"{rounds} interleaved rounds of {seconds} s after one of warming up; medians. Each candidate on one core and",
        "one thread, load and upstream on the other. Method and reading: [bench/README.md](../README.md).",
        "",
    ]
    lines += [f"Skipped, not installed here: {', '.join(skipped)}.", ""] if skipped else []
    lines += _bars(results)
    for load in loads:
        lines += _table(results, load)
    plotted = _plot(out / f"{date}.svg", results)
    if plotted:
        lines += [f"![requests a second]({date}.svg)", ""]
    path = out / f"{date}.md"
    path.write_text("\n".join(lines))
    return path


def _bars(results: Results) -> list[str]:
    lines = [
        "## What it must reach",
        "",
        "| bar | wanted | by rate | by CPU per request |",
        "|---|---|---|---|",
    ]
    for name, ours, theirs, wanted in _BARS:
        mine, other = results.get((_FIRST, ours)), results.get((_FIRST, theirs))
        if mine and other:
            by_cpu = cpu_per_thousand(other) / cpu_per_thousand(mine)
            lines.append(f"| {name} | ≥ {wanted} | {rate(mine) / rate(other):.2f} | {by_cpu:.2f} |")
    many, few = results.get(("470 B, 256 connections", c.GATEWAY_JWT)), results.get((_FIRST, c.GATEWAY_JWT))
    if many and few:
        by_cpu = cpu_per_thousand(few) / cpu_per_thousand(many)
        lines.append(
            f"| JWT at 256 connections against 64 | ≥ 0.8 | {rate(many) / rate(few):.2f} | {by_cpu:.2f} |"
        )
    for load in ("1 MiB down", "1 MiB up"):
        mine, other = results.get((load, c.GATEWAY_JWT)), results.get((load, c.NGINX))
        if mine and other:
            by_cpu = cpu_per_thousand(other) / cpu_per_thousand(mine)
            lines.append(
                f"| {load}, JWT against nginx | ≥ 0.7 | {rate(mine) / rate(other):.2f} | {by_cpu:.2f} |"
            )
    for load in _SECURE:
        mine, other = results.get((load, c.GATEWAY_TLS)), results.get((load, c.HAPROXY_TLS))
        if mine and other:
            by_cpu = cpu_per_thousand(other) / cpu_per_thousand(mine)
            lines.append(
                f"| {load}, JWT against HAProxy | ≥ 0.8 | {rate(mine) / rate(other):.2f} | {by_cpu:.2f} |"
            )
    return [*lines, ""]


def _table(results: Results, load: Load) -> list[str]:
    lines = [
        f"## {load.name}",
        "",
        "| candidate | requests/s | spread | MB/s | p50 ms | p99 ms | CPU s / 1000 | memory MiB | opened | errors |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (name, candidate), rows in results.items():
        if name != load.name:
            continue
        rates = [row.measured.rate for row in rows]
        moved = rate(rows) * max(load.upload, load.download) / 1e6
        p50, p99 = median(row.measured.p50 for row in rows), median(row.measured.p99 for row in rows)
        opened, errors = sum(row.opened for row in rows), sum(row.measured.errors for row in rows)
        memory = median(row.memory for row in rows) / (1 << 20)
        lines.append(
            f"| {candidate} | {rate(rows):.0f} | {min(rates):.0f}-{max(rates):.0f} | {moved:.1f} | {1000 * p50:.2f} | "
            f"{1000 * p99:.2f} | {cpu_per_thousand(rows):.3f} | {memory:.0f} | {opened} | {errors} |"
        )
    return [*lines, ""]


def _plot(path: Path, results: Results) -> bool:
    """Plot the rates of the first load; return False if there are none, or matplotlib is not installed."""
    named = [(candidate, rate(rows)) for (load, candidate), rows in results.items() if load == _FIRST]
    named.sort(key=lambda pair: -pair[1])
    bars = [(name, value, OURS if name.startswith("gateway") else THEIRS) for name, value in named]
    return draw(path, [Panel("requests a second, one core, 64 connections, 470-byte JSON", bars)])
