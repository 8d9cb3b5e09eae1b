"""Connections of the Redis client: over a socket that is dialled elsewhere, and opened once more where one was closed.

The library resolves a host name in threads that the whole process shares. Law: with TLS the certificate is verified for
the name all the same.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from authcore.pause_aware import PauseAwareTimeout

if TYPE_CHECKING:
    import socket

    from redis.asyncio import Redis
    from redis.asyncio.connection import Connection

    from authcore.store.dialled_loop import Dial


def over_dial(kind: type[Connection], dial: Dial) -> type[Connection]:
    """Return a class of connections like `kind`, whose sockets come from `dial`: it is called with host and port."""

    class Dialled(kind):  # type: ignore[misc, valid-type]  # a base class that is an argument
        _dialled: socket.socket

        async def _connect(self) -> None:
            async with PauseAwareTimeout(self.socket_connect_timeout):
                self._dialled = await dial(self.host, self.port)
            try:
                await super()._connect()
            except BaseException:
                self._dialled.close()
                raise

        def _connection_arguments(self) -> dict[str, Any]:
            arguments = dict(super()._connection_arguments())
            host = arguments.pop("host")
            del arguments["port"]
            named = {"server_hostname": host.removesuffix(".")} if "ssl" in arguments else {}
            return {**arguments, **named, "sock": self._dialled}

    return Dialled


def once() -> Retry:
    """Return the rule by which a connection that the server has closed, as idle or to restart, is opened once more.

    The library's own pauses between two tries are longer than a call may take: it would never come to the second one.
    """
    return Retry(NoBackoff(), 1)


async def disconnect(client: Redis) -> None:
    """Close the connections of a client that nobody uses; the library keeps one whose server has refused a command."""
    with suppress(Exception):
        await client.connection_pool.disconnect(inuse_connections=False)
