"""Dialled loop: the running event loop as the driver sees it, with TCP connections that are opened by a dialler.

asyncpg resolves host names by ``loop.create_connection``, in the threads of the event loop; a name server that does not
answer would hold them for everybody. It takes the loop to use as an argument, so it is given one that differs in this
method alone. The name stays the one that a certificate is verified for.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Collection


class Dial(Protocol):
    """Opener of TCP connections."""

    def __call__(self, host: str, port: int, but: Collection[str] = ()) -> Awaitable[socket.socket]:
        """Return a socket that is connected to an address of `host` that is none of `but`; raise ``OSError`` else."""


class DialledLoop:
    """Event loop that connects by a dialler; everything else is the running loop's.

    Attributes:
        peer: The address that it has connected to last; None before.
    """

    def __init__(self, dial: Dial, but: Collection[str] = ()) -> None:
        """Connect to no address in `but`."""
        self._loop = asyncio.get_running_loop()
        self._dial = dial
        self._but = but
        self.peer: str | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def create_connection(
        self,
        protocol: Callable[[], asyncio.BaseProtocol],
        host: str | None = None,
        port: int = 0,
        **options: Any,
    ) -> tuple[asyncio.BaseTransport, asyncio.BaseProtocol]:
        """As ``loop.create_connection``."""
        if host is None:
            return await self._loop.create_connection(protocol, **options)
        connected = await self._dial(host, port, self._but)
        try:
            self.peer = str(connected.getpeername()[0])
            if options.get("ssl"):
                options.setdefault("server_hostname", host.removesuffix("."))
            return await self._loop.create_connection(protocol, sock=connected, **options)
        except BaseException:
            connected.close()
            raise
