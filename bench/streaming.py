"""Benchmark of what stays open: WebSockets that echo small messages, and event streams with many clients.

The gateway passes WebSockets on byte by byte and answers chunk by chunk; nginx and HAProxy do so beside it, nginx with
its buffering off. Each has an upstream of its own for this, on the core of the load.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TextIO, cast

import click

from bench import candidates as c
from bench import socket_echo
from bench.bars import ECHO, Spread
from bench.candidates import CANDIDATES, program
from bench.constant_rate import request_bytes
from bench.event_streams import Delivered
from bench.load import Measured
from bench.machine import LOAD, Running, children_seconds, free_port, pinned, start
from bench.outcome import Streams
from bench.report import Row

if TYPE_CHECKING:
    from bench.candidates import Candidate, Site
    from bench.report import Results
    from bench.side_by_side import SideBySide

SOCKETS: Final = 256
MESSAGE_BYTES: Final = 32
CLIENTS: Final = 5000
EVENTS: Final = 20
_ROOM: Final = {"GATEWAY_UPSTREAM_CONNECTIONS": "16384", "GATEWAY_LIMIT_CONNECTIONS_PER_ADDRESS": "0"}
"""Settings of a gateway with more streams open than its defaults allow one network and one upstream."""


def _nginx(site: Site, port: int) -> list[str]:
    config = site.configure("nginx-streams.conf", port, f"nginx-streams-{port}.conf")
    return [str(program("nginx")), "-c", str(config), "-g", "daemon off;"]


def _haproxy(site: Site, port: int) -> list[str]:
    # Without this it waits up to half a second for more of an answer in chunks before it sends what it has.
    config = site.configure("haproxy.cfg", port, f"haproxy-{port}.cfg", more="option http-no-delay")
    return [str(program("haproxy")), "-db", "-f", str(config)]


def _candidate(name: str) -> Candidate:
    candidate = next(one for one in CANDIDATES if one.name == name)
    if name == c.NGINX:
        return replace(candidate, command=_nginx)
    if name == c.HAPROXY:
        return replace(candidate, command=_haproxy)
    if candidate.program is None:
        return replace(
            candidate, environment=lambda site, port: {**candidate.environment(site, port), **_ROOM}
        )
    return candidate


def _upstream(stack: ExitStack, run: SideBySide, module: str) -> tuple[Running, int]:
    port = free_port()
    command = [sys.executable, "-m", module, "serve", str(port)]
    process = start(command, core=LOAD, port=port, log=run.work / f"{module}.log")
    stack.callback(process.stop)
    return process, port


def sockets(run: SideBySide, rounds: int, seconds: int) -> Results:
    """Run the echo in interleaved rounds; the first is for warming up, and is not recorded."""
    results: Results = {}
    with ExitStack() as stack:
        upstream, upstream_port = _upstream(stack, run, "bench.socket_echo")
        site = replace(run.site, upstream=upstream_port)
        running = {}
        for candidate in map(_candidate, (c.GATEWAY_JWT, c.GATEWAY_SLOW, c.NGINX)):
            running[candidate.name] = process, port = candidate.start(site)
            stack.callback(process.stop)
        for number in range(rounds + 1):
            for name, (process, port) in running.items():
                candidate = _candidate(name)
                request = socket_echo.opening(f"{candidate.path}/socket", dict(candidate.headers(site)))
                before, busy = process.cpu_seconds(), upstream.cpu_seconds() + children_seconds()
                began = time.monotonic()
                found = socket_echo.run(port, seconds, SOCKETS, MESSAGE_BYTES, request)
                busy = upstream.cpu_seconds() + children_seconds() - busy
                measured = Measured(found.messages, found.rate, found.p50, found.p99, found.errors)
                used = process.cpu_seconds() - before
                share = busy / (time.monotonic() - began)
                if number:
                    row = Row(measured, used, process.memory_bytes(), SOCKETS, share)
                    results.setdefault((ECHO, name), []).append(row)
            click.echo(f"WebSockets, round {number} of {rounds}", err=True)
    return results


def streams(run: SideBySide, clients: int = CLIENTS, events: int = EVENTS) -> list[Streams]:
    """Send events to many clients through each candidate in turn."""
    found = []
    for name in (c.GATEWAY_JWT, c.GATEWAY_SLOW, c.NGINX, c.HAPROXY):
        with ExitStack() as stack:
            _, upstream = _upstream(stack, run, "bench.event_streams")
            candidate = _candidate(name)
            site = replace(run.site, upstream=upstream)
            process, port = candidate.start(site)
            stack.callback(process.stop)
            request = request_bytes(f"{candidate.path}/events", candidate.headers(site))
            found.append(_fan_out(name, process, (port, upstream, clients, events), request))
        click.echo(f"event streams: {name}", err=True)
    return found


def _fan_out(name: str, process: Running, numbers: tuple[int, int, int, int], request: bytes) -> Streams:
    empty = process.memory_bytes()
    command = [*pinned(LOAD), sys.executable, "-m", "bench.event_streams", "load", *map(str, numbers)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1) as load:  # noqa: S603 -- this project's own
        going_in, coming_out = cast("TextIO", load.stdin), cast("TextIO", load.stdout)
        going_in.write(json.dumps(request.decode()) + "\n")
        if coming_out.readline() != "open\n":
            raise RuntimeError(f"{name}: the streams were not opened")
        full, before = process.memory_bytes(), process.cpu_seconds()
        going_in.write("\n")
        delivered = Delivered(**json.loads(coming_out.readline()))
        used = process.cpu_seconds() - before
    clients = numbers[2]
    return Streams(
        candidate=name,
        clients=clients,
        last_ms=Spread.of([1000 * one for one in delivered.last]),
        cpu=1e6 * used / max(delivered.events, 1),
        kib=(full - empty) / clients / 1024,
        lost=delivered.lost,
    )
