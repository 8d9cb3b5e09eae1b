"""Regression guard of the warm path: instructions of the compiled gateway per request, counted by valgrind.

``python -m bench.instructions`` counts what the gateway's own code executes, from the bytes of a request to those of
its answer, and compares it with ``bench/instructions.json``. Instructions do not depend on what else the machine does.

Laws:

- More than the band above the record fails; more than the band below it asks for a new record.
- Counts of another Python, compiler or machine are shown and not compared: they are other programs' counts.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import uvloop

from bench.hotpath import LOADS, stage

if TYPE_CHECKING:
    from collections.abc import Mapping

RECORD: Final = Path(__file__).with_name("instructions.json")
ROOT: Final = Path(__file__).parents[1]
BAND: Final = 0.03
"""The share by which a count may be above its record."""
WARM, COUNTED = 200, 500
"""Requests before counting, and counted."""
TIMEOUT_SECONDS: Final = 600
_ENTRANCES: Final = ("CPyPy_*Connection___data_received*", "CPyPy_*___flush")
"""Functions of the compiled gateway that the event loop calls; what runs within them is counted."""


@click.command()
@click.option("--record", is_flag=True, help="Write the counts to bench/instructions.json.")
@click.option("--inside", is_flag=True, hidden=True)
def main(record: bool, inside: bool) -> None:  # noqa: FBT001 -- click's way
    """Count, and compare with the record."""
    if inside:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_exchange())
        return
    found, build = count(), _build()
    if record:
        RECORD.write_text(
            json.dumps({"build": build, "instructions": found}, indent=1) + "\n", encoding="utf-8"
        )
        click.echo(f"recorded: {found}")
        return
    known = json.loads(RECORD.read_text(encoding="utf-8"))
    if known["build"] != build:
        click.echo(f"skipped: the record is of {known['build']}, this is {build}; counted {found}")
        return
    lines, fails = compare(found, known["instructions"])
    click.echo("\n".join(lines))
    if fails:
        raise click.ClickException(
            f"the warm path costs more than {BAND:.0%} above the record: find out why, or record the new cost by "
            "`python -m bench.instructions --record` and say in the commit what is bought with it"
        )


def compare(found: Mapping[str, int], known: Mapping[str, int]) -> tuple[list[str], bool]:
    """Return a line for each load, and whether one of them is above the band."""
    lines, fails = [], False
    for load, now in found.items():
        ratio = now / known[load]
        fails |= ratio > 1 + BAND
        note = "  less than the band: record it anew" if ratio < 1 - BAND else ""
        lines.append(f"{load:28} {now:7} instructions a request, {ratio:.3f} of the record{note}")
    return lines, fails


def count() -> dict[str, int]:
    """Return the instructions per request of each load.

    Raises:
        click.ClickException: valgrind, or the compiled gateway, is not there, or the run failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        toggles = [f"--toggle-collect={entrance}" for entrance in _ENTRANCES]
        command = [
            *(
                "valgrind",
                "--tool=callgrind",
                "--collect-atstart=no",
                *toggles,
                f"--callgrind-out-file={out}",
            ),
            *(sys.executable, "-P", "-m", "bench.instructions", "--inside"),
        ]
        path = f"{ROOT / '.compiled/tree'}:{ROOT}"
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0"}
        try:
            ended = subprocess.run(  # noqa: S603 -- our own command
                command, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS
            )
        except FileNotFoundError:
            raise click.ClickException(
                "valgrind is not installed: install Debian's package of that name"
            ) from None
        if ended.returncode:
            raise click.ClickException(f"the run under valgrind failed:\n{ended.stderr[-2000:]}")
        parts = sorted(out.parent.glob("out.*"), key=lambda part: int(part.suffix[1:]))
        totals = [_total(part) for part in parts]
    # Each load has two parts: its warm requests, and the counted ones.
    if len(totals) != 2 * len(LOADS) or not all(totals):
        raise click.ClickException("the compiled gateway is not there: run `make compiled` first")
    return {load.name: round(totals[2 * n + 1] / COUNTED) for n, load in enumerate(LOADS)}


def _total(part: Path) -> int:
    found = re.search(r"^(?:summary|totals): (\d+)$", part.read_text(encoding="utf-8"), re.MULTILINE)
    return int(found[1]) if found else 0


async def _exchange() -> None:
    """Exchange the messages of each load; after each part, have valgrind write its counts and begin anew."""
    exchange, tokens = await stage()
    gc.disable()
    for load in LOADS:
        messages = [load.make(number, tokens) for number in range(WARM + COUNTED)]
        for part in (messages[:WARM], messages[WARM:]):
            exchange(part, load.answers)
            subprocess.run(["callgrind_control", "--dump", str(os.getpid())], check=True, capture_output=True)  # noqa: ASYNC221, S603, S607 -- nothing else runs here
    os._exit(0)  # stopping the gateway would be counted


def _build() -> dict[str, str]:
    """Return what decides how many instructions the same sources take."""
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "compiler": platform.python_compiler(),
        "machine": platform.machine(),
    }


if __name__ == "__main__":
    main()
