"""Connections of the Redis client: how they are dialled and opened again, and by which user they log in.

The library resolves a host name in threads that the whole process shares, so a socket may be dialled elsewhere.

Laws:

- With TLS the certificate is verified for the name all the same.
- Each connection logs in by what the URL says then: a password may change while the program runs.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider

from authcore.pause_aware import PauseAwareTimeout

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

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


class UrlLogin(CredentialProvider):
    """User and password of a URL that is read anew for each connection."""

    def __init__(self, url: Callable[[], str]) -> None:
        """`url` returns the present URL."""
        self._url = url

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Return user and password, or the password alone where the URL has no user."""
        user, _, password = urlsplit(self._url()).netloc.rpartition("@")[0].partition(":")
        return (unquote(user), unquote(password)) if user else (unquote(password),)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        """As :meth:`get_credentials`; the library's own logs a warning for each connection."""
        return self.get_credentials()


def without_login(url: str, present: Callable[[], str] | None) -> tuple[str, dict[str, Any]]:
    """Return a URL without its user and password, and the options by which connections log in.

    `present` returns the URL as it is then; None if it does not change.
    """
    parts = urlsplit(url)
    login, _, host = parts.netloc.rpartition("@")
    options = {"credential_provider": UrlLogin(present or (lambda: url))} if login else {}
    return urlunsplit(parts._replace(netloc=host)), options


def once() -> Retry:
    """Return the rule by which a connection that the server has closed, as idle or to restart, is opened once more.

    The library's own pauses between two tries are longer than a call may take: it would never come to the second one.
    """
    return Retry(NoBackoff(), 1)


async def disconnect(client: Redis) -> None:
    """Close the connections of a client that nobody uses; the library keeps one whose server has refused a command."""
    with suppress(Exception):
        await client.connection_pool.disconnect(inuse_connections=False)
