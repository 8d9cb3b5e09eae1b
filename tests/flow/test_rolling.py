"""A rolling restart behind a real HAProxy, under load: no request is lost, refused or broken off.

HAProxy asks /readyz and is told not to retry, so that it hides nothing.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.observe.scraping import value
from tests.support.admin import ask_admin, readiness_says
from tests.support.peers import Client
from tests.support.ports import free_port
from tests.support.processes import LONG, eventually, haproxy, reachable, serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.peers import Upstream
    from tests.support.worlds import World

CLIENTS = 8


@dataclass
class Load:
    """Clients that ask again and again; what went wrong is kept in words."""

    address: tuple[str, int]
    token: str
    done: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    ending: bool = False

    async def client(self, number: int) -> None:
        body = b"x" * 2000
        requests = (
            b"GET /api/x HTTP/1.1\r\nHost: e\r\nAuthorization: Bearer %b\r\n\r\n" % self.token.encode(),
            b"POST /api/x HTTP/1.1\r\nHost: e\r\nAuthorization: Bearer %b\r\nContent-Length: %d\r\n\r\n%b"
            % (self.token.encode(), len(body), body),
        )
        while not self.ending:
            try:
                async with Client(self.address) as client:
                    for turn in range(20):
                        if self.ending:
                            return
                        answer = await client.exchange(requests[(number + turn) % 2])
                        if answer.status == 200:
                            self.done += 1
                        else:
                            self.wrong[f"status {answer.status}"] += 1
                        if answer.one("Connection") == "close":
                            break
            except Exception as error:  # noqa: BLE001 -- whatever it is, a request was lost
                self.wrong[f"{type(error).__name__}: {error}"] += 1
                await asyncio.sleep(0.1)


async def is_asked(admin: int) -> bool:
    """Return whether a gateway has answered requests of clients, by the port of its admin listener."""
    _, page = await ask_admin(("127.0.0.1", admin), "/metrics")
    return value(page, "gateway_requests_total", status="200") > 0


@pytest.mark.parametrize("workers", [(), ("--workers", "2")], ids=["one", "workers"])
async def test_a_rolling_restart_under_load_loses_no_request(
    world: World, upstream: Upstream, tmp_path: Path, workers: tuple[str, ...]
) -> None:
    ports, admins = [free_port(), free_port()], [free_port(), free_port()]
    number = 2 if workers else 1

    async def begin(place: int, stack: AsyncExitStack) -> asyncio.subprocess.Process:
        process, _, admin = await stack.enter_async_context(
            serving(
                upstream,
                *workers,
                GATEWAY_DATABASE_URL=world.url,
                GATEWAY_LISTEN=f"127.0.0.1:{ports[place]}",
                GATEWAY_ADMIN_LISTEN=f"127.0.0.1:{admins[place]}",
                GATEWAY_TIMEOUT_DRAIN_DELAY_SECONDS="3",
                GATEWAY_LOG_ACCESS="off",
            )
        )
        await readiness_says(admin, b'"migrations":"ok"', number)
        await readiness_says(admin, b'{"ready":true')
        return process

    async with AsyncExitStack() as stack:
        processes = [await begin(place, stack) for place in range(2)]
        address = await stack.enter_async_context(haproxy(tmp_path, admins, ports))
        await reachable(address)
        load = Load(address, world.token(world.agent))
        clients = [asyncio.ensure_future(load.client(number)) for number in range(CLIENTS)]
        for place in range(2):
            before = load.done
            processes[place].send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(processes[place].wait(), LONG) == 0
            processes[place] = await begin(place, stack)
            await eventually(partial(is_asked, admins[place]))  # HAProxy has taken it up again
            assert load.done > before, "there was no load"
        load.ending = True
        await asyncio.gather(*clients)
    assert load.wrong == {}, f"of {load.done} requests"
    assert load.done > 100
