"""Process control: it starts a process pinned to a core, measures its CPU time and memory, and stops it."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.request import urlopen

if TYPE_CHECKING:
    from collections.abc import Sequence

TICKS: Final = os.sysconf("SC_CLK_TCK")
STARTING_SECONDS: Final = 30
UNDER_TEST: Final = 0
"""The core of the candidate under test; load and upstream share the other."""
LOAD: Final = 1


@dataclass
class Running:
    """Running process, with its descendants."""

    process: subprocess.Popen[bytes]

    def _pids(self) -> list[int]:
        found, queue = [], [self.process.pid]
        while queue:
            pid = queue.pop()
            found.append(pid)
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                try:
                    queue += [int(child) for child in task.read_text().split()]
                except OSError:
                    continue
        return found

    def cpu_seconds(self) -> float:
        """Return user and system time so far, of the process and its living descendants, in seconds."""
        total = 0
        for pid in self._pids():
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            total += int(fields[11]) + int(fields[12])
        return total / TICKS

    def memory_bytes(self) -> int:
        """Return the resident memory of the process and its descendants, in bytes."""
        total = 0
        for pid in self._pids():
            try:
                total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            except OSError:
                continue
        return total

    def stop(self) -> None:
        """Stop the process, and wait for its end."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def pinned(core: int | None) -> list[str]:
    """Return the prefix that pins a command to one core; empty for None."""
    return [] if core is None else ["taskset", "-c", str(core)]


def start(
    command: Sequence[str],
    *,
    core: int | None,
    port: int,
    log: Path,
    environment: dict[str, str] | None = None,
) -> Running:
    """Start `command` on one core (None: on any core), and wait until it listens on `port`.

    Raises:
        RuntimeError: it does not listen; the message has the end of its output.
    """
    with log.open("wb") as out:
        process = subprocess.Popen(  # noqa: S603 -- the benchmark's own commands
            [*pinned(core), *command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
    running = Running(process)
    deadline = time.monotonic() + STARTING_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return running
        time.sleep(0.05)
    running.stop()
    tail = log.read_bytes()[-2000:].decode(errors="replace")
    raise RuntimeError(f"{command[0]} does not listen on {port}:\n{tail}")


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def accepted(port: int) -> tuple[int, int]:
    """Return how many connections and requests the nginx on `port` has accepted so far."""
    with urlopen(f"http://127.0.0.1:{port}/stub_status", timeout=5) as page:
        # The three counters: accepts, handled, requests, after active.
        numbers = [int(word) for word in page.read().decode().split() if word.isdigit()]
    return numbers[1], numbers[3]


def children_seconds() -> float:
    """Return user and system time so far of this process's children that have ended, in seconds."""
    times = os.times()
    return times.children_user + times.children_system


def describe() -> str:
    """Return a description of this machine."""
    cpu = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    release = platform.release().partition("-")[0]
    return f"{os.cpu_count()} cores of {cpu}, Linux {release}, Python {platform.python_version()}"
