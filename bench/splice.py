"""Bare byte splice on uvloop: the cost of forwarding in Python without looking at the bytes, which is the limit.

Usage: ``python -m bench.splice PORT UPSTREAM_PORT``.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop


class Near(asyncio.Protocol):
    """Client's side: all its bytes go to an upstream connection of its own."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._far: asyncio.Transport | None = None
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Dial the upstream."""
        self.transport = cast("asyncio.Transport", transport)
        loop = asyncio.get_running_loop()
        self._dialling = loop.create_task(
            loop.create_connection(lambda: Far(self), "127.0.0.1", self._upstream)
        )

    def dialled(self, far: asyncio.Transport) -> None:
        """Write the bytes that arrived while the upstream was dialled."""
        self._far = far
        far.writelines(self._early)

    def data_received(self, data: bytes) -> None:
        """Write received bytes to the upstream."""
        if self._far is None:
            self._early.append(data)
        else:
            self._far.write(data)

    def pause_writing(self) -> None:
        """Pause the upstream."""
        if self._far is not None:
            self._far.pause_reading()

    def resume_writing(self) -> None:
        """Resume the upstream."""
        if self._far is not None:
            self._far.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's signature
        """Close the other side."""
        if self._far is not None:
            self._far.close()


class Far(asyncio.Protocol):
    """Upstream's side."""

    def __init__(self, near: Near) -> None:
        self._near = near

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Join the two sides."""
        self._near.dialled(cast("asyncio.Transport", transport))

    def data_received(self, data: bytes) -> None:
        """Write received bytes to the client."""
        self._near.transport.write(data)

    def pause_writing(self) -> None:
        """Pause the client."""
        self._near.transport.pause_reading()

    def resume_writing(self) -> None:
        """Resume the client."""
        self._near.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's signature
        """Close the other side."""
        self._near.transport.close()


async def main(port: int, upstream: int) -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(
        lambda: Near(upstream), "127.0.0.1", port, backlog=2048
    )
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(int(sys.argv[1]), int(sys.argv[2])))
