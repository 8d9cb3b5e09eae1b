"""Endpoint: an address of an upstream, with its connections and failures; and the authority that it belongs to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gateway.wire.dialler import destination
from gateway.wire.resolver import literal
from gateway.wire.tls import UpstreamTls

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.wire.dialler import Destination


_HTTP: Final = 80
_HTTPS: Final = 443
AT_ONCE_SECONDS: Final = 0.5
"""A server that closes a connection behind an answer does so within this time. The clock is a quarter second coarse."""


@dataclass(frozen=True, slots=True)
class Authority:
    """Host and port of an upstream's URL, or its Unix socket, and how connections to it are secured.

    Two authorities are equal if they lead to the same place: weight, zone and priority do not count.

    Attributes:
        host: A name or an IP address, without brackets; or the absolute path of a Unix socket.
        tls: TLS towards it; None for plain TCP.
        weight: Share of the requests of each of its addresses, beside other addresses; 0 for none.
        zone: Where it is; empty if that is not known.
        priority: Its addresses are used while none of a lower number can be.
    """

    host: str
    port: int
    tls: UpstreamTls | None = None
    weight: int = field(default=1, compare=False)
    zone: str = field(default="", compare=False)
    priority: int = field(default=0, compare=False)

    @property
    def host_field(self) -> bytes:
        """The Host of a request of the gateway's own to it (RFC 9110 section 7.2)."""
        if self.host.startswith("/"):
            return b"localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = _HTTP if self.tls is None else _HTTPS
        return (host if self.port == usual else f"{host}:{self.port}").encode("ascii")

    def at(self, address: str) -> str:
        """Return the words for one of its addresses."""
        if address.startswith("/"):
            return f"unix:{address}"
        written = f"[{address}]:{self.port}" if ":" in address else f"{address}:{self.port}"
        return written if literal(self.host) else f"{written} ({self.host})"


class Endpoint:
    """Address of an upstream.

    Attributes:
        name: Its words in logs and reports.
        key: Its address and port as bytes, which are the same in every process that knows it.
        open: Number of open connections to it.
        idle: Number of those that are unused.
        dialling: Number of connections to it that are being opened.
        active: Number of exchanges at work there: they have a connection to it, or wait for one.
        requests: Number of exchanges that have been lent a connection to it.
        ends_after: It is expected to close a connection behind so many answers, without announcing it; 0 if it keeps
            connections, None if nothing is known yet.
        weight: See :class:`Authority`; ``zone`` and ``priority`` likewise.
        available: False while it is not usable: it is then tried after the others alone. In a panic all are available.
        ejected: True while it is ejected.
        unhealthy: True while it fails its health checks.
        suspect: True if it failed of late, so that its successes count.
        since: Monotonic time in seconds since when it is available without a break.
        slow_start: Seconds after that in which its share of the requests grows; 0 for none.
    """

    __slots__ = (
        "active",
        "authority",
        "available",
        "destination",
        "dialling",
        "ejected",
        "ends_after",
        "idle",
        "key",
        "name",
        "open",
        "priority",
        "requests",
        "since",
        "slow_start",
        "suspect",
        "unhealthy",
        "weight",
        "worked",
        "zone",
    )

    def __init__(self, authority: Authority, address: str) -> None:
        self.authority = authority
        self.weight, self.zone, self.priority = authority.weight, authority.zone, authority.priority
        self.name = authority.at(address)
        self.key = f"{address} {authority.port}".encode()
        self.destination: Destination = destination(address, authority.port)
        self.open = self.idle = self.dialling = 0
        self.active = self.requests = 0
        self.since = self.slow_start = 0.0
        self.worked = False
        self.available = True
        self.ejected = self.unhealthy = self.suspect = False
        self.ends_after: int | None = None

    def belong(self, authority: Authority) -> None:
        """Take an authority that leads here for the one it belongs to: weight, zone and priority may be others."""
        self.authority = authority
        self.weight, self.zone, self.priority = authority.weight, authority.zone, authority.priority

    @property
    def usable(self) -> bool:
        """True if it is neither ejected nor failing its health checks, whether or not there is a panic."""
        return not (self.ejected or self.unhealthy)

    def __repr__(self) -> str:
        return f"<endpoint {self.name}: {self.active} at work, {self.open} connections>"

    def keeps(self, served: int, unused_seconds: float, *, doubtful: bool) -> bool:
        """Return whether it is expected to have kept a connection, after `served` answers and so long without one.

        While nothing is known it is not expected to do so behind the first answer, if `doubtful`.
        """
        expected = self.ends_after
        if expected is None:
            expected = 1 if doubtful else 0
        if expected == 0:
            return True
        if served == expected and unused_seconds < AT_ONCE_SECONDS:
            return False
        if served >= expected:
            self.ends_after = 0
        return True

    def has_ended(self, served: int, unused_seconds: float) -> None:
        """Note that it closed a connection without announcing it, after `served` answers and so long without one."""
        if served and unused_seconds <= AT_ONCE_SECONDS:
            self.ends_after = served


def by_turns(endpoints: Iterable[Endpoint]) -> list[Endpoint]:
    """Return the endpoints with the address families by turns, that of the first one first (RFC 8305 section 4)."""
    families: dict[int, list[Endpoint]] = {}
    for endpoint in endpoints:
        families.setdefault(endpoint.destination[0], []).append(endpoint)
    rows = list(families.values())
    longest = max(map(len, rows), default=0)
    return [row[place] for place in range(longest) for row in rows if place < len(row)]
