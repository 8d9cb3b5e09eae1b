"""A name server of a test's own: a UDP socket that speaks DNS, as the test says."""

from __future__ import annotations

import asyncio
import ipaddress
import struct
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

A: Final = 1
AAAA: Final = 28
_OK, _SERVFAIL, _NXDOMAIN = 0, 2, 3


class NameServer(asyncio.DatagramProtocol):
    """Name server on 127.0.0.1.

    Attributes:
        zone: The addresses of each name. A name that is not in it does not exist.
        ttl: Time to live of every answer, in seconds.
        silent: Names that are never answered.
        failing: Names that are answered with SERVFAIL.
        failing_types: Names and types that are.
        late: Names and types that are answered after a tenth of a second.
        lost: Names of which each first query, by type, is lost.
        slow: Names of which the answers wait until ``release``.
        held: Queries that wait so, each with its sender.
        forged: Makers of messages that are sent ahead of each answer; each is given the query.
        truncated: Names whose answers say that they are cut short, and hold half of the addresses.
        asked: Number of queries by name and type.
    """

    def __init__(self) -> None:
        self.zone: dict[str, list[str]] = {}
        self.ttl = 0
        self.silent: set[str] = set()
        self.failing: set[str] = set()
        self.failing_types: set[tuple[str, int]] = set()
        self.late: set[tuple[str, int]] = set()
        self.lost: set[str] = set()
        self.slow: set[str] = set()
        self.forged: list[Callable[[bytes], bytes]] = []
        self.truncated: set[str] = set()
        self.asked: Counter[tuple[str, int]] = Counter()
        self.port = 0
        self.held: list[tuple[bytes, tuple[str, int]]] = []
        self._transport: asyncio.DatagramTransport | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def queries(self, name: str) -> int:
        return sum(number for (asked, _), number in self.asked.items() if asked == name)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        name, kind, end = _question(data)
        self.asked[name, kind] += 1
        assert self._transport is not None
        for forge in self.forged:
            self._transport.sendto(forge(data), addr)
        if name in self.silent or (name in self.lost and self.asked[name, kind] == 1):
            return
        if name in self.slow:
            self.held.append((data, addr))
        elif (name, kind) in self.late:
            asyncio.get_running_loop().call_later(0.1, self._send, data, addr, name, kind, end)
        else:
            self._send(data, addr, name, kind, end)

    def send(self, message: bytes, address: tuple[str, int]) -> None:
        """Send a datagram that nobody asked for."""
        assert self._transport is not None
        self._transport.sendto(message, address)

    def release(self) -> None:
        """Answer what was held back."""
        self.slow.clear()
        waiting, self.held = self.held, []
        for query, address in waiting:
            self._send(query, address, *_question(query))

    def _send(self, query: bytes, address: tuple[str, int], name: str, kind: int, end: int) -> None:
        fails = name in self.failing or (name, kind) in self.failing_types
        code = _SERVFAIL if fails else _OK if name in self.zone else _NXDOMAIN
        found = [] if code else [ipaddress.ip_address(one) for one in self.zone[name]]
        wanted = [one.packed for one in found if (one.version == 4) == (kind == A) and kind in (A, AAAA)]
        flags = 0x8180 | code
        if name in self.truncated:
            flags |= 0x0200
            wanted = wanted[: (len(wanted) + 1) // 2]
        records = b"".join(
            b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, self.ttl, len(one)) + one for one in wanted
        )
        head = query[:2] + struct.pack("!HHHHH", flags, 1, len(wanted), 0, 0)
        assert self._transport is not None
        self._transport.sendto(head + query[12:end] + records, address)


def _question(query: bytes) -> tuple[str, int, int]:
    """Return name, type and end of the question of a query."""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += query[at] + 1
    (kind,) = struct.unpack("!H", query[at + 1 : at + 3])
    return ".".join(labels).lower(), kind, at + 5


@asynccontextmanager
async def name_server() -> AsyncIterator[NameServer]:
    server = NameServer()
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: server, local_addr=("127.0.0.1", 0)
    )
    try:
        yield server
    finally:
        transport.close()
