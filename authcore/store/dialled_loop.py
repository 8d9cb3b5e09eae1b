"""Dialled loop: the running event loop as the driver sees it, with TCP connections that are opened by a dialler.

asyncpg resolves host names by ``loop.create_connection``, in the threads of the event loop; a name server that does not
answer would hold them for everybody. It takes the loop to use as an argument, so it is given one that differs in this
method alone. The name stays the one that a certificate is verified for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket

Dial = Callable[[str, int], "Awaitable[socket.socket]"]
"""Returns a connected socket for a host and a port; raises ``OSError``."""


class _DialledLoop:
    """Event loop that connects by a dialler; everything else is the running loop's."""

    def __init__(self, loop: asyncio.AbstractEventLoop, dial: Dial) -> None:
        self._loop = loop
        self._dial = dial

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
        connected = await self._dial(host, port)
        if options.get("ssl"):
            options.setdefault("server_hostname", host)
        try:
            return await self._loop.create_connection(protocol, sock=connected, **options)
        except BaseException:
            connected.close()
            raise


def dialled_loop(dial: Dial) -> Any:
    """Return the running event loop, with TCP connections opened by `dial`."""
    return _DialledLoop(asyncio.get_running_loop(), dial)
