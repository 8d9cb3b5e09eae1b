"""Benchmark of one worker against two: ``python -m bench.workers``. It measures the whole machine, unpinned."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median

import click

from bench.candidates import gateway_environment
from bench.load import Load, run
from bench.machine import free_port, start
from bench.side_by_side import upstream
from bench.world import world

LOAD = Load("workers", "/api/things", 64)


@click.command()
@click.option("--rounds", default=5, show_default=True)
@click.option("--seconds", default=3, show_default=True)
def main(rounds: int, seconds: int) -> None:
    """Measure both, in interleaved rounds."""
    with contextlib.ExitStack() as stack:
        work = Path(tempfile.mkdtemp(prefix="bench-"))
        stack.callback(shutil.rmtree, work, ignore_errors=True)
        work.chmod(0o755)
        site = stack.enter_context(world(work, upstream(stack, work)[0], secrets.token_hex(32)))
        headers = {"Authorization": f"Bearer {site.token}"}
        ports = {}
        for number in (1, 2):
            port = ports[number] = free_port()
            command = [sys.executable, "-m", "gateway", "serve", "--workers", str(number)]
            environment = gateway_environment(site, port)
            log = work / f"workers-{number}.log"
            stack.callback(start(command, core=None, port=port, log=log, environment=environment).stop)
        rates: dict[int, list[float]] = {1: [], 2: []}
        for turn in range(rounds + 1):
            for number, port in ports.items():
                measured = run(LOAD, port, headers, seconds, work, core=None)
                if turn:
                    rates[number].append(measured.rate)
        for number, found in rates.items():
            click.echo(f"{number} worker(s): {median(found):.0f}/s ({min(found):.0f}-{max(found):.0f})")
        click.echo(f"two against one: {median(rates[2]) / median(rates[1]):.2f}")


if __name__ == "__main__":
    main()
