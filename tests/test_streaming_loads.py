"""The loads of what stays open: the echo speaks WebSocket, and a stream counts an event when it is whole."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from bench.constant_rate import request_bytes
from bench.event_streams import event
from bench.machine import free_port
from bench.socket_echo import Echoed, accepting, echo, frame, load, opening

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 15.0


@contextmanager
def serving(module: str) -> Iterator[int]:
    """Run the upstream of a module, and yield its port."""
    port = free_port()
    with subprocess.Popen([sys.executable, "-m", module, "serve", str(port)]) as process:
        try:
            deadline = time.monotonic() + SECONDS
            while time.monotonic() < deadline:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.02)
            yield port
        finally:
            process.kill()
            process.wait(timeout=SECONDS)


def test_frames_come_back_unmasked_and_an_unfinished_one_waits() -> None:
    first, second = frame(b"one", b"\x01\x02\x03\x04"), frame(b"", b"\xff\x00\xff\x00")
    assert echo(first + second) == (b"\x82\x03one\x82\x00", b"")
    for cut in range(1, len(first)):
        assert echo(second + first[:cut]) == (b"\x82\x00", first[:cut])


def test_a_handshake_without_a_key_is_refused() -> None:
    with pytest.raises(ValueError, match="no Sec-WebSocket-Key"):
        accepting(b"GET / HTTP/1.1\r\n\r\n")


async def test_another_client_is_sent_its_messages_back() -> None:
    with serving("bench.socket_echo") as port:
        timeout = aiohttp.ClientTimeout(total=SECONDS)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.ws_connect(f"http://127.0.0.1:{port}/") as line,
        ):
            for message in (b"one", b"", b"x" * 125, b"one"):
                await line.send_bytes(message)
                assert await line.receive_bytes(timeout=SECONDS) == message


def test_the_load_counts_what_comes_back_and_no_other() -> None:
    with serving("bench.socket_echo") as port:
        found = load(port, 0.2, connections=3, size=32, request=opening("/", {}))
    assert isinstance(found, Echoed)
    assert found.errors == 0
    assert found.messages >= 3
    assert 0 < found.p50 <= found.p99


def test_a_socket_that_is_refused_fails_the_load() -> None:
    with serving("bench.event_streams") as port, pytest.raises(ConnectionError, match="not opened"):
        load(port, 0.2, connections=1, size=32, request=opening("/", {}))


def streams(port: int, upstream: int, clients: int, events: int) -> dict[str, Any]:
    arguments = [str(one) for one in (port, upstream, clients, events)]
    request = json.dumps(request_bytes("/", {}).decode())
    done = subprocess.run(
        [sys.executable, "-m", "bench.event_streams", "load", *arguments],
        input=f"{request}\n\n",
        capture_output=True,
        check=True,
        text=True,
        timeout=2 * SECONDS,
    )
    first, found = done.stdout.splitlines()
    assert first == "open"
    return dict(json.loads(found))


def test_each_event_reaches_every_stream_once() -> None:
    with serving("bench.event_streams") as port:
        found = streams(port, port, clients=20, events=3)
    assert (found["events"], found["lost"]) == (60, 0)
    assert len(found["last"]) == 3
    assert all(one > 0 for one in found["last"])


def test_an_event_is_one_chunk() -> None:
    size, _, rest = event(12.5).partition(b"\r\n")
    assert rest[int(size, 16) :] == b"\r\n"
    assert rest.startswith(b"data: 12.500000 {")
    assert rest[: int(size, 16)].endswith(b"}\n\n")
