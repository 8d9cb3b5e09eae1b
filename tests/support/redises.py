"""Redis servers of a test's own, on a port of the loopback: alone, as a cluster of one, behind a sentinel."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.ports import free_port
from tests.support.programs import program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class RedisServer:
    """A Redis server, to be killed, paused and begun again on its port."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.port = free_port()
        self._command = [
            *(program("redis-server"), "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""),
            *("--appendonly", "no", "--dir", str(folder), *arguments),
        ]
        self.client: Any = _client(self.port)
        self._process: subprocess.Popen[bytes] | None = None
        self.begin()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def begin(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        try:
            _await(self._process, self.client)
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)

    def pause(self) -> None:
        """Let it accept and answer nothing."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def end(self) -> None:
        self.client.close()
        self.kill()


def _client(port: int) -> Any:
    return redis.Redis(port=port, decode_responses=True, socket_timeout=5, retry=Retry(NoBackoff(), 0))


def _await(process: subprocess.Popen[bytes], client: Any) -> None:
    """Wait until a server answers."""
    until = time.monotonic() + 30
    while time.monotonic() < until and process.poll() is None:
        try:
            client.ping()
        except redis.RedisError:
            time.sleep(0.01)
        else:
            return
    pytest.fail("redis-server does not answer")


@contextmanager
def redis_server(folder: Path, *arguments: str) -> Iterator[RedisServer]:
    """Run a server until the end of the block."""
    server = RedisServer(folder, *arguments)
    try:
        yield server
    finally:
        server.end()


@contextmanager
def redis_cluster(folder: Path) -> Iterator[RedisServer]:
    """Run a cluster of one server, which has every slot."""
    bus = ("--cluster-port", str(free_port()))
    announced = ("--cluster-announce-ip", "127.0.0.1")
    with redis_server(folder, "--cluster-enabled", "yes", *bus, *announced) as server:
        server.client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16_383)
        for _ in range(1000):
            if "cluster_state:ok" in str(server.client.execute_command("CLUSTER", "INFO")):
                break
            time.sleep(0.01)
        yield server


@contextmanager
def redis_cluster_with_replica(folder: Path) -> Iterator[tuple[RedisServer, RedisServer]]:
    """Run a cluster of a master, which has every slot, and its replica."""
    beside = folder / "replica"
    beside.mkdir()
    bus = ("--cluster-port", str(free_port()))
    announced = ("--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1")
    with redis_cluster(folder) as master, redis_server(beside, *announced, *bus) as replica:
        replica.client.execute_command(
            *("CLUSTER", "MEET", "127.0.0.1", master.port),
            master.client.config_get("cluster-port")["cluster-port"],
        )
        name = master.client.execute_command("CLUSTER", "MYID")
        for _ in range(1000):
            if name in replica.client.execute_command("CLUSTER", "NODES"):
                break
            time.sleep(0.01)
        replica.client.execute_command("CLUSTER", "REPLICATE", name)
        for _ in range(1000):
            master.client.incr("written")  # a replica that has copied nothing is not listed
            if str(replica.port) in str(master.client.execute_command("CLUSTER", "SLOTS")):
                break
            time.sleep(0.01)
        else:
            pytest.fail("the cluster lists no replica")
        yield master, replica


@contextmanager
def redis_sentinel(folder: Path, server: RedisServer) -> Iterator[int]:
    """Run a sentinel that knows `server` by the name ``limits``; yields its port."""
    port = free_port()
    file = folder / "sentinel.conf"
    file.write_text(f"port {port}\nbind 127.0.0.1\nsentinel monitor limits 127.0.0.1 {server.port} 1\n")
    process = subprocess.Popen(
        [program("redis-server"), str(file), "--sentinel"], stdout=subprocess.DEVNULL, cwd=folder
    )
    client = _client(port)
    try:
        _await(process, client)
        yield port
    finally:
        client.close()
        process.kill()
        process.wait(10)
