"""Upstream nodes for ``bench.traffic``: ``python -m bench.nodes PORT...`` serves each port until its input ends.

A line of standard input names what a node does from now on, and is answered by ``ok``: ``answer N``, ``hang N`` (it
accepts and reads, and answers nothing), ``stop N`` (it refuses, and its connections are reset), for the node number N.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import Final, cast

import uvloop

ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"


class Node:
    """One upstream node."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: asyncio.Server | None = None
        self.open: set[asyncio.Transport] = set()
        self.hangs = False

    async def do(self, word: str) -> None:
        """Do as `word` says from now on."""
        self.hangs = word == "hang"
        if word == "stop":
            server, self._server = self._server, None
            if server is not None:
                server.close()
            for transport in list(self.open):
                transport.abort()
        elif self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(
                lambda: Connection(self), "127.0.0.1", self._port, backlog=1024
            )


class Connection(asyncio.Protocol):
    """Connection of a node; requests have no body, and a read ends with one."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._node.open.add(self._transport)

    def data_received(self, data: bytes) -> None:
        """Answer each request."""
        if not self._node.hangs:
            self._transport.write(ANSWER * data.count(b"\r\n\r\n"))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's signature
        """End."""
        self._node.open.discard(self._transport)


async def serve(ports: list[int]) -> None:
    """Serve until standard input ends."""
    nodes = [Node(port) for port in ports]
    for node in nodes:
        await node.do("answer")
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        word, _, number = line.partition(" ")
        await nodes[int(number)].do(word)
        sys.stdout.write("ok\n")
        sys.stdout.flush()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        uvloop.run(serve([int(port) for port in sys.argv[1:]]))
