"""Listeners: several addresses, both IP families, and Unix sockets."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
from typing import TYPE_CHECKING

import pytest

from gateway.addresses import CannotListen, UnixFile, bind
from tests.support.calls import get
from tests.support.peers import PATIENCE, Client, UnixClient
from tests.support.ports import free_port
from tests.support.processes import serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.peers import Upstream
    from tests.support.worlds import Start

GET = get("/health")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A path short enough for a socket."""
    return tmp_path / "g.sock"


async def test_each_address_of_the_list_is_served(start: Start, path: Path) -> None:
    port = free_port()
    gate = await start(listen=("127.0.0.1:0", f"127.0.0.1:{port}", f"unix:{path}"))
    for client in (Client(gate.address), Client(("127.0.0.1", port)), UnixClient(path)):
        async with client:
            assert (await client.exchange(GET)).status == 200


async def test_an_empty_host_is_every_address_of_ipv4_and_ipv6(start: Start) -> None:
    gate = await start(listen=":0")
    port = gate.address[1]
    for address in (("127.0.0.1", port), ("::1", port)):
        async with Client(address) as client:
            assert (await client.exchange(GET)).status == 200


async def test_an_empty_host_is_the_same_with_workers(upstream: Upstream) -> None:
    port = free_port()
    async with serving(upstream, "--workers", "2", GATEWAY_LISTEN=f":{port}"):
        for address in (("127.0.0.1", port), ("::1", port)):
            async with Client(address) as client:
                assert (await client.exchange(GET)).status == 200


async def test_a_unix_socket_has_the_mode_and_the_group_of_the_settings(start: Start, path: Path) -> None:
    await start(listen=f"unix:{path}", unix={"mode": "0640", "owner": f":{os.getgid()}"})
    found = path.stat()
    assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o640, os.getgid())
    assert stat.S_ISSOCK(found.st_mode)


async def test_a_client_by_a_unix_socket_has_no_address_and_is_not_believed(
    start: Start, upstream: Upstream, path: Path
) -> None:
    await start(listen=f"unix:{path}", trusted_proxies="0.0.0.0/0,::/0")
    async with UnixClient(path) as client:
        assert (await client.exchange(get("/health", "X-Forwarded-For: 203.0.113.9"))).status == 200
    seen = upstream.requests[-1]
    assert (seen.all("X-Forwarded-For"), seen.all("X-Real-IP")) == ([], [])


async def test_a_forwarded_address_by_unix_socket_is_believed_if_that_is_set(
    start: Start, upstream: Upstream, path: Path
) -> None:
    await start(listen=f"unix:{path}", unix={"trusted": True})
    async with UnixClient(path) as client:
        raw = get("/health", "X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https")
        assert (await client.exchange(raw)).status == 200
        seen = upstream.requests[-1]
        assert (seen.one("X-Forwarded-For"), seen.one("X-Real-IP"), seen.one("X-Forwarded-Proto")) == (
            *("203.0.113.9", "203.0.113.9"),
            "https",
        )
        assert (await client.exchange(GET)).status == 200
    assert upstream.requests[-1].all("X-Real-IP") == []


async def test_the_file_of_a_unix_socket_goes_with_the_gateway(start: Start, path: Path) -> None:
    gate = await start(listen=f"unix:{path}", timeout={"drain_seconds": 0.1})
    assert path.exists()
    await gate.stop()
    assert not path.exists()


async def test_the_socket_that_a_killed_gateway_left_is_replaced(start: Start, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    await start(listen=f"unix:{path}")
    async with UnixClient(path) as client:
        assert (await client.exchange(GET)).status == 200


def test_a_path_that_another_process_listens_on_is_refused(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(CannotListen, match="another process listens on it"):
            bind("GATEWAY_LISTEN", f"unix:{path}", UnixFile())
    assert path.exists()


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        (UnixFile(owner="nobody-of-that-name"), "GATEWAY_UNIX_OWNER"),
        (UnixFile(owner=":nowhere-g"), "nowhere-g"),
    ],
)
def test_an_owner_that_is_unknown_is_named(path: Path, attributes: UnixFile, says: str) -> None:
    with pytest.raises(CannotListen, match=says):
        bind("GATEWAY_LISTEN", f"unix:{path}", attributes)


def test_a_file_that_is_no_socket_is_never_replaced(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(CannotListen, match="no socket"):
        bind("GATEWAY_LISTEN", f"unix:{path}", UnixFile())
    assert path.read_text() == "precious"


def test_a_folder_that_is_not_there_is_told_with_advice(tmp_path: Path) -> None:
    with pytest.raises(CannotListen, match="its folder should exist"):
        bind("GATEWAY_LISTEN", f"unix:{tmp_path}/none/g.sock", UnixFile())


def test_a_port_that_is_taken_on_one_family_is_taken() -> None:
    with socket.socket(socket.AF_INET6) as other:
        other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        other.bind(("::", 0))
        other.listen()
        with pytest.raises(CannotListen, match="Address already in use"):
            bind("GATEWAY_LISTEN", f":{other.getsockname()[1]}", UnixFile())


async def test_workers_share_a_unix_socket_and_its_file_goes_with_the_parent(
    upstream: Upstream, path: Path
) -> None:
    listen = f"unix:{path},127.0.0.1:{free_port()}"
    async with serving(upstream, "--workers", "2", GATEWAY_LISTEN=listen) as (process, _, _):
        for _ in range(20):
            async with UnixClient(path) as client:
                assert (await client.exchange(GET)).status == 200
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), PATIENCE) == 0
    assert not path.exists()
