"""Tables of an outcome: what was reached of each bar, for the terminal and for the page ``bench/README.md``.

The page has the tables between two marks, and a test compares them with the file of the outcome.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench import candidates as c
from bench.bars import FIRST, VARIED
from bench.plot import OURS, THEIRS, Panel, draw

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.bars import Ratio, Spread
    from bench.outcome import Latency, Outcome, Reached

PAGE: Final = Path(__file__).with_name("README.md")
BEGIN: Final = "<!-- from bench/results/ratios.json, by `python -m bench.ratios`: begin -->"
END: Final = "<!-- end -->"
COLUMNS: Final = 120
ALIKE: Final = "one rate for all"
DIRECT: Final = "the upstream itself"
MORE_MS: Final = {"p99": 1.0, "p99.9": 3.0}
"""How much slower than HAProxy the gateway may be at a percentile, in milliseconds."""


def verdict(value: float, wanted: float | None) -> str:
    """Return whether a ratio, as it is printed, reaches what is wanted; empty if nothing is."""
    if wanted is None:
        return ""
    return "PASS" if round(value, 2) >= wanted else "SHORT"


def text(outcome: Outcome) -> list[str]:
    """Return the lines of the tables."""
    lines = meaning(outcome)
    lines += _ratios(outcome.ratios)
    lines += _latency_bars(outcome.latencies)
    lines += _latencies(outcome.latencies)
    lines += _streams(outcome)
    lines += _rates(outcome)
    last = (
        f"{outcome.date}, {outcome.machine}; {outcome.rounds} interleaved rounds of {outcome.seconds} s, medians "
        "(lowest to highest)."
    )
    if outcome.skipped:
        last += f" Skipped, not installed: {', '.join(outcome.skipped)}."
    return [*lines, *textwrap.wrap(last, COLUMNS), ""]


def written(page: str, outcome: Outcome) -> str:
    """Return the text of the page with the outcome's tables between the marks.

    Raises:
        ValueError: the page has no marks.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN!r} and {END!r}")
    return "\n".join([before + begin, "", *text(outcome), end + after])


def meaning(outcome: Outcome) -> list[str]:
    """Return what the figures mean for an installation, as a list of sentences; what was not measured is left out."""
    rates = {(one.load, one.candidate): one for one in outcome.rates}
    first, varied = rates.get((FIRST, c.GATEWAY_JWT)), rates.get((VARIED, c.GATEWAY_JWT))
    found = []
    if first and varied:
        slow = rates.get((FIRST, c.GATEWAY_SLOW))
        found.append(
            f"One core carries {_round(first.rate.median)} requests a second where clients and answers repeat "
            f"themselves, and {_round(varied.rate.median)} where every one differs"
            + (f"; interpreted, {_round(slow.rate.median)}." if slow else ".")
        )
        low, high = (one.cpu.median for one in (first, varied))
        found.append(
            f"A request takes {low:.0f} to {high:.0f} µs of CPU, so a service that is asked 1,000 times a second "
            f"spends {low / 10:.1f} to {high / 10:.1f} % of a core on its gateway."
        )
    if first:
        found.append(f"A gateway under this load has {first.memory_mib:.0f} MiB resident.")
    pairs = {one.candidate: one for one in outcome.latencies if one.at == ALIKE}
    ours, direct = pairs.get(c.GATEWAY_JWT), pairs.get(DIRECT)
    if ours and direct:
        found.append(
            f"At {_round(ours.rate)} requests a second it adds {ours.p50.median - direct.p50.median:.2f} ms to a "
            f"request in the median, and {ours.p99.median - direct.p99.median:.2f} ms at the 99th percentile."
        )
    for one in (one for one in outcome.streams if one.candidate == c.GATEWAY_JWT):
        together = one.kib * one.clients / 1024
        found.append(
            f"An open event stream takes {one.kib:.0f} KiB, so {one.clients:,} take {together:.0f} MiB; an event has "
            f"reached the last of them after {one.last_ms.median:.0f} ms."
        )
    lines = [line for text in found for line in textwrap.wrap(f"- {text}", COLUMNS, subsequent_indent="  ")]
    return [*lines, ""] if lines else []


def plot(path: Path, outcome: Outcome) -> bool:
    """Draw the rates and what was reached of each bar; return False if it cannot be drawn."""
    rates = [one for one in outcome.rates if one.load == FIRST]
    rates.sort(key=lambda one: -one.rate.median)
    bars = [
        (one.candidate, one.rate.median, OURS if one.candidate.startswith("gateway") else THEIRS)
        for one in rates
    ]
    reached = [
        (f"{one.bar} (≥ {one.wanted})", one.compiled.rate.median / one.wanted, OURS) for one in outcome.ratios
    ]
    reached += [
        (f"interpreted: {one.bar} (≥ {one.slow_wanted})", one.interpreted.rate.median / one.slow_wanted, OURS)
        for one in outcome.ratios
        if one.interpreted is not None and one.slow_wanted
    ]
    reached = [(label.replace("`", ""), value, colour) for label, value, colour in reached]
    return draw(
        path,
        [
            Panel("requests a second on one core (470 bytes, 64 connections)", bars),
            Panel("what was reached, as a share of the bar (by rate)", reached, "{:.2f}", 1.0),
        ],
    )


def _round(rate: float) -> str:
    return f"{round(rate, -2):,.0f}"


def table(head: str, rows: Iterable[str]) -> list[str]:
    """Return a table; no lines if it has no rows."""
    found = list(rows)
    if not found:
        return []
    columns = head.count("|") - 1
    return [head, "|---" * columns + "|", *found, ""]


def _spread(value: Spread, digits: int) -> str:
    return f"{value.median:.{digits}f} ({value.low:.{digits}f}-{value.high:.{digits}f})"


def _cells(ratio: Ratio | None, wanted: float | None) -> str:
    if ratio is None:
        return " | "
    return " | ".join(
        f"{_spread(one, 2)} {verdict(one.median, wanted)}".rstrip() for one in (ratio.rate, ratio.cpu)
    )


def _ratios(ratios: list[Reached]) -> list[str]:
    def row(one: Reached) -> str:
        wanted = f"≥ {one.wanted}" + (
            f", interpreted ≥ {one.slow_wanted}" if one.slow_wanted is not None else ""
        )
        compiled = _cells(one.compiled, one.wanted)
        return f"| {one.bar} | {wanted} | {compiled} | {_cells(one.interpreted, one.slow_wanted)} |"

    head = "| bar | wanted | by rate | by CPU | interpreted, by rate | interpreted, by CPU |"
    return table(head, (row(one) for one in ratios))


def _latency_bars(latencies: list[Latency]) -> list[str]:
    rows = []
    for at in dict.fromkeys(one.at for one in latencies):
        here = [one for one in latencies if one.at == at]
        theirs = next((one for one in here if one.build == "bar"), None)
        if theirs is None:
            continue
        for ours in here:
            if ours.build not in ("compiled", "interpreted"):
                continue
            for name, mine, other in (
                ("p99", ours.p99, theirs.p99),
                ("p99.9", ours.p999, theirs.p999),
            ):
                more = mine.median - other.median
                passes = "PASS" if round(more, 2) <= MORE_MS[name] else "SHORT"
                rows.append(
                    f"| {name}, {at}, {ours.build} | ≤ +{MORE_MS[name]:.0f} ms | {more:+.2f} ms {passes} "
                    f"| {mine.median:.2f} ms | {other.median:.2f} ms |"
                )
    return table("| latency, against HAProxy | wanted | reached | ours | HAProxy |", rows)


def _latencies(latencies: list[Latency]) -> list[str]:
    head = "| constant rate | candidate | requests/s | p50 ms | p99 ms | p99.9 ms | sent late by, p99 ms | errors |"
    return table(
        head,
        (
            f"| {one.at} | {one.candidate} | {one.rate:.0f} | {_spread(one.p50, 2)} | {_spread(one.p99, 2)} "
            f"| {_spread(one.p999, 2)} | {one.late.median:.2f} | {one.errors} |"
            for one in latencies
        ),
    )


def _streams(outcome: Outcome) -> list[str]:
    head = "| event streams | clients | to the last client, ms | CPU µs an event | KiB a stream | lost |"
    return table(
        head,
        (
            f"| {one.candidate} | {one.clients} | {_spread(one.last_ms, 0)} | {one.cpu:.1f} | {one.kib:.1f} "
            f"| {one.lost} |"
            for one in outcome.streams
        ),
    )


def _rates(outcome: Outcome) -> list[str]:
    head = "| load | candidate | requests/s | CPU µs | p50 ms | p99 ms | memory MiB | load's core busy | errors |"
    return table(
        head,
        (
            f"| {one.load} | {one.candidate} | {_spread(one.rate, 0)} | {_spread(one.cpu, 1)} | {one.p50_ms:.2f} "
            f"| {one.p99_ms:.2f} | {one.memory_mib:.0f} | {100 * one.load_busy:.0f} % | {one.errors} |"
            for one in outcome.rates
        ),
    )
