"""File descriptors: a gateway that lacks them says so and blames no upstream, and the admin listener has a reserve."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.admin import ask_admin
from tests.support.calls import GET
from tests.support.certificates import Authority
from tests.support.peers import PATIENCE, Client
from tests.support.ports import free_port
from tests.support.processes import STARTING
from tests.support.worlds import NOWHERE, SECRET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.peers import Upstream

    Serving = tuple[asyncio.subprocess.Process, tuple[str, int], tuple[str, int], Path]

SOFT, HARD = 128, 200


@asynccontextmanager
async def serving_with_few(upstream: Upstream, tmp_path: Path, **variables: str) -> AsyncIterator[Serving]:
    """A gateway that may have few descriptors: the process, its address, its admin address, and its log."""
    port, admin, log = free_port(), free_port(), tmp_path / "log"
    command = f'ulimit -Sn {SOFT} && ulimit -Hn {HARD} && exec "$0" -m gateway serve'
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *("/bin/sh", "-c", command, sys.executable),
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": os.pathsep.join(sys.path),
                "GATEWAY_LISTEN": f"127.0.0.1:{port}",
                "GATEWAY_ADMIN_LISTEN": f"127.0.0.1:{admin}",
                "GATEWAY_DATABASE_URL": NOWHERE,
                "GATEWAY_JWT_SECRET": SECRET,
                "GATEWAY_UPSTREAM_URL": f"http://127.0.0.1:{upstream.port}",
                "GATEWAY_TIMEOUT_DRAIN_DELAY_SECONDS": "0",
                **variables,
            },
            stdout=output,
            stderr=output,
        )
    try:
        async with asyncio.timeout(STARTING):
            while b'"event":"listening"' not in log.read_bytes():
                assert process.returncode is None
                await asyncio.sleep(0.05)
        yield process, ("127.0.0.1", port), ("127.0.0.1", admin), log
    finally:
        if process.returncode is None:
            process.kill()
            await asyncio.wait_for(process.wait(), PATIENCE)


@pytest.fixture
async def few(upstream: Upstream, tmp_path: Path) -> AsyncIterator[Serving]:
    async with serving_with_few(upstream, tmp_path) as serving:
        yield serving


async def test_the_hard_limit_is_used_and_connections_are_fitted_to_it(few: Serving) -> None:
    process, _, admin, log = few
    found = re.search(r"Max open files +(\d+) +(\d+)", Path(f"/proc/{process.pid}/limits").read_text())
    assert found is not None
    assert found.groups() == (str(HARD), str(HARD))
    _, page = await ask_admin(admin, "/metrics")
    fitted = int(float(page.partition("\ngateway_connections_max ")[2].split()[0]))
    assert 30 < fitted < HARD / 2
    assert b'"event":"connections_fitted"' in log.read_bytes()


async def test_idle_clients_take_nothing_from_the_admin_listener_and_further_ones_get_an_answer(
    few: Serving,
) -> None:
    _, address, admin, _ = few
    async with AsyncExitStack() as stack:
        async with asyncio.timeout(STARTING):
            for _ in range(HARD):
                await stack.enter_async_context(Client(address))
            statuses = set()
            while 503 not in statuses:
                async with Client(address) as client:
                    statuses.add((await client.exchange(GET)).status)
            for path in ("/livez", "/metrics"):
                assert (await ask_admin(admin, path))[0] == 200


async def test_a_request_that_finds_no_descriptor_is_503_and_no_fault_of_the_upstream(
    few: Serving, upstream: Upstream
) -> None:
    process, address, admin, log = few
    release = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await release.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    upstream.script = slow
    async with AsyncExitStack() as stack:
        async with asyncio.timeout(STARTING):
            async with AsyncExitStack() as first:
                for _ in range(5):
                    await first.enter_async_context(Client(address))
                await ask_admin(admin, "/metrics")
                clients = [await stack.enter_async_context(Client(address)) for _ in range(40)]
                await ask_admin(admin, "/metrics")
            # Those that left made low numbers free: the lowest free one says nothing about how many are open.
            # 66 of them without the reserve.
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (130, HARD))
            _, page = await ask_admin(admin, "/metrics")
            for client in clients:
                await client.send(GET)
            while b'"event":"descriptors_exhausted"' not in log.read_bytes():
                await asyncio.sleep(0.05)
            _, page = await ask_admin(admin, "/metrics")
            release.set()
            statuses = sorted({(await client.response()).status for client in clients})
    assert statuses == [200, 503]
    assert 'gateway_drops_total{reason="descriptors",status="503"}' in page
    assert 'gateway_upstream_failures_total{reason="upstream_unreachable"' not in page


async def test_refused_clients_take_nothing_from_the_upstreams_of_those_that_were_let_in(
    few: Serving, upstream: Upstream
) -> None:
    _, address, _, _ = few
    number, come, all_there = 20, 0, asyncio.Event()

    async def together(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal come
        await reader.readuntil(b"\r\n\r\n")
        come += 1
        if come == number:
            all_there.set()
        await all_there.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    upstream.script = together
    async with AsyncExitStack() as stack:
        async with asyncio.timeout(STARTING):
            good = [await stack.enter_async_context(Client(address)) for _ in range(number)]
            for _ in range(2 * HARD):  # most are refused, and some of these stay until they have read why
                await stack.enter_async_context(Client(address))
            for client in good:
                await client.send(GET)
            assert [(await client.response()).status for client in good] == [200] * number


@pytest.mark.parametrize("sent", [b"", b"\x16"], ids=["nothing", "a handshake begun"])
async def test_unfinished_handshakes_leave_descriptors_to_the_admin_listener_and_other_clients(
    upstream: Upstream, tmp_path: Path, sent: bytes
) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("gateway.example")
    tls = {"GATEWAY_TLS_CERT_FILE": str(pair.certificate), "GATEWAY_TLS_KEY_FILE": str(pair.key)}
    async with AsyncExitStack() as stack:
        _, address, admin, log = await stack.enter_async_context(serving_with_few(upstream, tmp_path, **tls))
        async with asyncio.timeout(STARTING):
            for _ in range(2):
                for _ in range(HARD):
                    silent = await stack.enter_async_context(Client(address))
                    await silent.send(sent)
                for path in ("/livez", "/metrics"):
                    assert (await ask_admin(admin, path))[0] == 200
                async with Client(address, authority.client()) as client:
                    assert (await client.exchange(GET)).status == 200
            _, page = await ask_admin(admin, "/metrics")
        under_way = float(page.partition("\ngateway_tls_handshakes_under_way ")[2].split()[0])
        assert 0 < 2 * under_way < HARD / 8
        assert b"never retrieved" not in log.read_bytes()
        assert b"Too many open files" not in log.read_bytes()
