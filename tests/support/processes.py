"""Processes of a test's own: gateways as an operator runs them, and HAProxy before them."""

from __future__ import annotations

import asyncio
import asyncio.subprocess
import json
import os
import signal
import socket
import sys
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.calls import GET, ask_at, get
from tests.support.peers import Client
from tests.support.ports import free_port
from tests.support.programs import program
from tests.support.worlds import NOWHERE, SECRET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from tests.support.peers import Message, Upstream

STARTING = 60
"""Seconds a process of its own may take to start, on a machine that is busy."""


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    with open(f"/proc/{pid}/task/{pid}/children") as listing:  # noqa: PTH123 -- a file of the kernel's
        return [int(child) for child in listing.read().split()]


def stand_still(seconds: float) -> None:
    """Stop this process's own event loop for a while, as a frozen container does."""
    time.sleep(seconds)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Stop a process for a while. One that stays stopped outlives its parent."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def listening(place: str | tuple[str, int] = ("127.0.0.1", 0)) -> Iterator[str]:
    """Take connections at an address, or at the path of a Unix socket, and never answer; yields the address."""
    family = socket.AF_UNIX if isinstance(place, str) else socket.AF_INET
    with socket.socket(family) as server:
        server.bind(place)
        server.listen()
        yield place if isinstance(place, str) else "{}:{}".format(*server.getsockname())


@asynccontextmanager
async def serving(
    upstream: Upstream, *arguments: str, log: Path | None = None, **variables: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, tuple[str, int], tuple[str, int]]]:
    """Run a gateway as a process that logs to `log`; yields it, its address and its admin address."""
    port, admin = (
        int(variables[name].rpartition(":")[2]) if name in variables else free_port()
        for name in ("GATEWAY_LISTEN", "GATEWAY_ADMIN_LISTEN")
    )
    output = None if log is None else log.open("ab")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway",
        "serve",
        *arguments,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(sys.path),
            "GATEWAY_LISTEN": f"127.0.0.1:{port}",
            "GATEWAY_ADMIN_LISTEN": f"127.0.0.1:{admin}",
            "GATEWAY_ADMIN_HOSTS": "gateway.test",
            "GATEWAY_DATABASE_URL": NOWHERE,
            "GATEWAY_JWT_SECRET": SECRET,
            "GATEWAY_UPSTREAM_URL": f"http://127.0.0.1:{upstream.port}",
            "GATEWAY_TIMEOUT_DRAIN_DELAY_SECONDS": "0",
            **variables,
        },
        stdout=output or asyncio.subprocess.DEVNULL,
    )
    if output is not None:
        output.close()
    try:
        async with asyncio.timeout(STARTING):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    assert process.returncode is None, "the gateway did not start"
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    break
        yield process, ("127.0.0.1", port), ("127.0.0.1", admin)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


LONG = 60
"""Seconds after which a test gives up on a load balancer."""


_HAPROXY = """
global
    maxconn 1000
defaults
    mode http
    retries 0
    timeout connect 10s
    timeout client 60s
    timeout server 60s
    timeout check 10s
frontend front
    bind 127.0.0.1:{front}
    default_backend gateways
backend gateways
    option httpchk GET /readyz
    balance roundrobin
    default-server inter 100ms fall 1 rise 1
{servers}
"""


@asynccontextmanager
async def haproxy(folder: Path, admins: list[int], ports: list[int]) -> AsyncIterator[tuple[str, int]]:
    """Run HAProxy before gateways, by their readiness; yields its address."""
    front = free_port()
    servers = "\n".join(
        f"    server g{n} 127.0.0.1:{port} check port {admin}"
        for n, (port, admin) in enumerate(zip(ports, admins, strict=True))
    )
    (folder / "haproxy.cfg").write_text(_HAPROXY.format(front=front, servers=servers))
    process = await asyncio.create_subprocess_exec(
        program("haproxy"),
        "-db",
        "-f",
        str(folder / "haproxy.cfg"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield ("127.0.0.1", front)
    finally:
        process.kill()
        await process.wait()


async def reachable(address: tuple[str, int]) -> None:
    """Wait until requests to the address are answered by 200."""
    async with asyncio.timeout(LONG):
        while True:
            try:
                async with Client(address) as client:
                    if (await client.exchange(GET)).status == 200:
                        return
            except (OSError, asyncio.IncompleteReadError):
                pass
            await asyncio.sleep(0.1)


ROOT = Path(__file__).parents[2]


PROCESS_SECONDS = 60
"""Seconds after which a test gives up on a process; what takes milliseconds is measured in bench/."""


@dataclass
class Process:
    """A gateway in a process of its own."""

    process: asyncio.subprocess.Process
    address: tuple[str, int]
    admin: tuple[str, int]
    events: list[dict[str, Any]] = field(default_factory=list)

    async def status(self) -> Any:
        """Return the answer of /status."""
        answer = await ask_at(self.admin, get("/status"))
        return answer.json()

    async def ready(self) -> Message:
        return await ask_at(self.admin, get("/readyz"))

    async def outcomes(self) -> dict[str, float]:
        """Verdicts on callers so far, by outcome."""
        answer = await ask_at(self.admin, get("/metrics"))
        counts: dict[str, float] = {}
        for line in answer.body.decode().splitlines():
            if line.startswith("gateway_authentications_total{"):
                outcome = line.partition('outcome="')[2].partition('"')[0]
                counts[outcome] = counts.get(outcome, 0) + float(line.rpartition(" ")[2])
        return counts


async def eventually(what: Callable[[], Awaitable[object]]) -> float:
    """Wait until `what` holds; return how long that took."""
    begun = time.monotonic()
    while not await what():
        assert time.monotonic() - begun < PROCESS_SECONDS, "it never came to be"
        await asyncio.sleep(0.005)
    return time.monotonic() - begun


def environment_before(upstream: Upstream, **settings: str) -> dict[str, str]:
    """Return the environment of a gateway before `upstream`, on free ports; `settings` are named without GATEWAY_."""
    usual = {
        "JWT_SECRET": SECRET,
        "UPSTREAM_URL": f"http://127.0.0.1:{upstream.port}",
        "LISTEN": "127.0.0.1:0",
        "ADMIN_LISTEN": "127.0.0.1:0",
        "ADMIN_HOSTS": "gateway.test",
        "LOG_ACCESS": "false",
    }
    return {f"GATEWAY_{name}": value for name, value in {**usual, **settings}.items()}


async def spawn(environment: dict[str, str]) -> Process:
    """Start a gateway with settings of its own (``GATEWAY_LISTEN=...``), and wait until it listens."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "serve"),
        env={**clean, "PYTHONPATH": str(ROOT), **environment},
        cwd="/",
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    events = []
    async for line in process.stdout:
        events.append(json.loads(line))
        if events[-1]["event"] == "listening":
            public, admin = (tuple(events[-1][name]) for name in ("public", "admin"))
            return Process(process, public, admin, events)
    raise AssertionError(events)


async def ended(gateway: Process) -> None:
    """End a gateway as an operator would; it leaves with 0."""
    if gateway.process.returncode is None:
        gateway.process.send_signal(signal.SIGTERM)
    assert gateway.process.stdout is not None
    async with asyncio.timeout(PROCESS_SECONDS):
        rest = await gateway.process.stdout.read()
        code = await gateway.process.wait()
    gateway.events += [json.loads(line) for line in rest.splitlines()]
    errors = [one for one in gateway.events if one["level"] in {"error", "critical"}]
    assert (code, errors) == (0, [])
