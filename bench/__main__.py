"""Benchmark runner: it starts all candidates, sends each load in interleaved rounds, and writes medians and a plot."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

import click

from bench import report
from bench.candidates import CANDIDATES, program
from bench.load import Load
from bench.machine import describe
from bench.side_by_side import NEEDED, SideBySide, require

if TYPE_CHECKING:
    from bench.candidates import Candidate

LOADS: Final = (
    Load("470 B, 64 connections", "/things", 64),
    Load("varied, 64 connections", "/varied/%d", 64, varied=True),
    Load("470 B, 1 connection", "/things", 1),
    Load("470 B, 256 connections", "/things", 256),
    Load("64 KiB down", "/medium/x", 64, download=65_536),
    Load("1 MiB down", "/large/x", 64, download=1 << 20),
    Load("64 KiB up", "/upload", 64, upload=65_536, download=2),
    Load("1 MiB up", "/upload", 64, upload=1 << 20, download=2),
    Load("470 B by TLS, 64 connections", "/things", 64, secure=True),
    Load("TLS, a connection each", "/things", 64, secure=True, brief=True),
)
WARM_UP_SECONDS: Final = 1
VERSION_FLAGS: Final = {
    "haproxy": "-v",
    "nginx": "-v",
    "envoy": "--version",
    "traefik": "version",
    "caddy": "version",
}


@click.command()
@click.option("--rounds", default=5, show_default=True, help="Interleaved rounds of each load.")
@click.option("--seconds", default=3, show_default=True, help="Length of one run of wrk.")
@click.option("--only", multiple=True, help="Only candidates whose name holds this.")
@click.option("--load", "only_loads", multiple=True, help="Only loads whose name holds this.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("bench/results"), show_default=True)
def main(rounds: int, seconds: int, only: tuple[str, ...], only_loads: tuple[str, ...], out: Path) -> None:
    """Measure the gateway beside the proxies people would pick."""
    require(*NEEDED)
    chosen = [one for one in CANDIDATES if not only or any(word in one.name for word in only)]
    skipped = [one.name for one in chosen if one.missing()]
    chosen = [one for one in chosen if not one.missing()]
    loads = [one for one in LOADS if not only_loads or any(word in one.name for word in only_loads)]
    with contextlib.ExitStack() as stack:
        run = SideBySide(stack, chosen)
        results = _measure(run, chosen, loads, rounds=rounds, seconds=seconds)
    machine = f"{describe()}; {versions()}"
    date = dt.datetime.now(dt.UTC).date().isoformat()
    path = report.write(
        out, date, results, loads, machine=machine, skipped=skipped, rounds=rounds, seconds=seconds
    )
    click.echo(f"wrote {path}")


def _measure(
    run: SideBySide, chosen: list[Candidate], loads: list[Load], *, rounds: int, seconds: int
) -> report.Results:
    results: report.Results = {}
    for load in loads:
        taking_part = [one for one in chosen if one.secure == load.secure]
        for number in range(rounds + 1):  # the first round is for warming up, and is not recorded
            for candidate in taking_part:
                row = run.send(load, candidate, seconds if number else WARM_UP_SECONDS)
                if number:
                    results.setdefault((load.name, candidate.name), []).append(row)
        for candidate in taking_part:
            rows = results[load.name, candidate.name]
            rate = median(row.measured.rate for row in rows)
            click.echo(
                f"{load.name:24} {candidate.name:20} {rate:10.0f}/s  errors {sum(r.measured.errors for r in rows)}"
            )
    return results


def versions(*names: str) -> str:
    """Return the versions of those programs that are installed."""
    found = []
    for name in names or VERSION_FLAGS:
        path = program(name)
        if path is None:
            continue
        done = subprocess.run([path, VERSION_FLAGS[name]], check=False, capture_output=True, text=True)  # noqa: S603 -- found above
        version = re.search(r"\d+\.\d+[\w.+-]*", (done.stdout + done.stderr).replace(path, ""))
        found.append(f"{name} {version[0] if version else 'of unknown version'}")
    return ", ".join(found)


if __name__ == "__main__":
    sys.exit(main())
