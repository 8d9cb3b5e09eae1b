"""Listen addresses: their parser, their sockets, and the error with advice for one that cannot be listened on."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Final

_UNIX: Final = "unix:"
_TRIES: Final = 16
"""How often a port is chosen that is free for IPv4 and IPv6 alike."""


class CannotListen(Exception):
    """A configured listen address that the system refuses."""

    def __init__(self, setting: str, address: str, error: OSError) -> None:
        """`setting` names the address; the message has the system's error and says what to do."""
        if error.errno == errno.EADDRINUSE:
            advice = (
                f"stop the program that has it (`ss -ltnp` names it), or set {setting} to another address"
            )
        elif address.startswith(_UNIX):
            advice = "its folder should exist, and this user should be able to write there"
        elif error.errno == errno.EACCES:
            advice = f"ports below 1024 are root's: set {setting} to one above"
        else:
            advice = f"set {setting} to an address of this machine, such as 127.0.0.1:8080 or 0.0.0.0:8080"
        super().__init__(f"{setting}={address}: {error.strerror or error}; {advice}")


@dataclass(frozen=True, slots=True)
class UnixFile:
    """Attributes of a Unix socket's file.

    Attributes:
        mode: Its mode, in octal digits.
        owner: ``user:group``, by name or number; a part that is missing stays as it is.
    """

    mode: str = "0660"
    owner: str = ""


def host_port(listen: str) -> tuple[str | None, int]:
    """Parse ``host:port``; an empty host is None, which means every address."""
    host, _, port = listen.rpartition(":")
    return host.strip("[]") or None, int(port)


def reachable(host: str) -> str:
    """Return the host at which this machine reaches a listener on `host`: the loopback if that is every address."""
    if not host:
        return "127.0.0.1"
    try:
        address = ip_address(host)
    except ValueError:  # a name
        return host
    if not address.is_unspecified:
        return host
    return "::1" if isinstance(address, IPv6Address) else "127.0.0.1"


def url_of(address: tuple[str, int]) -> str:
    """Return the URL at which this machine reaches a listener without TLS, by the host and port of its socket."""
    host = reachable(address[0])
    return f"http://[{host}]:{address[1]}" if ":" in host else f"http://{host}:{address[1]}"


def unix_path(listen: str) -> Path | None:
    """Return the path of ``unix:/path``; None for any other listen address."""
    return Path(listen.removeprefix(_UNIX)) if listen.startswith(_UNIX) else None


def bind(setting: str, listen: str, unix: UnixFile, *, shared: bool = False) -> list[socket.socket]:
    """Return the bound sockets of one listen address: several if its host is empty, or a name of several addresses.

    Args:
        setting: The setting that names the address, for the error.
        listen: ``host:port`` or ``unix:/path``.
        unix: The attributes of the file, if it is a Unix socket.
        shared: Other processes listen on the same port (SO_REUSEPORT).

    Raises:
        CannotListen: the system refuses the address.
    """
    try:
        path = unix_path(listen)
        if path is not None:
            return [_bind_unix(path, unix)]
        host, port = host_port(listen)
        for left in reversed(range(_TRIES)):
            try:
                return _bind_all(host, port, shared=shared)
            except OSError as error:  # the port that the system chose for IPv4 may be taken on IPv6
                if port or error.errno != errno.EADDRINUSE or not left:
                    raise
    except OSError as error:
        raise CannotListen(setting, listen, error) from error
    raise AssertionError


def _bind_all(host: str | None, port: int, *, shared: bool) -> list[socket.socket]:
    if host is None:
        targets = [(socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")]  # noqa: S104 -- an empty host asks for it
    else:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        targets = list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))
    bound: list[socket.socket] = []
    try:
        for family, address in targets:
            try:
                bound.append(_bind_one(family, address, port, shared=shared))
            except OSError as error:
                # A machine without IPv6 still serves on IPv4.
                if not (bound and error.errno in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}):
                    raise
            port = bound[0].getsockname()[1]
    except OSError:
        for one in bound:
            one.close()
        raise
    return bound


def _bind_one(family: int, address: str, port: int, *, shared: bool) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind((address, port))
    except OSError:
        one.close()
        raise
    one.setblocking(False)  # noqa: FBT003 -- the library's
    return one


def _bind_unix(path: Path, attributes: UnixFile) -> socket.socket:
    """Bind a Unix socket. A file that a dead process left is replaced; one that is in use, or no socket, is not."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(errno.EEXIST, "a file that is no socket is there")
        if _is_listened_on(path):
            raise OSError(errno.EADDRINUSE, "another process listens on it")
        path.unlink()
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)  # nobody else can connect before owner and mode are as configured
    try:
        one.bind(str(path))
        _own(path, attributes.owner)
        path.chmod(int(attributes.mode, 8))
    except (OSError, LookupError) as error:
        one.close()
        if isinstance(error, LookupError):
            raise OSError(errno.EINVAL, f"GATEWAY_UNIX_OWNER: {error}") from error
        raise
    finally:
        os.umask(before)
    one.setblocking(False)  # noqa: FBT003 -- the library's
    return one


def _own(path: Path, owner: str) -> None:
    user, _, group = owner.partition(":")
    if user and group:
        shutil.chown(path, _id_or_name(user), _id_or_name(group))
    elif user:
        shutil.chown(path, _id_or_name(user))
    elif group:
        shutil.chown(path, group=_id_or_name(group))


def _id_or_name(text: str) -> str | int:
    return int(text) if text.isdigit() else text


def _is_listened_on(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        except OSError:
            return True
    return True


def remove_unix(path: Path, inode: int) -> None:
    """Remove the file of a Unix socket if it is still the one that was made, by its inode."""
    with suppress(OSError):
        if path.lstat().st_ino == inode:
            path.unlink()
