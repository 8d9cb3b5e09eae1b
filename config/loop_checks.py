"""Loop check: an upstream that is one of the gateway's own listeners would send each request round and round."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from config.listener_checks import is_unix

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from config.settings import Settings

_PORTS: Final = {"http": 80, "https": 443}
_EVERY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- compared with, not bound to
"""Every address of a family, and the one that a connection to it reaches."""


def default_upstream_loop(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield GATEWAY_UPSTREAM_URL if it is the gateway itself."""
    if settings.upstream.url is not None:
        for problem in loop_problems([settings.upstream.url], settings):
            yield "GATEWAY_UPSTREAM_URL", problem


def loop_problems(urls: Iterable[str], settings: Settings) -> Iterator[str]:
    """Yield each of `urls` that is the gateway itself, as far as that can be seen without asking a name server."""
    for url in urls:
        for name, listen in (
            *(("GATEWAY_LISTEN", listen) for listen in settings.listen),
            ("GATEWAY_ADMIN_LISTEN", settings.admin.listen),
        ):
            if _is_same(url, listen):
                yield f"{url} is the gateway itself, which listens on {listen} ({name})"
                break


def _is_same(url: str, listen: str) -> bool:
    if is_unix(url) or is_unix(listen):
        return url == listen
    parts = urlsplit(url)
    host, _, port = listen.rpartition(":")
    if int(port) != (parts.port or _PORTS[parts.scheme]):
        return False
    reached = _reached(parts.hostname or "")
    ours = host.strip("[]")
    if ours == "":
        return any(map(_is_loopback, reached))
    if ours in _EVERY:
        return any(_is_loopback(one) and (":" in one) == (":" in ours) for one in reached)
    return not reached.isdisjoint(_reached(ours))


def _reached(host: str) -> set[str]:
    """Return the addresses that a connection to `host` may reach; a name of another machine as it is."""
    host = host.lower()
    if host == "localhost" or host.endswith(".localhost"):
        return {"127.0.0.1", "::1"}
    return {_EVERY.get(host, host)}


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
