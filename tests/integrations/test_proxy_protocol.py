"""PROXY headers as HAProxy writes them, its health checks included, over TCP and a Unix socket."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support.calls import ask_at, get
from tests.support.ports import free_port
from tests.support.processes import reachable
from tests.support.programs import program

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.peers import Upstream
    from tests.support.worlds import Start

HAPROXY = """
defaults
    mode tcp
    timeout connect 10s
    timeout client 60s
    timeout server 60s
listen front
    bind 127.0.0.1:{front}
    source 127.0.0.1
    server gateway {server}
"""


@asynccontextmanager
async def running(*command: str) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def haproxy(folder: Path, server: str) -> AsyncIterator[tuple[str, int]]:
    front = free_port()
    (folder / "haproxy.cfg").write_text(HAPROXY.format(front=front, server=server))
    async with running(program("haproxy"), "-db", "-f", str(folder / "haproxy.cfg")):
        await reachable(("127.0.0.1", front))
        yield "127.0.0.1", front


@pytest.mark.parametrize(
    "options",
    [
        "send-proxy",
        "send-proxy-v2",
        "send-proxy-v2 proxy-v2-options crc32c,authority,unique-id",
        "send-proxy-v2 check inter 50ms",
    ],
)
async def test_haproxy_names_its_client_in_both_versions(
    start: Start, upstream: Upstream, tmp_path: Path, options: str
) -> None:
    gate = await start(proxy={"protocol_from": "127.0.0.0/8"})
    async with haproxy(tmp_path, f"127.0.0.1:{gate.address[1]} {options}") as front:
        assert (await ask_at(front, get("/health"))).status == 200
    assert {seen.one("X-Real-IP") for seen in upstream.requests} == {"127.0.0.1"}


async def test_haproxy_names_its_client_by_a_unix_socket(
    start: Start, upstream: Upstream, tmp_path: Path
) -> None:
    await start(listen=f"unix:{tmp_path}/g.sock", proxy={"protocol_unix": True})
    async with haproxy(tmp_path, f"unix@{tmp_path}/g.sock send-proxy-v2") as front:
        assert (await ask_at(front, get("/health"))).status == 200
    assert upstream.requests[-1].one("X-Real-IP") == "127.0.0.1"


async def test_haproxy_without_the_header_is_cut_off(
    start: Start, upstream: Upstream, tmp_path: Path
) -> None:
    gate = await start(proxy={"protocol_from": "127.0.0.0/8"})
    front = free_port()
    (tmp_path / "haproxy.cfg").write_text(HAPROXY.format(front=front, server=f"127.0.0.1:{gate.address[1]}"))
    async with running(program("haproxy"), "-db", "-f", str(tmp_path / "haproxy.cfg")):
        async with asyncio.timeout(10):
            while True:
                try:
                    await ask_at(("127.0.0.1", front), get("/health"))
                except ConnectionRefusedError:
                    await asyncio.sleep(0.05)
                except (ConnectionError, asyncio.IncompleteReadError):
                    break
    assert upstream.requests == []
    samples = gate.metrics.registry.get_sample_value
    assert (samples("gateway_proxy_protocol_refused_total", {"reason": "malformed"}) or 0) >= 1
