"""Running candidates: all of them run during the whole benchmark, and each is sent one load at a time."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from bench.candidates import COMPILED, PAIR, Site, program
from bench.certificates import write_pair
from bench.field_sets import PATHS
from bench.load import Load, run
from bench.machine import LOAD, accepted, children_seconds, free_port, start
from bench.report import Row
from bench.world import world

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Iterable

    from bench.candidates import Candidate
    from bench.machine import Running

NEEDED: Final = ("nginx", "wrk", "taskset")


class SideBySide:
    """Running candidates, with their site.

    Attributes:
        site: The environment that they share.
        work: The folder for configurations and logs.
        processes: The process and the port of each, by its name.
    """

    def __init__(self, stack: contextlib.ExitStack, chosen: Iterable[Candidate]) -> None:
        self.work = Path(tempfile.mkdtemp(prefix="bench-"))
        stack.callback(shutil.rmtree, self.work, ignore_errors=True)
        self.work.chmod(0o755)
        port, self._upstream = upstream(stack, self.work)
        self.site = stack.enter_context(world(self.work, port, secrets.token_hex(32)))
        write_pair(self.work / PAIR)
        self.processes: dict[str, tuple[Running, int]] = {}
        stack.callback(self.stop_candidates)
        for candidate in chosen:
            self.processes[candidate.name] = candidate.start(self.site)

    def stop_candidates(self) -> None:
        """Stop all candidates."""
        for process, _ in self.processes.values():
            process.stop()
        self.processes.clear()

    def send(self, load: Load, candidate: Candidate, seconds: float) -> Row:
        """Send `load` to one candidate for `seconds`."""
        process, port = self.processes[candidate.name]
        before, opened = process.cpu_seconds(), accepted(self.site.upstream)[0]
        began, busy = time.monotonic(), self._load_seconds()
        aimed = replace(load, path=candidate.path + load.path)
        tokens = self.site.tokens if load.varied else (self.site.token,)
        callers = [candidate.headers(replace(self.site, token=token)) for token in tokens]
        measured = run(aimed, port, callers, seconds, self.work)
        used = process.cpu_seconds() - before
        busy = (self._load_seconds() - busy) / (time.monotonic() - began)
        # Reading the counter opens one connection itself.
        opened = accepted(self.site.upstream)[0] - opened - 1
        return Row(measured, used, process.memory_bytes(), opened, busy)

    def _load_seconds(self) -> float:
        return self._upstream.cpu_seconds() + children_seconds()


def require(*programs: str) -> None:
    """Check that the `programs` are installed, and that the compiled gateway is there.

    Raises:
        click.ClickException: one is missing; the message says what to do.
    """
    missing = [name for name in programs if program(name) is None]
    if missing:
        raise click.ClickException(
            f"not installed: {', '.join(missing)}; the benchmark cannot do without "
            "(Debian's packages: nginx, haproxy, wrk, util-linux)"
        )
    if not COMPILED.is_dir():
        raise click.ClickException("the gateway is not compiled; run `make compiled`")


def upstream(stack: contextlib.ExitStack, work: Path) -> tuple[int, Running]:
    """Start the upstream (nginx), and return its port and its process."""
    port = free_port()
    files = work / "files"
    files.mkdir()
    for name, size in (("api/medium", 65_536), ("api/large", 1 << 20)):
        (files / name).mkdir(parents=True)
        (files / name / "x").write_bytes(b"x" * size)
    (files / "api" / "varied").mkdir()
    for number in range(PATHS):  # each has another length, so that no two response heads are equal
        (files / "api" / "varied" / str(number)).write_bytes(b"x" * (100 + number))
    for name in ("medium", "large"):
        (files / f"{name}.bin").write_bytes(b"x" * (65_536 if name == "medium" else 1 << 20))
    site = Site(work, port, "", "", "", "")
    small = '{"data":"' + "x" * (470 - 11) + '"}'
    config = str(site.configure("upstream.nginx.conf", port, small=small))
    command = [str(program("nginx")), "-c", config, "-g", "daemon off;"]
    process = start(command, core=LOAD, port=port, log=work / "upstream.out")
    stack.callback(process.stop)
    return port, process
