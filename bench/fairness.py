"""Benchmark of fairness: ``python -m bench.fairness [--before TREE]``; ``fairness.md`` has the results.

It measures how long a sign-in, a registration and the making of an API key take for one client network alone, and
beside another one that floods the gateway by 200 connections. ``--before`` names another work tree of this repository:
its gateway is measured in turns with this one's, against a database of its own on the same server. Networks are
addresses of the loopback: 127.1.x.x is measured, each request from another one, and 127.9.x.x floods.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import click

from bench.domain import PASSWORD, SECRET
from bench.flood import create_key, login, register
from bench.machine import describe
from gateway.dev.postgres import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

OWNER, FLOODER, VICTIM = "owner@example.com", "flooder@example.com", "victim@example.com"
FLOODS: Final = ("login", "register", "keys")
NEIGHBOUR: Final = "login at the flood's address"
KINDS: Final = (*FLOODS, NEIGHBOUR)
AHEAD_SECONDS: Final = 0.3
"""How long a flood is at work before the first request beside it is measured."""
SETTLE_SECONDS: Final = 4
"""How long a gateway has to finish what a flood left behind, before the next turn."""
PATIENCE_SECONDS: Final = 10
TURN_SECONDS: Final = 20
"""After so long a turn ends, however few requests have been answered."""
_ALONE: Final = "alone"


@dataclass
class Site:
    """A gateway under measurement.

    Attributes:
        name: Which one: ``before`` or ``after``.
        address: Where it listens.
        organization: The one in its database.
        tokens: Access tokens, by e-mail.
    """

    name: str
    address: tuple[str, int]
    organization: str = ""
    tokens: dict[str, str] = field(default_factory=dict)


@dataclass
class Cell:
    """Measurements of one kind of request, alone or beside one kind of flood.

    Attributes:
        seconds: Of the requests that were granted.
        refused: How many were not, by status; 0 for no answer within ten seconds.
    """

    seconds: list[float] = field(default_factory=list)
    refused: Counter[int] = field(default_factory=Counter)


def sources(second: int) -> Iterator[str]:
    """Return addresses of the loopback without end, of 127.`second`.0.0/16."""
    for number in count(1):
        yield f"127.{second}.{number // 250 % 250}.{number % 250 + 1}"


async def ask(address: tuple[str, int], source: str, raw: bytes) -> tuple[int, bytes]:
    """Send a request on a connection of its own; return the status and the body."""
    reader, writer = await asyncio.open_connection(*address, local_addr=(source, 0))
    try:
        writer.write(raw)
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        return int(head[9:12]), await reader.readexactly(int(length))
    finally:
        writer.close()


@asynccontextmanager
async def gateway(name: str, tree: Path, url: str) -> AsyncIterator[Site]:
    """Run the gateway of a work tree over a fresh database, with people in it."""
    environment = {
        **os.environ,
        "GATEWAY_DATABASE_URL": url,
        "GATEWAY_JWT_SECRET": SECRET,
        "GATEWAY_UPSTREAM_URL": "http://127.0.0.1:9",
        "GATEWAY_LISTEN": "127.0.0.1:0",
        "GATEWAY_ADMIN_LISTEN": "127.0.0.1:0",
        "GATEWAY_LOG_ACCESS": "false",
        "GATEWAY_KEYS_PER_USER": "10000",  # where there is that setting
    }

    async def run(*arguments: str, text: str = "") -> str:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", *arguments),
            env=environment,
            cwd=tree,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate(text.encode())
        if process.returncode:
            raise click.ClickException(f"{name}: {' '.join(arguments)} failed")
        return out.decode().strip()

    await run("migrate")
    organization = await run("orgs", "create", "Bench")
    for email in (OWNER, FLOODER, VICTIM):
        options = ("--email", email, "--name", "Bench", "--organization", organization, "--role", "admin")
        await run("users", "create", *options, "--password-stdin", text=PASSWORD)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "serve"), env=environment, cwd=tree, stdout=asyncio.subprocess.PIPE
    )
    try:
        line = json.loads(await process.stdout.readline() if process.stdout else b"")
        site = Site(name, (line["public"][0], int(line["public"][1])), organization)
        for email in (OWNER, FLOODER):
            status, body = await ask(site.address, "127.0.0.1", login(email, PASSWORD))
            if status != 200:  # noqa: PLR2004 - OK
                raise click.ClickException(f"{name}: {email} cannot sign in: {status}")
            site.tokens[email] = json.loads(body)["data"]["access_token"]
        yield site
    finally:
        process.terminate()
        await process.communicate()


@asynccontextmanager
async def flood(site: Site, kind: str, source: str, connections: int) -> AsyncIterator[Counter[int]]:
    """Flood a gateway meanwhile; yield the statuses that the flood gets, which are there when it has ended."""
    statuses: Counter[int] = Counter()
    host, port = site.address
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.flood", host, str(port), source, kind, str(connections)),
        *(site.tokens[FLOODER], site.organization),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        await asyncio.sleep(AHEAD_SECONDS)
        yield statuses
    finally:
        out, _ = await process.communicate(b"")
        statuses.update({int(status): number for status, number in json.loads(out or b"{}").items()})


class Measurement:
    """The requests of the measured networks, and what became of them."""

    def __init__(self, requests: int) -> None:
        self._requests = requests
        self._sources = sources(1)
        self._numbers = count()
        self.cells: dict[tuple[str, str, str], Cell] = {}

    def _request(self, site: Site, kind: str) -> bytes:
        number = next(self._numbers)
        makers: dict[str, Callable[[], bytes]] = {
            "login": lambda: login(VICTIM, PASSWORD),
            "register": lambda: register(f"somebody{number}@example.com", PASSWORD, site.organization),
            "keys": lambda: create_key(f"key {number}", site.tokens[OWNER]),
            NEIGHBOUR: lambda: login(VICTIM, PASSWORD),
        }
        return makers[kind]()

    async def measure(self, site: Site, beside: str, shared: str) -> None:
        """Ask for each kind of work, one after the other, and note how long it took; `shared` is a flood's address."""
        until = time.monotonic() + TURN_SECONDS
        for _ in range(self._requests):
            if time.monotonic() > until:
                return
            for kind in KINDS:
                cell = self.cells.setdefault((site.name, kind, beside), Cell())
                raw = self._request(site, kind)
                begun = time.perf_counter()
                try:
                    async with asyncio.timeout(PATIENCE_SECONDS):
                        source = shared if kind == NEIGHBOUR else next(self._sources)
                        status, _ = await ask(site.address, source, raw)
                except (OSError, EOFError):  # a timeout is an OSError
                    status = 0
                if status == 200:  # noqa: PLR2004 - OK
                    cell.seconds.append(time.perf_counter() - begun)
                else:
                    cell.refused[status] += 1

    def rows(self) -> Iterator[str]:
        """Return the figures as rows of a table, in milliseconds."""
        yield "| gateway | request | beside a flood of | median | p95 | x alone, median | x alone, p95 | refused |"
        yield "|---|---|---|---|---|---|---|---|"
        for (name, kind, beside), cell in sorted(self.cells.items()):
            alone = _two(self.cells[name, kind, _ALONE].seconds)
            mid, high = _two(cell.seconds)
            total = len(cell.seconds) + cell.refused.total()
            refused = ", ".join(f"{number} x {status}" for status, number in sorted(cell.refused.items()))
            yield (
                f"| {name} | {kind} | {beside} | {mid * 1000:.0f} | {high * 1000:.0f} | {mid / alone[0]:.2f} "
                f"| {high / alone[1]:.2f} | {refused or '-'} of {total} |"
            )


def _two(seconds: list[float]) -> tuple[float, float]:
    """Return the median and the 95th percentile."""
    if len(seconds) < 2:  # noqa: PLR2004 - what quantiles need
        return (seconds or [float("nan")])[0], (seconds or [float("nan")])[0]
    return median(seconds), quantiles(seconds, n=20, method="inclusive")[18]


async def compare(url: str, trees: dict[str, Path], *, rounds: int, requests: int, connections: int) -> None:
    """Measure the gateways of `trees` in turns, and print the tables."""
    measurement, floods = Measurement(requests), sources(9)
    granted: dict[tuple[str, str], Counter[int]] = {}
    async with AsyncExitStack() as stack:
        sites = []
        for name, tree in trees.items():
            connection = await asyncpg.connect(url)
            await connection.execute(f"CREATE DATABASE {name}")
            await connection.close()
            fresh = urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
            sites.append(await stack.enter_async_context(gateway(name, tree, fresh)))
        began = time.monotonic()
        for _ in range(rounds):
            for beside in (_ALONE, *FLOODS):
                for site in sites:
                    source = next(floods)
                    await ask(site.address, source, login(VICTIM, PASSWORD))  # who is known there from now on
                    if beside == _ALONE:
                        await measurement.measure(site, beside, source)
                        continue
                    async with flood(site, beside, source, connections) as statuses:
                        await measurement.measure(site, beside, source)
                    await asyncio.sleep(SETTLE_SECONDS)
                    granted.setdefault((site.name, beside), Counter()).update(statuses)
    for row in measurement.rows():
        click.echo(row)
    click.echo()
    for (name, beside), counted in granted.items():
        answers = ", ".join(f"{number} x {status}" for status, number in sorted(counted.items()))
        click.echo(f"What the flood of {beside} got, {name}: {answers}")
    click.echo(f"{rounds} rounds, {time.monotonic() - began:.0f} s")


@click.command()
@click.option(
    "--before", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Another work tree."
)
@click.option("--rounds", default=3, show_default=True, help="Turns of alone and beside each flood.")
@click.option("--requests", default=10, show_default=True, help="Of each kind, in each turn.")
@click.option("--connections", default=200, show_default=True, help="Of a flood.")
def main(before: Path | None, rounds: int, requests: int, connections: int) -> None:
    """Measure how much longer one network waits beside another that floods the gateway."""
    click.echo(describe())
    trees = {"before": before.absolute()} if before else {}
    trees["after"] = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory(prefix="whatomate-bench-") as work:
        Path(work).chmod(0o755)  # under root the server runs as another user, which must be able to enter
        with EmbeddedPostgres(Path(work) / "postgres", durable=False) as postgres:
            asyncio.run(
                compare(postgres.url, trees, rounds=rounds, requests=requests, connections=connections)
            )


if __name__ == "__main__":
    main()
