"""Benchmark runner: it starts all candidates, sends each load in interleaved rounds, and writes medians and a plot."""

from __future__ import annotations

import contextlib
import datetime as dt
import secrets
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

import click

from bench import report
from bench.candidates import CANDIDATES, PAIR, Site, program
from bench.certificates import write_pair
from bench.load import VARIED, Load, run
from bench.machine import LOAD, accepted, describe, free_port, start
from bench.world import world

if TYPE_CHECKING:
    from bench.candidates import Candidate
    from bench.machine import Running

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


@click.command()
@click.option("--rounds", default=5, show_default=True, help="Interleaved rounds of each load.")
@click.option("--seconds", default=3, show_default=True, help="Length of one run of wrk.")
@click.option("--only", multiple=True, help="Only candidates whose name holds this.")
@click.option("--load", "only_loads", multiple=True, help="Only loads whose name holds this.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("bench/results"), show_default=True)
def main(rounds: int, seconds: int, only: tuple[str, ...], only_loads: tuple[str, ...], out: Path) -> None:
    """Measure the gateway beside the proxies people would pick."""
    for needed in ("nginx", "wrk", "taskset"):
        if shutil.which(needed) is None:
            raise click.ClickException(f"{needed} is not installed; the benchmark cannot do without it")
    chosen = [one for one in CANDIDATES if not only or any(word in one.name for word in only)]
    skipped = [one.name for one in chosen if one.missing()]
    chosen = [one for one in chosen if not one.missing()]
    loads = [one for one in LOADS if not only_loads or any(word in one.name for word in only_loads)]
    with contextlib.ExitStack() as stack:
        folder = tempfile.mkdtemp(prefix="bench-")
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        results = _measure(stack, Path(folder), chosen, loads, rounds=rounds, seconds=seconds)
    machine = f"{describe()}; {_versions()}"
    date = dt.datetime.now(dt.UTC).date().isoformat()
    path = report.write(
        out, date, results, loads, machine=machine, skipped=skipped, rounds=rounds, seconds=seconds
    )
    click.echo(f"wrote {path}")


def _measure(  # noqa: PLR0913 -- the parts of one benchmark
    stack: contextlib.ExitStack,
    work: Path,
    chosen: list[Candidate],
    loads: list[Load],
    *,
    rounds: int,
    seconds: int,
) -> report.Results:
    work.chmod(0o755)
    site = stack.enter_context(world(work, upstream(stack, work), secrets.token_hex(32)))
    write_pair(work / PAIR)
    running: dict[str, tuple[Running, int]] = {}
    for candidate in chosen:
        running[candidate.name] = candidate.start(site)
        stack.callback(running[candidate.name][0].stop)
    results: report.Results = {}
    for load in loads:
        taking_part = [one for one in chosen if one.secure == load.secure]
        for number in range(rounds + 1):  # the first round is for warming up, and is not recorded
            for candidate in taking_part:
                process, port = running[candidate.name]
                before, opened = process.cpu_seconds(), accepted(site.upstream)[0]
                aimed = replace(load, path=candidate.path + load.path)
                length = WARM_UP_SECONDS if number == 0 else seconds
                measured = run(aimed, port, dict(candidate.headers(site)), length, work)
                used = process.cpu_seconds() - before
                opened = (
                    accepted(site.upstream)[0] - opened - 1
                )  # reading the counter opens one connection itself
                if number:
                    row = report.Row(measured, used, process.memory_bytes(), opened)
                    results.setdefault((load.name, candidate.name), []).append(row)
        for candidate in taking_part:
            rows = results[load.name, candidate.name]
            rate = median(row.measured.rate for row in rows)
            click.echo(
                f"{load.name:24} {candidate.name:20} {rate:10.0f}/s  errors {sum(r.measured.errors for r in rows)}"
            )
    return results


def upstream(stack: contextlib.ExitStack, work: Path) -> int:
    """Start the upstream (nginx), and return its port."""
    port = free_port()
    files = work / "files"
    files.mkdir()
    for name, size in (("api/medium", 65_536), ("api/large", 1 << 20)):
        (files / name).mkdir(parents=True)
        (files / name / "x").write_bytes(b"x" * size)
    (files / "api" / "varied").mkdir()
    for number in range(VARIED):  # each has another length, so that no two response heads are equal
        (files / "api" / "varied" / str(number)).write_bytes(b"x" * (100 + number))
    for name in ("medium", "large"):
        (files / f"{name}.bin").write_bytes(b"x" * (65_536 if name == "medium" else 1 << 20))
    site = Site(work, port, "", "", "", "")
    small = '{"data":"' + "x" * (470 - 11) + '"}'
    config = str(site.configure("upstream.nginx.conf", port, small=small))
    command = [str(program("nginx")), "-c", config, "-g", "daemon off;"]
    stack.callback(start(command, core=LOAD, port=port, log=work / "upstream.out").stop)
    return port


def _versions() -> str:
    versions = []
    for name, flag in (
        ("haproxy", "-v"),
        ("nginx", "-v"),
        ("envoy", "--version"),
        ("traefik", "version"),
        ("caddy", "version"),
    ):
        path = program(name)
        if path is None:
            continue
        output = subprocess.run([path, flag], check=False, capture_output=True, text=True)  # noqa: S603 -- found above
        line = next(
            (line for line in (output.stdout + output.stderr).splitlines() if any(c.isdigit() for c in line)),
            "",
        )
        versions.append(f"{name}: {line.strip().removeprefix(path).strip()[:60]}")
    return "; ".join(versions)


if __name__ == "__main__":
    sys.exit(main())
