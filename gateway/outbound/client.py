"""Outbound HTTP client: it sends the domain's requests to servers of others, and to nobody else (aiohttp).

Laws:

- A request goes to a host that it names, by https. Plain http is for loopback alone, as far as the policy permits that.
- The address is judged when the socket is made for it, so that a name which moves between a look and the connection
  leads nowhere else.
- A redirect is not followed, no proxy of the environment is used, no cookie is stored, and nothing is decompressed.
- Each request has one deadline for everything and a limit of bytes. It has a connection of its own, for such requests
  are rare.
"""

from __future__ import annotations

import re
import socket
from collections import Counter
from typing import TYPE_CHECKING, Final

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
)
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from authcore.outbound import OutboundFailed, OutboundOutcome, OutboundResponse

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import ClientResponse

    from authcore.outbound import OutboundRequest
    from gateway.wire.resolver import Resolver

MOST_BYTES: Final = 262_144
_PIECE: Final = 65_536
_MAX_AGE: Final = re.compile(r"(?:^|[,\s])max-age=\"?(\d{1,9})\"?(?:$|[,\s])", re.IGNORECASE)
_LOOPBACK: Final = re.compile(r"localhost|127(?:\.\d{1,3}){3}|::1")

Destination = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object, ...]]
"""An address as ``socket.getaddrinfo`` returns it."""


class AddressRefused(OSError):
    """The connection would lead to an address that the policy does not permit."""


class OutboundClient:
    """Outbound HTTP client.

    Attributes:
        outcomes: How many requests ended how.
    """

    def __init__(
        self,
        permits: Callable[[str], bool],
        *,
        timeout_seconds: float,
        most_bytes: int = MOST_BYTES,
        resolver: Resolver | None = None,
    ) -> None:
        """`permits` judges an address to connect to; `resolver` finds the addresses of names, else the system."""
        self._permits = permits
        self._timeout = ClientTimeout(total=timeout_seconds)
        self._most_bytes = most_bytes
        self._resolver = resolver
        self.outcomes: Counter[str] = Counter(dict.fromkeys(map(str, OutboundOutcome), 0))

    async def send(self, request: OutboundRequest) -> OutboundResponse:
        """Send a request and return its response, whatever the status.

        Raises:
            OutboundFailed: there is no response, or it may not be asked for.
        """
        try:
            response = await self._send(request)
        except OutboundFailed as error:
            self.outcomes[str(error.outcome)] += 1
            raise
        self.outcomes[str(OutboundOutcome.OK)] += 1
        return response

    async def _send(self, request: OutboundRequest) -> OutboundResponse:
        url = _judged(request)
        try:
            async with (
                ClientSession(
                    connector=self._connector(),
                    timeout=self._timeout,
                    cookie_jar=DummyCookieJar(),
                    trust_env=False,
                    auto_decompress=False,
                ) as session,
                session.request(
                    request.method,
                    url,
                    data=request.body,
                    allow_redirects=False,
                    headers={
                        "Accept": "application/json",
                        "Accept-Encoding": "identity",
                        "User-Agent": "whatomate-gateway",
                        **request.headers,
                    },
                ) as response,
            ):
                return await self._read(response)
        except ClientConnectorError as error:
            if isinstance(error.os_error, AddressRefused):
                raise OutboundFailed(OutboundOutcome.ADDRESS, str(error.os_error)) from None
            words = f"{url.host} cannot be connected to: {error.os_error}"
            raise OutboundFailed(OutboundOutcome.FAILED, words) from error
        except TimeoutError as error:
            words = f"{url.host} did not answer within {self._timeout.total:g} s"
            raise OutboundFailed(OutboundOutcome.TIMEOUT, words) from error
        except (ClientError, OSError, ValueError) as error:
            raise OutboundFailed(
                OutboundOutcome.FAILED, f"{url.host} cannot be had: {type(error).__name__}"
            ) from error

    async def _read(self, response: ClientResponse) -> OutboundResponse:
        body = b""
        async for piece in response.content.iter_chunked(_PIECE):
            body += piece
            if len(body) > self._most_bytes:
                raise OutboundFailed(
                    OutboundOutcome.SIZE, f"the answer is larger than {self._most_bytes} bytes"
                )
        max_age = _MAX_AGE.search(response.headers.get("Cache-Control", ""))
        return OutboundResponse(response.status, body, float(max_age[1]) if max_age else None)

    def _connector(self) -> TCPConnector:
        return TCPConnector(
            force_close=True,
            use_dns_cache=False,
            resolver=None if self._resolver is None else _Names(self._resolver),
            socket_factory=self._open,
        )

    def _open(self, address: Destination) -> socket.socket:
        """Make the socket for an address, if the policy permits it.

        Raises:
            AddressRefused: it does not.
        """
        family, kind, protocol, _, place = address
        if not self._permits(str(place[0])):
            raise AddressRefused(f"{place[0]} is no public address, and no setting permits it")
        return socket.socket(family, kind, protocol)


class _Names(AbstractResolver):
    """Resolver of the gateway, as aiohttp asks for one."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        del family  # every address is tried, in its order
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in await self._resolver.resolve(host)
        ]

    async def close(self) -> None:
        """Do nothing: the resolver is the gateway's."""


def _judged(request: OutboundRequest) -> URL:
    """Return the URL of a request, parsed once: what is judged is what is connected to.

    Raises:
        OutboundFailed: the request may not go there.
    """
    try:
        url = URL(request.url)
        host = (url.host or "").lower()
        whole = bool(host) and url.port not in {None, 0} and not url.fragment
    except ValueError:
        raise OutboundFailed(OutboundOutcome.HOST, "the URL cannot be read") from None
    if not whole or url.user is not None or url.password is not None:
        raise OutboundFailed(
            OutboundOutcome.HOST, "the URL should be https://host/path, without a user and a fragment"
        )
    if url.scheme != "https" and not (url.scheme == "http" and _LOOPBACK.fullmatch(host)):
        raise OutboundFailed(OutboundOutcome.HOST, f"{host} should be asked by https")
    if host not in request.hosts:
        raise OutboundFailed(OutboundOutcome.HOST, f"{host} is none of the hosts that may be asked")
    return url
