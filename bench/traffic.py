"""Benchmark of traffic policy: ``python -m bench.traffic``; what callers notice of endpoints that hang or restart.

Part A. Three endpoints, of which one comes to hang: it accepts and never answers, and a request to it ends after
``LATE_SECONDS``. Requests are sent at a fixed rate, whatever comes of earlier ones, and the times until their answers
are compared, for the gateway, HAProxy and Envoy, each with and without what it has against such an endpoint. Then the
endpoints restart in turn, and the requests that were lost are counted. All are measured in turns of one run. Proxies
that are not installed are left out by name; ``make programs`` installs them.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

import click

from bench.candidates import CONFIGS, program
from bench.machine import LOAD, UNDER_TEST, describe, free_port, pinned, start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LATE_SECONDS: Final = 1.0
"""The time after which each candidate gives an endpoint up: the same for all."""
RATE: Final = 200
"""Requests a second: far below what any candidate can do, so that the endpoints alone decide."""
SETTLE_SECONDS: Final = 1.0
DOWN_SECONDS: Final = 0.5
_REQUEST: Final = b"GET /x HTTP/1.1\r\nHost: bench\r\n\r\n"
_PATIENCE: Final = 10.0

GATEWAY, GATEWAY_CHECKS, GATEWAY_OFF = "gateway, ejection", "gateway, and checks", "gateway, neither"
HAPROXY, HAPROXY_OFF = "HAProxy, observe and check", "HAProxy, neither"
ENVOY, ENVOY_OFF = "Envoy, outlier detection", "Envoy, none"


@dataclass
class Measured:
    """Measurements of one turn, as callers noticed it.

    Attributes:
        seconds: Until the answer, of every request that had one, whatever its status.
        statuses: Number of answers by status; 0 for none.
    """

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    def quantile(self, share: float) -> float:
        """Return the time that so many of the requests took at most."""
        ordered = sorted(self.seconds)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else float("nan")

    @property
    def failed(self) -> int:
        """Number of requests that were not answered 200."""
        return self.statuses.total() - self.statuses[200]


class Nodes:
    """The endpoints, in a process of their own."""

    def __init__(self, stack: ExitStack) -> None:
        self.ports = [free_port() for _ in range(3)]
        self._process = subprocess.Popen(  # noqa: S603 -- this benchmark's own command
            [*pinned(LOAD), sys.executable, "-m", "bench.nodes", *map(str, self.ports)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        stack.callback(self._process.wait)
        stack.callback(self._process.terminate)
        self.do("answer", 0)

    def do(self, word: str, number: int) -> None:
        """Have a node do as `word` says, and wait until it does."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the nodes have no pipes")
        self._process.stdin.write(f"{word} {number}\n")
        self._process.stdin.flush()
        self._process.stdout.readline()


class Callers:
    """Callers that send requests at a fixed rate over persistent connections."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def send(self, seconds: float, meanwhile: Callable[[], object] | None = None) -> Measured:
        """Send requests for so long; run `meanwhile` in a thread beside it, until it ends, too."""
        measured = Measured()
        beside = None if meanwhile is None else asyncio.create_task(asyncio.to_thread(meanwhile))
        begun, tasks, number = time.monotonic(), [], 0
        while time.monotonic() < begun + seconds or (beside is not None and not beside.done()):
            tasks.append(asyncio.create_task(self._one(measured)))
            number += 1
            await asyncio.sleep(max(0.0, begun + number / RATE - time.monotonic()))
        await asyncio.gather(*tasks)
        if beside is not None:
            await beside
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()
        return measured

    async def _one(self, measured: Measured) -> None:
        begun, status = time.perf_counter(), 0
        with suppress(OSError, EOFError):  # a timeout is an OSError
            async with asyncio.timeout(_PATIENCE):
                reader, writer = await self._line()
                writer.write(_REQUEST)
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length or 0))
                status = int(head[9:12])
                if b"connection: close" in head.lower() or not length:
                    writer.close()
                else:
                    self._idle.append((reader, writer))
        measured.statuses[status] += 1
        if status:
            measured.seconds.append(time.perf_counter() - begun)

    async def _line(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            reader, writer = self._idle.pop()
            if not writer.is_closing() and not reader.at_eof():
                return reader, writer
        return await asyncio.open_connection("127.0.0.1", self._port)


# -- candidates --------------------------------------------------------------------------------------------------


def _gateway(work: Path, port: int, ports: list[int], name: str) -> tuple[list[str], dict[str, str]]:
    health = (
        "health: {path: /ready, interval_seconds: 1, timeout_seconds: 1}" if name == GATEWAY_CHECKS else ""
    )
    failures = "ejection: {failures: 0, connect_failures: 0}" if name == GATEWAY_OFF else ""
    urls = ", ".join(f"'http://127.0.0.1:{one}'" for one in ports)
    parts = [f"url: [{urls}]", f"head_timeout_seconds: {LATE_SECONDS}", health, failures]
    routes = work / f"{port}.yaml"
    routes.write_text(
        f"upstreams:\n  nodes: {{{', '.join(part for part in parts if part)}}}\n"
        "routes: [{name: all, match: {path: /*}, auth: public, upstream: nodes}]\n"
    )
    return [sys.executable, "-m", "gateway", "serve"], {
        "GATEWAY_LISTEN": f"127.0.0.1:{port}",
        "GATEWAY_ADMIN_LISTEN": "127.0.0.1:0",
        "GATEWAY_DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none",  # a public route asks nobody
        "GATEWAY_JWT_SECRET": "a-secret-of-the-benchmark-and-of-nobody-else",
        "GATEWAY_ROUTES": str(routes),
        "GATEWAY_LOG_ACCESS": "false",
    }


def _filled(work: Path, port: int, ports: list[int], template: str, watched: str) -> Path:
    """Fill in a file of ``configs/``; lines that end in ``# watched`` are left out of the candidate without."""
    text = (CONFIGS / template).read_text()
    if not watched:
        text = "\n".join(line for line in text.splitlines() if not line.endswith("# watched")) + "\n"
    for key, value in {
        "port": port,
        "late": LATE_SECONDS,
        "milliseconds": int(LATE_SECONDS * 1000),
        "watched": watched,
    }.items():
        text = text.replace("{" + key + "}", str(value))
    for number, one in enumerate(ports):
        text = text.replace(f"{{node{number}}}", str(one))
    path = work / f"{port}-{template}"
    path.write_text(text)
    return path


def _command(name: str, work: Path, port: int, ports: list[int]) -> tuple[list[str], dict[str, str]]:
    if name in (HAPROXY, HAPROXY_OFF):
        watched = "check observe layer7 error-limit 5 on-error mark-down" if name == HAPROXY else ""
        path = _filled(work, port, ports, "haproxy-traffic.cfg", watched)
        return [str(program("haproxy")), "-f", str(path)], {}
    if name in (ENVOY, ENVOY_OFF):
        path = _filled(work, port, ports, "envoy-traffic.yaml", "yes" if name == ENVOY else "")
        return [
            str(program("envoy")),
            "-c",
            str(path),
            "--concurrency",
            "1",
            "-l",
            "error",
            "--disable-hot-restart",
        ], {}
    return _gateway(work, port, ports, name)


_PROGRAMS: Final = {HAPROXY: "haproxy", HAPROXY_OFF: "haproxy", ENVOY: "envoy", ENVOY_OFF: "envoy"}
CANDIDATES: Final = (GATEWAY, GATEWAY_CHECKS, GATEWAY_OFF, HAPROXY, HAPROXY_OFF, ENVOY, ENVOY_OFF)


def candidates() -> Iterator[str]:
    """Yield the names of those that can run; name the others."""
    for name in CANDIDATES:
        needed = _PROGRAMS.get(name)
        if needed is None or program(needed) is not None:
            yield name
        else:
            click.echo(f"left out: {name} ({needed} is not installed)")


# -- the run -----------------------------------------------------------------------------------------------------


def _restart_in_turn(nodes: Nodes) -> None:
    for number in range(len(nodes.ports)):
        nodes.do("stop", number)
        time.sleep(DOWN_SECONDS)
        nodes.do("answer", number)
        time.sleep(SETTLE_SECONDS)


async def measure(
    nodes: Nodes, sites: dict[str, int], *, rounds: int, seconds: float
) -> tuple[dict[str, list[Measured]], dict[str, list[Measured]]]:
    """Measure every candidate in each round; return what callers noticed of the hung one, and of the restarts."""
    hung: dict[str, list[Measured]] = {name: [] for name in sites}
    restarted: dict[str, list[Measured]] = {name: [] for name in sites}
    for turn in range(rounds):
        for name, port in sites.items():
            callers = Callers(port)
            await callers.send(SETTLE_SECONDS)  # connections to all three, and nobody away any more
            nodes.do("hang", 1)
            hung[name].append(await callers.send(seconds))
            nodes.do("answer", 1)
            await callers.send(SETTLE_SECONDS)
            if name not in (GATEWAY_OFF, HAPROXY_OFF, ENVOY_OFF):
                restarted[name].append(await callers.send(0, lambda: _restart_in_turn(nodes)))
        click.echo(f"round {turn + 1} of {rounds}")
    return hung, restarted


def table(hung: dict[str, list[Measured]], restarted: dict[str, list[Measured]]) -> Iterator[str]:
    """Yield the figures as rows of tables: medians over the rounds, and sums of what was lost."""
    yield "| one of three hangs | p50 ms | p99 ms | worst ms | not 200 | of |"
    yield "|---|---|---|---|---|---|"
    for name, turns in hung.items():
        mid, high, worst = (
            median(turn.quantile(share) for turn in turns) * 1000 for share in (0.5, 0.99, 1.0)
        )
        failed, total = sum(turn.failed for turn in turns), sum(turn.statuses.total() for turn in turns)
        yield f"| {name} | {mid:.1f} | {high:.1f} | {worst:.0f} | {failed} | {total} |"
    yield ""
    yield "| three restart in turn | p99 ms | lost | of |"
    yield "|---|---|---|---|"
    for name, turns in restarted.items():
        if turns:
            high = median(turn.quantile(0.99) for turn in turns) * 1000
            failed, total = sum(turn.failed for turn in turns), sum(turn.statuses.total() for turn in turns)
            yield f"| {name} | {high:.1f} | {failed} | {total} |"


@click.command()
@click.option("--rounds", default=2, show_default=True, help="Turns of all candidates.")
@click.option("--seconds", default=6.0, show_default=True, help="With one endpoint hung, in each turn.")
def main(rounds: int, seconds: float) -> None:
    """Measure what callers notice of endpoints that hang or restart."""
    click.echo(describe())
    with ExitStack() as stack:
        work = Path(tempfile.mkdtemp(prefix="bench-"))
        stack.callback(shutil.rmtree, work, ignore_errors=True)
        nodes = Nodes(stack)
        sites: dict[str, int] = {}
        for name in candidates():
            port = sites[name] = free_port()
            command, environment = _command(name, work, port, nodes.ports)
            log = work / f"{port}.log"
            stack.callback(start(command, core=UNDER_TEST, port=port, log=log, environment=environment).stop)
        begun = time.monotonic()
        hung, restarted = asyncio.run(measure(nodes, sites, rounds=rounds, seconds=seconds))
        for row in table(hung, restarted):
            click.echo(row)
        click.echo(f"{RATE} requests a second; {rounds} rounds, {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
