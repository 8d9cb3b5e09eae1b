"""Parser of X-Forwarded-* and Forwarded: where a request came from, as far as it can be believed.

Laws:

- X-Forwarded-*, Forwarded and X-Request-ID of a peer outside ``trusted`` are ignored; ``trusted`` is empty by default.
- The client's address is the last hop, read from the right, that is not a trusted proxy.
- The upstream gets only lines of ours: the believed addresses and the peer, one scheme, one host.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Final

from gateway.wire.framing import HOST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.wire.messages import RequestHead

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{8,128}")
_PROTO: Final = re.compile(rb"https?|wss?")
_MOST_HOPS: Final = 32
_REMEMBERED: Final = 4096
"""Most pairs of peer and host whose origin is remembered; all are forgotten when there are more."""
_LONGEST_HOST: Final = 256
"""A longer Host is not remembered; no real name is that long."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Origin of a request, as far as it is believed.

    Attributes:
        client: The client's address.
        request_id: The id that a trusted peer gave it; None if there is none to believe.
        trusted: The peer is trusted, so what it states about the request is believed.
        lines: The field lines that pass this on to the upstream, each ending in CRLF.
        host: The host that the client asked for.
    """

    client: str
    request_id: bytes | None
    lines: bytes
    trusted: bool = False
    host: bytes = b""


class Origins:
    """Parser of origins under one configuration of trusted proxies."""

    def __init__(self, trusted: Sequence[IPv4Network | IPv6Network]) -> None:
        self._trusted = tuple(trusted)
        self._strangers: dict[tuple[str, bytes], Origin] = {}

    def trusts(self, peer: str) -> bool:
        """Return whether what `peer` states about earlier hops is believed."""
        if not self._trusted:
            return False
        address = _address(peer)
        return address is not None and any(address in network for network in self._trusted)

    def read(self, head: RequestHead, peer: str) -> Origin:
        """Return the origin of a request that came from `peer`."""
        host = head.first.get(b"host", b"")
        if self.trusts(peer):
            return _origin(
                [*self._believed(head), peer],
                _one_of(head, b"x-forwarded-proto", _PROTO) or b"http",
                _one_of(head, b"x-forwarded-host", HOST) or host,
                _one_of(head, b"x-request-id", _REQUEST_ID),
                trusted=True,
            )
        known = self._strangers.get((peer, host))
        if known is None:
            known = _origin([peer], b"http", host, None)
            if len(host) <= _LONGEST_HOST:
                if len(self._strangers) >= _REMEMBERED:
                    self._strangers.clear()
                self._strangers[peer, host] = known
        return known

    def _believed(self, head: RequestHead) -> list[str]:
        """Return the believed hops of X-Forwarded-For, client first: from the last untrusted hop to the right."""
        hops = b",".join(head.every(b"x-forwarded-for")).split(b",")
        believed: list[str] = []
        for hop in reversed(hops[-_MOST_HOPS:]):
            address = _address(hop.strip().decode("ascii", "replace"))
            if address is None:
                break
            believed.insert(0, str(address))
            if not any(address in network for network in self._trusted):
                break
        return believed


def _origin(
    hops: list[str], proto: bytes, host: bytes, request_id: bytes | None, *, trusted: bool = False
) -> Origin:
    lines = (
        f"X-Forwarded-For: {', '.join(hops)}\r\nX-Real-IP: {hops[0]}\r\n".encode("ascii", "replace"),
        b"X-Forwarded-Proto: %b\r\n" % proto,
        b"X-Forwarded-Host: %b\r\n" % host if host else b"",
    )
    return Origin(hops[0], request_id, b"".join(lines), trusted, host)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.partition("%")[0].strip("[]"))
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _one_of(head: RequestHead, name: bytes, form: re.Pattern[bytes]) -> bytes | None:
    """Return the value of a field that occurs exactly once and matches `form`."""
    value = head.first.get(name)
    if value is None or head.occurs_twice(name) or not form.fullmatch(value):
        return None
    return value
