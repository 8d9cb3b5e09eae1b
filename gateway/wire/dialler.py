"""Dialler: it opens TCP connections to several addresses in a staggered race (RFC 8305), and TLS over the winner.

Laws:

- The addresses are tried in the order given. The next one begins when the one before has failed, or has been silent for
  ``RACE_SECONDS``; the first that accepts wins, and the others are given up.
- Each attempt is noted with the time of its beginning, so that a caller can tell the silent from the untried.
"""

from __future__ import annotations

import asyncio
import socket
from errno import EADDRNOTAVAIL
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from aiohappyeyeballs import start_connection

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Collection, Sequence
    from typing import TypeVar

    from gateway.wire.resolver import Resolver

    Made = TypeVar("Made")

RACE_SECONDS: Final = 0.25
"""The delay that RFC 8305 section 5 recommends between two attempts."""

SocketAddress = tuple[str, int] | tuple[str, int, int, int] | str
Destination = tuple[int, int, int, str, SocketAddress]
"""An address as ``socket.getaddrinfo`` returns it: family, type, protocol, canonical name, socket address."""


class Attempt(NamedTuple):
    """Attempt to connect.

    Attributes:
        destination: The address.
        socket: The socket that connects.
        begun: Time of its beginning in seconds of the loop's clock.
    """

    destination: Destination
    socket: socket.socket
    begun: float


def destination(address: str, port: int) -> Destination:
    """Return an IP address and a port, or the absolute path of a Unix socket, in the form that sockets take."""
    if address.startswith("/"):
        return socket.AF_UNIX, socket.SOCK_STREAM, 0, "", address
    if ip_address(address).version == 4:  # noqa: PLR2004 -- IPv4
        return socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port)
    return socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port, 0, 0)


async def race(destinations: Sequence[Destination], attempts: list[Attempt]) -> socket.socket:
    """Return a socket connected to the first of `destinations` that accepts, and add each attempt to `attempts`.

    Raises:
        OSError: none of them accepts.
    """
    loop = asyncio.get_running_loop()

    def begin(destination: Destination) -> socket.socket:
        made = socket.socket(destination[0], destination[1], destination[2])
        if destination[0] != socket.AF_UNIX:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        attempts.append(Attempt(destination, made, loop.time()))
        return made

    try:
        return await start_connection(
            # It knows of TCP alone, and passes the address of a Unix socket on.
            cast("Sequence[Any]", destinations),
            happy_eyeballs_delay=RACE_SECONDS,
            interleave=0,
            socket_factory=begin,
        )
    except RuntimeError as error:  # uvloop raises it for a socket that it cannot use
        raise OSError(str(error)) from error
    except OSError as error:
        # A frame of the library refers to the error, whose traceback refers to the frame: a cycle, with all attempts.
        raise error.with_traceback(None) from None


async def over(
    connected: socket.socket,
    protocol: Callable[[], Made],
    *,
    context: ssl.SSLContext | None = None,
    server_hostname: str | None = None,
    end_seconds: float | None = None,
) -> tuple[asyncio.Transport, Made]:
    """Return a transport over a connected socket; with `context` it speaks TLS to `server_hostname`.

    The end of TLS may take `end_seconds`, the write of what is buffered included; None for the event loop's default.

    Raises:
        OSError: the handshake failed.
    """
    loop, make = asyncio.get_running_loop(), cast("Callable[[], Any]", protocol)
    try:
        if connected.family == socket.AF_UNIX:
            return await loop.create_unix_connection(make, sock=connected)
        return await loop.create_connection(
            make,
            sock=connected,
            ssl=context,
            server_hostname=server_hostname if context else None,
            ssl_shutdown_timeout=end_seconds if context else None,
        )
    except BaseException:
        connected.close()
        raise


async def connect(resolver: Resolver, host: str, port: int, but: Collection[str] = ()) -> socket.socket:
    """Return a socket that is connected to the first address of `host` that accepts and is none of `but`.

    Raises:
        OSError: the name has no such address, or none of them accepts.
    """
    addresses = [address for address in await resolver.resolve(host) if address not in but]
    if not addresses:
        raise OSError(EADDRNOTAVAIL, f"{host} has no other address")
    return await race([destination(address, port) for address in addresses], [])
