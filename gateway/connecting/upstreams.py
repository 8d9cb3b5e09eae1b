"""Connection check of upstreams: each address of each endpoint is connected to, with TLS where the URL asks for it.

Law: no request is sent. A service may take any request for a task.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from config.loop_checks import loop_problems
from config.route_plan import DEFAULT_UPSTREAM
from gateway.assembly.upstreams import authority_of, tls_terms
from gateway.wire.dialler import destination, over, race
from gateway.wire.dns_client import LookupFailed
from gateway.wire.resolver import literal
from gateway.wire.tls import UpstreamTls, upstream_fault

if TYPE_CHECKING:
    import socket
    from collections.abc import Coroutine, Iterator
    from typing import Any

    from config.groups.tls import TlsEntry
    from config.route_plan import RoutePlan
    from config.settings import Settings
    from gateway.wire.endpoint import Authority
    from gateway.wire.resolver import Resolver

_SETTLING_SECONDS: Final = 0.25
"""TLS 1.3 refuses a client's certificate after the handshake, by an alert or by the end: it is waited for so long."""
_ADVICE: Final = {
    "name": "write a name that its certificate has into the URL, or as `server_name` "
    "(GATEWAY_UPSTREAM_TLS_SERVER_NAME)",
    "expired": "have its certificate renewed",
    "not_yet_valid": "check the clocks of this machine and of that one",
    "unknown_ca": "name the authority that issued its certificate as `ca_file` (GATEWAY_UPSTREAM_TLS_CA_FILE)",
    "certificate": "have its certificate issued anew, for a server",
    "no_tls": "write http://, or the port at which it speaks TLS",
    "version": "lower `min_version` (GATEWAY_UPSTREAM_TLS_MIN_VERSION), or have it speak a newer version",
    "client_certificate": "it may want one: give a client certificate that it accepts as `cert_file` and `key_file` "
    "(GATEWAY_UPSTREAM_TLS_CERT_FILE, _KEY_FILE)",
    "handshake": "compare the versions and ciphers of both",
}
"""What to do about each kind of failed handshake."""


def upstream_checks(
    settings: Settings, plan: RoutePlan | None, resolver: Resolver
) -> Iterator[tuple[str, Coroutine[Any, Any, list[str]]]]:
    """Yield the name and the check of each endpoint of each upstream."""
    own = settings.upstream
    entries = {} if plan is None else plan.upstreams
    if own.url is not None and DEFAULT_UPSTREAM not in entries:
        called = "GATEWAY_UPSTREAM_URL"
        yield (
            called,
            _check(settings, resolver, called, _Target(own.url, own.tls, own.connect_timeout_seconds)),
        )
    for name, entry in entries.items():
        tls = entry.tls or (own.tls if name == DEFAULT_UPSTREAM else None)
        seconds = entry.connect_timeout_seconds or own.connect_timeout_seconds
        for url in dict.fromkeys(entry.urls):
            yield (
                f"upstream {name}",
                _check(settings, resolver, f"upstream {name}", _Target(url, tls, seconds)),
            )


class _Target(NamedTuple):
    """URL of an upstream, with the terms of a connection to it."""

    url: str
    tls: TlsEntry | None
    seconds: float


async def _check(settings: Settings, resolver: Resolver, called: str, target: _Target) -> list[str]:
    """Return the problem of one URL of an upstream."""
    try:
        tls = UpstreamTls(tls_terms(target.tls)) if target.url.startswith("https://") else None
        authority = authority_of(target.url, tls)
        addresses = await resolver.resolve(authority.host)
    except LookupFailed as error:
        return [
            (
                f"{called}: {error.words}; its requests would be answered 502 or 504: check the name, this machine's "
                "name servers, and GATEWAY_RESOLVER_SERVERS"
            )
        ]
    except OSError as error:
        return [f"{called}: its TLS files cannot be used: {error.strerror or 'check their contents'}"]
    if literal(authority.host) is None:
        loops = list(loop_problems(_written(target.url, addresses), settings))
        if loops:
            return [f"{called}: {loop}" for loop in loops]
    found = await asyncio.gather(*(_reach(authority, address, target.seconds) for address in addresses))
    return [f"{called}: {problem}" for problem in found if problem is not None]


def _written(url: str, addresses: tuple[str, ...]) -> Iterator[str]:
    """Yield a URL with each of the addresses in the place of its name."""
    parts = urlsplit(url)
    port = "" if parts.port is None else f":{parts.port}"
    for address in addresses:
        yield f"{parts.scheme}://[{address}]{port}" if ":" in address else f"{parts.scheme}://{address}{port}"


async def _reach(authority: Authority, address: str, seconds: float) -> str | None:
    """Connect to one address; return why that fails and what to do, or None."""
    target = authority.at(address)
    try:
        async with asyncio.timeout(seconds):
            connected = await race([destination(address, authority.port)], [])
            if authority.tls is None:
                connected.close()
                return None
            return await _secure(connected, authority, target)
    except TimeoutError:
        what = "no answer" if authority.tls is None else "no answer, or no TLS,"
        return f"{target}: {what} within {seconds:g} s; check host and port, and firewalls on the way"
    except OSError as error:
        return f"{target}: {error.strerror or error}; {_advice(error, address)}"


async def _secure(connected: socket.socket, authority: Authority, target: str) -> str | None:
    lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
    tls = authority.tls
    if tls is None:
        return None
    try:
        transport, _ = await over(
            connected,
            lambda: _Listening(lost),
            context=tls.context,
            server_hostname=tls.server_name(authority.host),
        )
        await asyncio.wait([lost], timeout=_SETTLING_SECONDS)
        transport.abort()
        if not lost.done():
            return None
        error = lost.result()
        if isinstance(error, ssl.SSLError):
            raise error
    except ssl.SSLError as error:
        fault = upstream_fault(error)
        return f"{target}: {fault}; {_ADVICE.get(fault.kind, _ADVICE['handshake'])}"
    except ConnectionError:
        return f"{target}: it ended the TLS handshake; {_ADVICE['no_tls']}"
    return f"{target}: it ended the connection behind the TLS handshake; {_ADVICE['client_certificate']}"


class _Listening(asyncio.Protocol):
    """Protocol that notes the end of its connection, and sends nothing."""

    def __init__(self, lost: asyncio.Future[Exception | None]) -> None:
        self._lost = lost

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._lost.done():
            self._lost.set_result(exc)


def _advice(error: OSError, address: str) -> str:
    if address.startswith("/"):
        return "check the path, that the service listens there, and that this user may open the socket"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there: check the port, and that the service runs"
    return "check the address, and the routes of this machine"
