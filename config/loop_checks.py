"""Loop check: an upstream that is one of the gateway's own listeners would send each request round and round.

Laws:

- An address counts as written in any of its spellings, and a Unix socket by the file that its path leads to.
- A listener on every address is found at each address of this machine, and by the machine's name.
- Nothing is sent. Names of other machines are for ``check-config --connect``, which looks them up.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from config.listener_checks import is_unix

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from config.settings import Settings

_PORTS: Final = {"http": 80, "https": 443}
_EVERY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- compared with, not bound to
"""Every address of a family, and the one that a connection to it reaches."""
_OF_NOBODY: Final = {4: "192.0.2.1", 6: "2001:db8::1"}
"""Addresses for documentation (RFC 5737, RFC 3849), which no machine has."""


def default_upstream_loop(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield GATEWAY_UPSTREAM_URL if it is the gateway itself."""
    if settings.upstream.url is not None:
        for problem in loop_problems([settings.upstream.url], settings):
            yield "GATEWAY_UPSTREAM_URL", problem


def loop_problems(urls: Iterable[str], settings: Settings) -> Iterator[str]:
    """Yield each of `urls` that is the gateway itself, as far as that can be seen without asking a name server."""
    redirect = settings.tls.redirect_listen
    listeners = [
        *(("GATEWAY_LISTEN", listen) for listen in settings.listen),
        ("GATEWAY_ADMIN_LISTEN", settings.admin.listen),
        *([] if redirect is None else [("GATEWAY_TLS_REDIRECT_LISTEN", redirect)]),
    ]
    for url in urls:
        for name, listen in listeners:
            if _is_same(url, listen):
                yield (
                    f"{url} is the gateway itself, which listens on {listen} ({name}); name the host and port of the "
                    "service behind it"
                )
                break


def _is_same(url: str, listen: str) -> bool:
    if is_unix(url) or is_unix(listen):
        return is_unix(url) and is_unix(listen) and _file(url) == _file(listen)
    parts = urlsplit(url)
    host, _, port = listen.rpartition(":")
    if int(port) != (parts.port or _PORTS[parts.scheme]):
        return False
    reached = _reached(parts.hostname or "")
    ours = host.strip("[]")
    if ours == "":
        return any(map(_is_local, reached))
    if ours in _EVERY:
        return any(_is_local(one) and (":" in one) == (":" in ours) for one in reached)
    return not reached.isdisjoint(_reached(ours))


def _file(unix: str) -> Path:
    return Path(unix.removeprefix("unix:")).resolve()


def _reached(host: str) -> set[str]:
    """Return the addresses that a connection to `host` may reach; a name of another machine as it is."""
    host = host.lower().removesuffix(".")
    if host == "localhost" or host.endswith(".localhost"):
        return {"127.0.0.1", "::1"}
    address = _address(host)
    return {_EVERY.get(address, address)}


def _address(host: str) -> str:
    """Return an address in its usual spelling; a name as it is."""
    with suppress(ValueError):
        found = ip_address(host)
        mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
        return str(mapped or found)
    if host[:1].isdigit():
        with suppress(OSError):
            return socket.inet_ntoa(socket.inet_aton(host))  # 127.1 and 2130706433
    return host


def _is_local(host: str) -> bool:
    """Return whether a host is this machine."""
    try:
        address = ip_address(host)
    except ValueError:
        return host == socket.gethostname().lower()
    # A socket can be bound to the machine's own addresses alone, unless the system lets it be bound to any.
    return address.is_loopback or (_can_bind(host) and not _can_bind(_OF_NOBODY[address.version]))


def _can_bind(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as tried:
            tried.bind((address, 0))
    except OSError:
        return False
    return True
