"""Benchmark of first uses: ``python -m bench.cold``, what a token or an API key costs that nobody has used before.

``alone`` sends first uses one after the other over one connection, and asks the database the same statement by itself,
in turns: the difference is the gateway's. ``flood`` sends them at a constant rate over 256 connections, and reads how
late the gateway's loop was. The gateway has one core, all else the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import select
import sys
import tempfile
import time
from array import array
from collections import Counter, deque
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.request import urlopen

import asyncpg
import click
import uvloop

from authcore.identity.api_keys import prefixes
from authcore.store.keys import PresentedKey, read_candidates
from authcore.store.subjects import SubjectQuestion, read_subjects
from bench.candidates import COMPILED, CONFIGS, Site, gateway_environment
from bench.connection import Connection
from bench.constant_rate import percentile, request_bytes
from bench.crowd import Crowd
from bench.domain import SECRET, day_tokens
from bench.machine import LOAD, UNDER_TEST, Running, describe, free_port, start
from bench.side_by_side import require, upstream
from gateway.dev.postgres import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

USERS: Final = 20_000
CONNECTIONS: Final = 256
FLOOD_SECONDS: Final = 4
LATE_SECONDS: Final = 5.0
"""How long after its schedule a flood is given up."""
SETTLE_SECONDS: Final = 11.0
"""The gateway remembers how late its loop was for ten seconds."""
TREES: Final = {"compiled": COMPILED, "interpreted": CONFIGS.parents[1]}


class Callers:
    """Users of a crowd, and requests with their credentials, each of which is used once."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._tokens = day_tokens(SECRET)
        self._now = int(time.time())
        self._numbers = count()

    def by_token(self) -> bytes:
        """Return a request with a token that was not used before."""
        ago, number = divmod(next(self._numbers), self._crowd.users)
        token = self._crowd.token(self._tokens, number, self._now - ago)
        return request_bytes("/api/things", {"Authorization": f"Bearer {token}"})

    def by_key(self, number: int) -> bytes:
        """Return a request with the API key of a user."""
        return request_bytes("/api/things", {"X-API-Key": self._crowd.key(number).decode()})

    async def ask_alone(self, url: str, numbers: Sequence[int]) -> tuple[list[float], list[float]]:
        """Return the seconds of the statement of a token, and of that of a key, for each of the users."""
        crowd, of_token, of_key = self._crowd, [], []
        connection = await asyncpg.connect(url)
        for number in numbers:
            asked = SubjectQuestion(crowd.user(number), crowd.organization(number), crowd.session(number))
            began = time.perf_counter()
            await read_subjects(connection, [asked])
            of_token.append(time.perf_counter() - began)
            presented = PresentedKey(*prefixes(crowd.key(number)), crowd.digest(number))
            began = time.perf_counter()
            await read_candidates(connection, [presented])
            of_key.append(time.perf_counter() - began)
        await connection.close()
        return of_token, of_key


class Stage:
    """A crowd's database, an upstream, and gateways by build."""

    def __init__(self, stack: contextlib.ExitStack, builds: Sequence[str]) -> None:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="whatomate-bench-")))
        work.chmod(0o755)  # under root the server runs as another user, which must be able to enter
        os.sched_setaffinity(0, {LOAD})  # and all that is started from here, but for the gateways
        postgres = stack.enter_context(EmbeddedPostgres(work / "postgres", durable=False))
        crowd = Crowd(USERS, USERS // 10, SECRET)
        asyncio.run(crowd.settle(postgres.url))
        self.url = postgres.url
        self.callers = Callers(crowd)
        site = Site(work, upstream(stack, work)[0], SECRET, postgres.url, "", "")
        self.gateways: dict[str, tuple[Running, int, int]] = {}
        for build in builds:
            port, admin = free_port(), free_port()
            environment = {
                **gateway_environment(site, port),
                "GATEWAY_ADMIN_LISTEN": f"127.0.0.1:{admin}",
                "GATEWAY_IDENTITY_CACHE_ENTRIES": "1000000",
                "PYTHONPATH": str(TREES[build]),
            }
            command = [sys.executable, "-P", "-m", "gateway", "serve"]
            log = work / f"{build}.log"
            process = start(command, core=UNDER_TEST, port=port, log=log, environment=environment)
            stack.callback(process.stop)
            self.gateways[build] = (process, port, admin)


def first_uses(connection: Connection, requests: Sequence[bytes]) -> Iterator[float]:
    """Send requests one after the other, and yield the seconds of each.

    Raises:
        RuntimeError: an answer is not 200.
    """
    for request in requests:
        began = time.perf_counter()
        connection.socket.send(request)
        while not (status := connection.read(connection.recv(4096))):
            pass
        if status != 200:  # noqa: PLR2004 -- OK
            raise RuntimeError(f"a first use was answered {status}")
        yield time.perf_counter() - began


def alone(stage: Stage, rounds: int, each: int) -> None:
    """Measure first uses one after the other, in rounds of `each`; the first round warms up."""
    taken: dict[str, list[float]] = {}
    for turn in range(rounds + 1):
        numbers = range(turn * each, (turn + 1) * each)
        of_token, of_key = uvloop.run(stage.callers.ask_alone(stage.url, numbers))
        found = {"the statement of a token": of_token, "the statement of an API key": of_key}
        for build, (_, port, _) in stage.gateways.items():
            connection = Connection(port)
            tokens = [stage.callers.by_token() for _ in numbers]
            found[f"{build}, token"] = list(first_uses(connection, tokens))
            found[f"{build}, API key"] = list(
                first_uses(connection, [stage.callers.by_key(number) for number in numbers])
            )
            found[f"{build}, token again"] = list(first_uses(connection, tokens))
            connection.socket.close()
        if turn:
            for name, seconds in found.items():
                taken.setdefault(name, []).extend(seconds)
    for name, seconds in taken.items():
        p50, p99 = (percentile(sorted(seconds), share) * 1000 for share in (0.5, 0.99))
        click.echo(f"{name}: p50 {p50:.2f} ms, p99 {p99:.2f}")


def send(port: int, requests: Sequence[bytes], rate: float) -> tuple[float, list[float], Counter[int]]:
    """Send requests at a constant rate; return the seconds in all, of each from when it was due, and the statuses."""
    connections = [Connection(port) for _ in range(CONNECTIONS)]
    by_number, free, poll = (
        {connection.socket.fileno(): connection for connection in connections},
        deque(connections),
        select.epoll(),
    )
    for number in by_number:
        poll.register(number, select.EPOLLIN)
    latencies, statuses, sent = array("d"), Counter[int](), 0
    gc.collect()
    gc.disable()
    began = time.monotonic()
    last = began + len(requests) / rate + LATE_SECONDS
    while len(latencies) < len(requests) and time.monotonic() < last:
        while free and sent < len(requests) and began + sent / rate <= time.monotonic():
            connection = free.popleft()
            connection.due = began + sent / rate
            connection.socket.send(requests[sent])
            sent += 1
        for number, _ in poll.poll(0.0005):
            connection = by_number[number]
            if status := connection.read(connection.recv(4096)):
                latencies.append(time.monotonic() - connection.due)
                statuses[status] += 1
                free.append(connection)
    gc.enable()
    for connection in connections:
        connection.socket.close()
    return time.monotonic() - began, sorted(latencies), statuses


def flood(stage: Stage, rates: Sequence[int]) -> None:
    """Send first uses of tokens at each of the rates."""
    for rate in rates:
        for build, (process, port, admin) in stage.gateways.items():
            requests = [stage.callers.by_token() for _ in range(rate * FLOOD_SECONDS)]
            time.sleep(SETTLE_SECONDS)
            used = process.cpu_seconds()
            taken, latencies, statuses = send(port, requests, rate)
            used = process.cpu_seconds() - used
            p50, p99 = (percentile(latencies, share) * 1000 for share in (0.5, 0.99))
            click.echo(
                f"{build}, {rate} a second: {len(latencies) / taken:.0f} answered a second, {dict(statuses)}, "
                f"p50 {p50:.1f} ms, p99 {p99:.1f}, {used / len(latencies) * 1e6:.0f} us of CPU each, "
                f"loop late by {_lateness(admin) * 1000:.1f} ms"
            )


def _lateness(admin: int) -> float:
    """Return how late a gateway's loop was at worst in the last ten seconds."""
    with urlopen(f"http://127.0.0.1:{admin}/metrics", timeout=5) as page:
        for line in page.read().decode().splitlines():
            name, _, number = line.partition(" ")
            if name == "gateway_loop_lag_seconds":
                return float(number)
    raise RuntimeError("the gateway does not say how late its loop was")


@click.command()
@click.argument("what", nargs=-1, type=click.Choice(["alone", "flood"]))
@click.option("--build", multiple=True, type=click.Choice(list(TREES)), help="By default both.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--each", default=200, show_default=True, help="First uses of a round.")
@click.option("--rate", multiple=True, type=int, help="First uses a second of a flood; by default several.")
def main(
    *, what: tuple[str, ...], build: tuple[str, ...], rounds: int, each: int, rate: tuple[int, ...]
) -> None:
    """Measure WHAT, or both, and print a line for each figure."""
    require("nginx", "taskset")
    click.echo(describe())
    with contextlib.ExitStack() as stack:
        stage = Stage(stack, build or tuple(TREES))
        if "alone" in (what or ("alone",)):
            alone(stage, rounds, each)
        if "flood" in (what or ("flood",)):
            flood(stage, rate or (1000, 2000, 4000, 10_000))


if __name__ == "__main__":
    main()
