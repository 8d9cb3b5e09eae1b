"""Report of a soak: what was asked and answered, by load and by fault; and whether every law held."""

from __future__ import annotations

from collections import Counter
from statistics import median
from typing import TYPE_CHECKING, Any

import click

from tests.soak.series import leaks, table
from tests.soak.site import POOL_MAX

if TYPE_CHECKING:
    from tests.soak.measures import Measure
    from tests.soak.promises import Ledger
    from tests.soak.series import Point

MORE_MEBIBYTES = 24.0
MORE_DESCRIPTORS = 4
"""Beside connections to the database."""


def written(ledger: Ledger, measures: list[Measure], points: list[Point], events: list[Any]) -> str:
    """Return tables, in Markdown."""
    lines = ["", "| asked as | answers |", "|---|---|"]
    for load in sorted({load for load, _ in ledger.statuses}):
        told = ", ".join(
            f"{count} x {status}" for (name, status), count in sorted(ledger.statuses.items()) if name == load
        )
        lines.append(f"| {load} | {told} |")
    lines += [
        "",
        "| fault | times | back after, s | longest | revoked | served late, longest, s | known, waited, longest, s |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in sorted({*ledger.back, *ledger.late, *ledger.slow}):
        back, late = ledger.back.get(name, []), ledger.late.get(name, [])
        cells = [
            *(f"{len(back)}", f"{median(back):.2f}" if back else "", f"{max(back):.2f}" if back else ""),
            *(f"{len(late)}", f"{max(late):.2f}" if late else "", f"{ledger.slow[name]:.2f}"),
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += [
        "",
        "| | memory, MiB | descriptors | connections to the database | threads |",
        "|---|---|---|---|---|",
    ]
    for when, one in (("before", measures[0]), ("after", measures[-1])):
        lines.append(
            f"| {when} | {one.mebibytes:.1f} | {one.descriptors} | {one.connections} | {one.threads} |"
        )
    if points:
        lines += ["", table(points)]
    counted = Counter((one["event"], one.get("kind", one.get("chore", ""))) for one in events)
    lines += ["", "events: " + ", ".join(f"{name} {kind} {n}" for (name, kind), n in counted.most_common())]
    return "\n".join(lines)


def verdict(ledger: Ledger, measures: list[Measure], points: list[Point], events: list[Any]) -> int:
    """Judge the whole; print what did not hold, and return the exit code."""
    before, after = measures[0], measures[-1]
    if after.mebibytes > before.mebibytes + MORE_MEBIBYTES:
        ledger.breaks("memory comes back", f"{before.mebibytes:.1f} MiB before, {after.mebibytes:.1f} after")
    if after.connections > POOL_MAX + 1:
        ledger.breaks("connections come back", f"{after.connections} of {POOL_MAX} + 1")
    if after.descriptors - after.connections > before.descriptors - before.connections + MORE_DESCRIPTORS:
        ledger.breaks("descriptors come back", f"{before} before, {after} after")
    for leak in leaks(points):
        ledger.breaks("nothing grows with time", leak)
    for one in events:
        if one["level"] not in {"debug", "info", "warning"}:
            ledger.breaks("an outage is no fault of the program", str(one)[:2000])
    click.echo(f"\n{len(ledger.broken)} laws broken" if ledger.broken else "\nevery law held")
    return 1 if ledger.broken else 0
