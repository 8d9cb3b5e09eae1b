"""Benchmark of shared rate limits: ``python -m bench.shared_limits``; how far two gateways go beyond one limit.

Two gateways count one client network in one Redis. Eight connections send requests to both as fast as they are
answered. What passed is compared with what the limit grants in that time: one burst, and the rate for as long as it
took. Limits of several sizes are measured in turns. Redis has to be installed.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final

import click

from bench.candidates import program
from bench.domain import SECRET
from bench.machine import LOAD, UNDER_TEST, describe, free_port, start
from bench.traffic import Nodes

LIMITS: Final = ((100, 100), (1000, 1000), (1000, 5000))
"""Each limit: requests a second, and the burst."""
CONNECTIONS: Final = 8
_REQUEST: Final = b"GET /x HTTP/1.1\r\nHost: bench\r\n\r\n"


def _gateway(work: Path, port: int, upstream: int, redis: int) -> dict[str, str]:
    routes = work / f"{port}.yaml"
    limits = "\n".join(
        f"  of-{rate}-{burst}: {{key: network, rate: {rate}/s burst {burst}}}" for rate, burst in LIMITS
    )
    served = "\n".join(
        f"  - {{name: r-{rate}-{burst}, match: {{path: /of-{rate}-{burst}/*}}, auth: public, "
        f"limits: [of-{rate}-{burst}]}}"
        for rate, burst in LIMITS
    )
    routes.write_text(
        f"upstreams:\n  default: {{url: 'http://127.0.0.1:{upstream}'}}\nlimits:\n{limits}\nroutes:\n{served}\n"
    )
    return {
        "GATEWAY_LISTEN": f"127.0.0.1:{port}",
        "GATEWAY_ADMIN_LISTEN": "127.0.0.1:0",
        "GATEWAY_DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none",  # a public route asks nobody
        "GATEWAY_JWT_SECRET": SECRET,
        "GATEWAY_ROUTES": str(routes),
        "GATEWAY_LIMITS_URL": f"redis://127.0.0.1:{redis}/0",
        "GATEWAY_LIMITS_REPLICAS": "2",
        "GATEWAY_LOG_ACCESS": "false",
    }


async def _caller(port: int, path: str, until: float) -> int:
    """Send requests until the time `until`; return how many passed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    passed = 0
    while time.monotonic() < until:
        writer.write(_REQUEST.replace(b"/x", path.encode()))
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(length or 0))
        passed += head.startswith(b"HTTP/1.1 200")
    writer.close()
    return passed


async def _round(ports: list[int], rate: int, burst: int, seconds: float) -> float:
    """Return what passed as a multiple of what the limit grants."""
    begun = time.monotonic()
    passed = await asyncio.gather(
        *(
            _caller(ports[number % len(ports)], f"/of-{rate}-{burst}/x", begun + seconds)
            for number in range(CONNECTIONS)
        )
    )
    return sum(passed) / (burst + rate * (time.monotonic() - begun))


@click.command()
@click.option("--rounds", default=3, show_default=True)
@click.option("--seconds", default=3.0, show_default=True)
def main(rounds: int, seconds: float) -> None:
    """Measure what passes beyond a limit that two gateways share."""
    server = program("redis-server")
    if server is None:
        raise click.ClickException("redis-server is not installed; the benchmark cannot do without it")
    click.echo(describe())
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        redis, nodes = free_port(), Nodes(stack)
        command = [server, "--port", str(redis), "--bind", "127.0.0.1", "--save", ""]
        stack.callback(start(command, core=LOAD, port=redis, log=work / "redis.log").stop)
        ports = [free_port() for _ in range(2)]
        for port in ports:
            environment = _gateway(work, port, nodes.ports[0], redis)
            serve = [sys.executable, "-m", "gateway", "serve"]
            log = work / f"{port}.log"
            running = start(serve, core=UNDER_TEST, port=port, log=log, environment=environment)
            stack.callback(running.stop)
        click.echo("| limit | passed, as a multiple of what it grants |\n|---|---|")
        for rate, burst in LIMITS:
            shares = []
            for _ in range(rounds):
                time.sleep(burst / rate + 0.5)  # until what was counted has drained
                shares.append(asyncio.run(_round(ports, rate, burst, seconds)))
            click.echo(f"| {rate}/s, burst {burst} | {median(shares):.3f} (at most {max(shares):.3f}) |")


if __name__ == "__main__":
    main()
