"""Public listening sockets: they are bound, or inherited from the parent of workers, and served by one listener."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from gateway.addresses import CannotListen, UnixFile, bind, remove_unix, unix_path
from gateway.wire.proxy_protocol import UNIX

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from gateway.wire.listener import Listener
    from gateway.wire.tls_acceptor import TlsAcceptor

BACKLOG: Final = 2048
INHERITED: Final = "fd:"
"""Begins a listen address that is the number of an inherited descriptor. No setting can have it."""
REDIRECT: Final = "GATEWAY_TLS_REDIRECT_LISTEN"

Names = tuple[str, int] | list[tuple[str, int] | str]


@dataclass(slots=True)
class Listening:
    """Listening sockets of one setting, with their servers.

    Attributes:
        tls: Makes the acceptor of TCP sockets that speak TLS; None if they do not.
        setting: The setting that names the addresses, for errors.
        servers: The servers of all sockets.
        addresses: Host and port of each TCP socket.
    """

    tls: Callable[[Listener, list[socket.socket]], TlsAcceptor] | None = None
    setting: str = "GATEWAY_LISTEN"
    servers: list[asyncio.Server | TlsAcceptor] = field(default_factory=list)
    addresses: list[tuple[str, int]] = field(default_factory=list)
    _files: list[tuple[Path, int]] = field(default_factory=list)

    async def open(self, listens: Sequence[str], listener: Listener, unix: UnixFile, *, shared: bool) -> None:
        """Listen on every address of GATEWAY_LISTEN; `shared`: other workers listen on the same ports.

        Raises:
            CannotListen: the system refuses an address; those before it are closed by :meth:`close`.
        """
        loop = asyncio.get_running_loop()
        secured: list[socket.socket] = []
        for one in self.bind(listens, unix, shared=shared):
            if self.tls is not None and one.family != socket.AF_UNIX:
                one.listen(BACKLOG)
                secured.append(one)
            elif one.family == socket.AF_UNIX:
                factory = partial(listener.protocol, UNIX)
                self.servers.append(await loop.create_unix_server(factory, sock=one, backlog=BACKLOG))
            else:
                self.servers.append(await loop.create_server(listener.protocol, sock=one, backlog=BACKLOG))
        if self.tls is not None and secured:
            self.servers.append(self.tls(listener, secured))

    async def redirect(
        self, listens: Sequence[str], listener: Listener, unix: UnixFile, *, shared: bool
    ) -> tuple[str, int]:
        """Listen at GATEWAY_TLS_REDIRECT_LISTEN too, for a listener of its own; return the first address.

        Args:
            listens: The setting, or the addresses that the parent of workers has bound for it.
            listener: Serves its connections.
            unix: As for :meth:`open`.
            shared: As for :meth:`open`.

        Raises:
            CannotListen: the system refuses the address.
        """
        plain = Listening(setting=REDIRECT)
        await plain.open(listens, listener, unix, shared=shared)
        self.servers += plain.servers
        return plain.addresses[0]

    def bind(self, listens: Sequence[str], unix: UnixFile, *, shared: bool) -> list[socket.socket]:
        """Return the bound sockets of all addresses, as for :meth:`open`.

        Raises:
            CannotListen: the system refuses an address; those before it are closed.
        """
        bound: list[socket.socket] = []
        try:
            for listen in listens:
                bound += self._bind(listen, unix, shared=shared)
        except CannotListen:
            for one in bound:
                one.close()
            raise
        self.addresses += [
            (str(host), int(port))
            for one in bound
            if one.family != socket.AF_UNIX
            for host, port in [one.getsockname()[:2]]
        ]
        return bound

    @property
    def names(self) -> Names:
        """Return what the log names: host and port of the only listener; else a list, Unix sockets by their paths."""
        paths = [f"unix:{path}" for path, _ in self._files]
        return (
            self.addresses[0]
            if self.addresses and not (paths or self.addresses[1:])
            else [*self.addresses, *paths]
        )

    def _bind(self, listen: str, unix: UnixFile, *, shared: bool) -> list[socket.socket]:
        if listen.startswith(INHERITED):
            return [socket.socket(fileno=int(listen.removeprefix(INHERITED)))]
        bound = bind(self.setting, listen, unix, shared=shared)
        path = unix_path(listen)
        if path is not None:
            self._files.append((path, path.lstat().st_ino))
        return bound

    def close(self) -> None:
        """Stop accepting, and remove the files of Unix sockets."""
        for server in self.servers:
            server.close()
        for path, inode in self._files:
            remove_unix(path, inode)
        self._files.clear()
