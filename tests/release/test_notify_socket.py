"""systemd's notifications, as its socket receives them from a gateway that runs as a process."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from config.notification import Notification, wished_notification
from gateway.notify_socket import NotifySocket
from tests.support.processes import PROCESS_SECONDS, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.peers import Upstream

LONG = 60


@contextmanager
def manager(folder: Path) -> Iterator[tuple[str, socket.socket]]:
    path = str(folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(path)
        listening.setblocking(False)
        yield path, listening


async def heard(listening: socket.socket) -> bytes:
    async with asyncio.timeout(LONG):
        return await asyncio.get_running_loop().sock_recv(listening, 1000)


async def heard_beside_signs_of_life(listening: socket.socket) -> bytes:
    async with asyncio.timeout(LONG):
        while (message := await heard(listening)) == b"WATCHDOG=1":
            pass
    return message


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_gateway_reports_when_it_serves_and_when_it_stops(
    upstream: Upstream, tmp_path: Path, workers: str
) -> None:
    with manager(tmp_path) as (path, listening):
        arguments = ("--workers", workers)
        async with serving(upstream, *arguments, NOTIFY_SOCKET=path) as (process, address, _):
            assert await heard(listening) == b"READY=1"
            _, writer = await asyncio.open_connection(*address)
            writer.close()
            process.send_signal(signal.SIGTERM)
            assert await heard(listening) == b"STOPPING=1"
            assert await asyncio.wait_for(process.wait(), PROCESS_SECONDS * 2) == 0
        with pytest.raises(BlockingIOError):
            listening.recv(1000)  # workers say nothing of their own


async def test_signs_of_life_are_sent_where_they_are_expected(upstream: Upstream, tmp_path: Path) -> None:
    with manager(tmp_path) as (path, listening):
        async with serving(upstream, NOTIFY_SOCKET=path, WATCHDOG_USEC="200000") as (process, _, _):
            assert await heard(listening) == b"READY=1"
            assert [await heard(listening) for _ in range(3)] == [b"WATCHDOG=1"] * 3
            process.send_signal(signal.SIGTERM)
            assert await heard_beside_signs_of_life(listening) == b"STOPPING=1"
            await asyncio.wait_for(process.wait(), PROCESS_SECONDS * 2)


def test_an_abstract_address_is_heard_too() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("")  # the kernel chooses an abstract address
        listening.settimeout(LONG)
        name = listening.getsockname().decode().replace("\0", "@")
        NotifySocket(wished_notification({"NOTIFY_SOCKET": name})).ready()
        assert listening.recv(1000) == b"READY=1"


def test_a_socket_that_nobody_listens_on_is_passed_over(tmp_path: Path) -> None:
    NotifySocket(wished_notification({"NOTIFY_SOCKET": str(tmp_path / "nowhere")})).ready()
    NotifySocket(wished_notification({"WATCHDOG_USEC": "1000"})).ready()


@pytest.mark.parametrize(
    ("pid", "micro", "seconds"),
    [
        (None, "30000000", 30.0),
        pytest.param(str(os.getpid()), "500000", 0.5, id="own"),
        ("1", "30000000", None),
        (None, "x", None),
        (None, "0", None),
        (None, "", None),
    ],
)
def test_signs_of_life_are_wished_of_the_named_process_alone(
    pid: str | None, micro: str, seconds: float | None
) -> None:
    environment = {"NOTIFY_SOCKET": "@a", "WATCHDOG_USEC": micro}
    environment |= {} if pid is None else {"WATCHDOG_PID": pid}
    assert wished_notification(environment) == Notification("\0a", seconds)
