"""Footprint of one gateway at rest: memory, time until it is ready, and what it has imported.

``python -m bench.footprint`` starts ``serve`` on a database of its own, in each build, and prints the medians:

- ready: seconds from exec until ``/readyz`` is 200. Compare it only where nothing else runs.
- CPU: the process's processor seconds until then, which other load changes less.
- resident: Rss of ``/proc/PID/smaps_rollup`` two seconds later, without a request but those for ``/readyz``.
- private: its Private_Clean and Private_Dirty while a second gateway of the same files runs, as the next replica on a
  node costs.
- after a sign-in: resident once the hosted application was asked, which is imported then.
- modules: how many were imported, and from which packages.

With ``--connections N`` it also opens N client connections, sends one request over each, and prints what each costs.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from bench.candidates import COMPILED
from bench.domain import SECRET
from bench.machine import TICKS, describe, free_port
from bench.world import world

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT: Final = Path(__file__).parents[1]
REST_SECONDS: Final = 2.0
STARTING_SECONDS: Final = 30.0
_PROGRAM: Final = (
    "import atexit, os, sys\n"
    "atexit.register(lambda: os.write({write}, ' '.join(sys.modules).encode()))\n"
    "from gateway.entry import main\n"
    "main()"
)
"""The command, which writes the names of its modules to a descriptor when it ends."""


class Measured(NamedTuple):
    """One start.

    Attributes:
        ready: Seconds until it was ready.
        cpu: Processor seconds until then.
        resident: MiB.
        private: MiB.
        signed_in: MiB resident after a request to the hosted application.
        connection: KiB that each idle connection costs; None if none were opened.
        modules: Names of what it had imported.
    """

    ready: float
    cpu: float
    resident: float
    private: float
    signed_in: float
    connection: float | None
    modules: frozenset[str]


@contextmanager
def gateway(tree: Path, url: str) -> Iterator[tuple[subprocess.Popen[bytes], int, int, int]]:
    """Run a gateway of `tree`; yield its process, its ports, and a descriptor to read its modules from at the end."""
    public, admin = free_port(), free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(tree),
        "GATEWAY_LISTEN": f"127.0.0.1:{public}",
        "GATEWAY_ADMIN_LISTEN": f"127.0.0.1:{admin}",
        "GATEWAY_DATABASE_URL": url,
        "GATEWAY_JWT_SECRET": SECRET,
        "GATEWAY_UPSTREAM_URL": "http://127.0.0.1:9",
        "GATEWAY_TIMEOUT_DRAIN_DELAY_SECONDS": "0",
        "GATEWAY_LOG_ACCESS": "false",
        "GATEWAY_LIMIT_CONNECTIONS_PER_ADDRESS": "0",
    }
    read, write = os.pipe()
    process = subprocess.Popen(  # noqa: S603 -- the gateway
        [sys.executable, "-P", "-c", _PROGRAM.format(write=write), "serve"],
        env=environment,
        cwd="/",
        pass_fds=(write,),
        stdout=subprocess.DEVNULL,
    )
    os.close(write)
    try:
        yield process, public, admin, read
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()
        os.close(read)


def ask(port: int, path: str) -> bytes:
    """Return the first bytes of the answer to a GET; empty if nobody listens."""
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            return client.recv(4096)
    except OSError:
        return b""


def memory(pid: int) -> Mapping[str, float]:
    """Return the sums of a process's mappings, in MiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {line.partition(":")[0]: int(line.split()[1]) / 1024 for line in lines}


def cpu_seconds(pid: int) -> float:
    """Return user and system time so far, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def idle_cost(pid: int, port: int, number: int) -> float:
    """Return the KiB that an idle connection costs, of `number` that were each answered 502: there is no upstream.

    Raises:
        click.ClickException: one was answered otherwise, such as 503 for too many connections.
    """
    before = memory(pid)["Rss"]
    with ExitStack() as closing:
        for _ in range(number):
            client = closing.enter_context(socket.create_connection(("127.0.0.1", port), 5))
            client.sendall(
                b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"
            )
            if b" 502 " not in (answer := client.recv(4096)).partition(b"\r\n")[0]:
                raise click.ClickException(f"a connection was answered by {answer[:80]!r}")
        time.sleep(1)
        return (memory(pid)["Rss"] - before) * 1024 / number


def measure(tree: Path, url: str, connections: int) -> Measured:
    """Start a gateway, measure it, and stop it."""
    begun = time.monotonic()
    with gateway(tree, url) as (process, public, admin, _):
        while b" 200 " not in ask(admin, "/readyz"):
            if process.poll() is not None or time.monotonic() - begun > STARTING_SECONDS:
                raise click.ClickException("the gateway does not become ready")
            time.sleep(0.003)
        ready, cpu = time.monotonic() - begun, cpu_seconds(process.pid)
        with gateway(tree, url) as (_, _, neighbour, _):
            while b" 200 " not in ask(neighbour, "/readyz"):
                time.sleep(0.01)
            time.sleep(REST_SECONDS)
            found = memory(process.pid)
        private = found["Private_Clean"] + found["Private_Dirty"]
        connection = idle_cost(process.pid, public, connections) if connections else None
        idle = memory(process.pid)["Rss"]
        ask(public, "/.well-known/jwks.json")
        signed_in = found["Rss"] + memory(process.pid)["Rss"] - idle
    return Measured(ready, cpu, found["Rss"], private, signed_in, connection, modules_of(tree, url))


def modules_of(tree: Path, url: str) -> frozenset[str]:
    """Return what a gateway at rest has imported, stopping included."""
    with gateway(tree, url) as (process, _, admin, modules):
        while b" 200 " not in ask(admin, "/readyz"):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        with os.fdopen(os.dup(modules)) as names:
            return frozenset(names.read().split())


@click.command()
@click.option("--runs", default=5, show_default=True, help="Starts of each build; the medians are printed.")
@click.option("--connections", default=0, help="Idle client connections to measure.")
def main(runs: int, connections: int) -> None:
    """Measure both builds, and print a table."""
    click.echo(
        f"{describe()}\n\n| build | ready, s | CPU, s | resident, MiB | private, MiB | after a sign-in |"
    )
    click.echo("|---|---|---|---|---|---|")
    last: dict[str, Measured] = {}
    with ExitStack() as closing:
        work = Path(closing.enter_context(tempfile.TemporaryDirectory()))
        work.chmod(0o711)  # under root PostgreSQL runs as another user
        url = closing.enter_context(world(work, 9, SECRET)).database_url
        for name, tree in (("compiled", COMPILED), ("interpreted", ROOT)):
            if not tree.exists():
                continue
            measure(tree, url, 0)  # its files are in the page cache from here on
            rows = [measure(tree, url, connections) for _ in range(runs)]
            last[name] = rows[-1]
            cells = [median(values) for values in zip(*(row[:5] for row in rows), strict=True)]
            click.echo(
                f"| {name} | {cells[0]:.2f} | {cells[1]:.2f} | {cells[2]:.1f} | {cells[3]:.1f} | {cells[4]:.1f} |"
            )
            if connections:
                each = median(row.connection or 0 for row in rows)
                click.echo(f"| {name}, an idle connection of {connections:,} | {each:.1f} KiB | | | | |")
    for name, row in last.items():
        top = Counter(module.partition(".")[0] for module in row.modules).most_common(24)
        click.echo(f"\n{name}: {len(row.modules)} modules: {', '.join(f'{of} {count}' for of, count in top)}")


if __name__ == "__main__":
    main()
