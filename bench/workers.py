"""Benchmark of one worker against two and four: ``python -m bench.workers``.

It measures the whole machine, unpinned; with ``--pinned`` all workers share one core, so that CPU per request compares
what a request costs and not how many cores there are. Then it opens 64 connections again and again, and counts how many
of them each worker has.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import socket
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean, median
from typing import TYPE_CHECKING, Final

import click

from bench.candidates import gateway_environment
from bench.load import Load, run
from bench.machine import UNDER_TEST, Running, free_port, start
from bench.side_by_side import upstream
from bench.world import world

if TYPE_CHECKING:
    from collections.abc import Mapping

LOAD: Final = Load("workers", "/api/things", 64)
NUMBERS: Final = (1, 2, 4)
SPLITS: Final = 30
"""How often connections are opened to see how they are spread."""
_ESTABLISHED: Final = "01"


def spread(process: Running, port: int) -> list[int]:
    """Open connections to `port`, and return how many of them each worker has."""
    workers = [
        int(pid)
        for task in Path(f"/proc/{process.process.pid}/task").glob("*/children")
        for pid in task.read_text().split()
    ]
    with contextlib.ExitStack() as stack:
        for _ in range(LOAD.connections):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        time.sleep(0.1)
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        ours = {
            f"socket:[{row[9]}]"
            for row in rows
            if row[3] == _ESTABLISHED and int(row[1].partition(":")[2], 16) == port
        }
        return [len(ours.intersection(_links(pid))) for pid in workers]


def _links(pid: int) -> set[str]:
    """Return what the descriptors of a process are."""
    links = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            links.add(str(descriptor.readlink()))
    return links


def report(found: Mapping[int, list[tuple[float, float]]]) -> None:
    """Print rates and CPU per request by number of workers."""
    for number, runs in found.items():
        rates, costs = zip(*runs, strict=True)
        click.echo(
            f"{number} worker(s): {median(rates):.0f}/s ({min(rates):.0f}-{max(rates):.0f}), "
            f"{median(costs):.1f} us of CPU a request ({min(costs):.1f}-{max(costs):.1f})"
        )
    for number in NUMBERS[1:]:
        pairs = list(zip(found[number], found[1], strict=True))
        rate, cost = (median(many[at] / one[at] for many, one in pairs) for at in (0, 1))
        click.echo(f"{number} against one: {rate:.2f} by rate, {cost:.2f} by CPU")


@click.command()
@click.option("--rounds", default=5, show_default=True)
@click.option("--seconds", default=3, show_default=True)
@click.option("--pinned", is_flag=True, help="All workers on one core.")
def main(*, rounds: int, seconds: int, pinned: bool) -> None:
    """Measure all, in interleaved rounds."""
    core = UNDER_TEST if pinned else None
    with contextlib.ExitStack() as stack:
        work = Path(tempfile.mkdtemp(prefix="bench-"))
        stack.callback(shutil.rmtree, work, ignore_errors=True)
        work.chmod(0o755)
        site = stack.enter_context(world(work, upstream(stack, work)[0], secrets.token_hex(32)))
        headers = {"Authorization": f"Bearer {site.token}"}
        running = {}
        for number in NUMBERS:
            port = free_port()
            command = [sys.executable, "-m", "gateway", "serve", "--workers", str(number)]
            environment = gateway_environment(site, port)
            log = work / f"workers-{number}.log"
            process = start(command, core=core, port=port, log=log, environment=environment)
            stack.callback(process.stop)
            running[number] = process, port
        found: dict[int, list[tuple[float, float]]] = {number: [] for number in NUMBERS}
        for turn in range(rounds + 1):
            for number, (process, port) in running.items():
                used = process.cpu_seconds()
                measured = run(LOAD, port, [headers], seconds, work, core=None)
                used = process.cpu_seconds() - used
                if turn:
                    found[number].append((measured.rate, used / measured.requests * 1e6))
        report(found)
        for number in NUMBERS[1:]:
            most = [max(spread(*running[number])) for _ in range(SPLITS)]
            click.echo(
                f"{LOAD.connections} connections to {number} workers: the busiest has {mean(most):.1f} in the mean of "
                f"{SPLITS}, {max(most)} at most"
            )


if __name__ == "__main__":
    main()
