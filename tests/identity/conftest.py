"""Gateways as processes of their own, over one real database."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.flow.calls import get
from tests.flow.conftest import SECRET, pytest_asyncio_loop_factories, start, upstream, world
from tests.flow.peers import Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.flow.conftest import World
    from tests.flow.peers import Message, Upstream

__all__ = ["pytest_asyncio_loop_factories", "start", "upstream", "world"]

ROOT = Path(__file__).parents[2]
PATIENCE = 15
"""Seconds after which a test gives up; what is measured in milliseconds is measured in bench/."""


@dataclass
class Process:
    """A gateway in a process of its own."""

    process: asyncio.subprocess.Process
    address: tuple[str, int]
    admin: tuple[str, int]
    said: list[dict[str, Any]] = field(default_factory=list)

    async def status(self) -> Any:
        """What /status tells."""
        answer = await ask(self.admin, get("/status"))
        return answer.json()

    async def ready(self) -> Message:
        return await ask(self.admin, get("/readyz"))

    async def outcomes(self) -> dict[str, float]:
        """Verdicts on callers so far, by outcome."""
        answer = await ask(self.admin, get("/metrics"))
        counts: dict[str, float] = {}
        for line in answer.body.decode().splitlines():
            if line.startswith("gateway_authentications_total{"):
                outcome = line.partition('outcome="')[2].partition('"')[0]
                counts[outcome] = counts.get(outcome, 0) + float(line.rpartition(" ")[2])
        return counts


async def ask(address: tuple[str, int], raw: bytes) -> Message:
    """Send `raw` on a connection of its own."""
    async with Client(address) as client:
        return await client.exchange(raw)


async def eventually(what: Callable[[], Awaitable[object]]) -> float:
    """Wait until `what` holds; return how long that took."""
    begun = time.monotonic()
    while not await what():
        assert time.monotonic() - begun < PATIENCE, "it never came to be"
        await asyncio.sleep(0.005)
    return time.monotonic() - begun


async def spawn(environment: dict[str, str]) -> Process:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "serve"),
        env={**clean, "PYTHONPATH": str(ROOT), **environment},
        cwd="/",
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    said = []
    async for line in process.stdout:
        said.append(json.loads(line))
        if said[-1]["event"] == "listening":
            public, admin = (tuple(said[-1][name]) for name in ("public", "admin"))
            return Process(process, public, admin, said)
    raise AssertionError(said)


@pytest.fixture
async def gateways(
    world: World, upstream: Upstream
) -> AsyncIterator[Callable[..., Awaitable[list[Process]]]]:
    """Start gateways on the world's database; keyword arguments are settings (``IDENTITY_STALE_SECONDS="0"``).

    `preloaded` is environment of a library that is loaded into them.
    """
    async with AsyncExitStack() as stack:

        async def begin(
            count: int = 2, preloaded: dict[str, str] | None = None, **settings: str
        ) -> list[Process]:
            environment = {
                "DATABASE_URL": world.url,
                "JWT_SECRET": SECRET,
                "UPSTREAM_URL": f"http://127.0.0.1:{upstream.port}",
                "LISTEN": "127.0.0.1:0",
                "ADMIN_LISTEN": "127.0.0.1:0",
                "ADMIN_HOSTS": "gateway.test",
                "LOG_ACCESS": "false",
                # So long that nothing in a test is ever noticed by the end of its time.
                "IDENTITY_CACHE_SECONDS": "3600",
                "IDENTITY_REFUSED_SECONDS": "3600",
                "TIMEOUT_DRAIN_SECONDS": "1",
                **settings,
            }
            prefixed = {f"GATEWAY_{name}": value for name, value in environment.items()}
            begun = await asyncio.gather(*(spawn({**prefixed, **(preloaded or {})}) for _ in range(count)))
            for one in begun:
                stack.push_async_callback(ended, one)
            return list(begun)

        yield begin


async def ended(gateway: Process) -> None:
    """End a gateway as an operator would; it leaves with 0."""
    if gateway.process.returncode is None:
        gateway.process.send_signal(signal.SIGTERM)
    assert gateway.process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        rest = await gateway.process.stdout.read()
        code = await gateway.process.wait()
    gateway.said += [json.loads(line) for line in rest.splitlines()]
    errors = [one for one in gateway.said if one["level"] in {"error", "critical"}]
    assert (code, errors) == (0, [])
