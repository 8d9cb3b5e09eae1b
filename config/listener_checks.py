"""Checks of listen addresses: two that cannot be open at once, and settings that would have no effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.settings import Settings


def listeners(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield the listen addresses that another one takes."""
    listens = settings.listen
    for place, listen in enumerate(listens):
        for other in listens[:place]:
            if collide(other, listen):
                yield "GATEWAY_LISTEN", f"{listen} is taken by {other}, which is listed before it"
        if collide(listen, settings.admin.listen):
            yield "GATEWAY_ADMIN_LISTEN", f"{settings.admin.listen} is taken by GATEWAY_LISTEN, {listen}"


def collide(one: str, other: str) -> bool:
    """Return whether two listen addresses cannot be open at once; names are compared as they are written."""
    if is_unix(one) or is_unix(other):
        return one == other
    host, _, port = one.rpartition(":")
    other_host, _, other_port = other.rpartition(":")
    if int(port) != int(other_port) or int(port) == 0:
        return False
    return host == other_host or _covers(host, other_host) or _covers(other_host, host)


def _covers(every: str, host: str) -> bool:
    """Return whether listening on `every` takes the port on `host` as well."""
    if every in {"", "[::]"} and host in {"", "[::]"}:
        return True
    return every == "" or every == ("[::]" if host.startswith("[") else "0.0.0.0")  # noqa: S104 -- compared with, not bound to


def unix_sockets(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield the settings of Unix sockets that no listen address uses."""
    if not any(is_unix(listen) for listen in settings.listen):
        for name, is_on in (
            ("GATEWAY_UNIX_TRUSTED", settings.unix.trusted),
            ("GATEWAY_PROXY_PROTOCOL_UNIX", settings.proxy.protocol_unix),
        ):
            if is_on:
                yield name, "has no effect: GATEWAY_LISTEN names no unix:/path"


def is_unix(listen: str) -> bool:
    """Return whether a listen address is the path of a Unix socket."""
    return listen.startswith("unix:")
