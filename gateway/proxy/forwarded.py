"""Origin of a request: which client it came from, and by which scheme and host, as far as that can be believed.

Laws:

- X-Forwarded-*, Forwarded and X-Request-ID of a peer outside ``trusted`` are ignored; ``trusted`` is empty by default.
- The client's address is the last hop, read from the right, that is not a trusted proxy. X-Forwarded-For names the
  hops; where it is absent, Forwarded does (RFC 7239).
- A list of schemes or hosts is read from the right as well, by as many elements as there are believed hops.
- What cannot be read is counted and reported: silence would make one client of all that come by that proxy.
- The upstream gets only lines of ours: the believed addresses and the peer, one scheme, one host.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.proxy.hops import MOST_HOPS, elements, read_address, read_forwarded
from gateway.wire.framing import HOST
from gateway.wire.proxy_protocol import UNIX

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from ipaddress import IPv4Network, IPv6Network

    from gateway.wire.messages import RequestHead

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{8,128}")
_PROTO: Final = re.compile(rb"https?|wss?")
_REMEMBERED: Final = 4096
"""Most origins that are remembered, by peer, host and client certificate; all are forgotten when there are more."""
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
        proto: The scheme by which it asked: ``http``, ``https``, ``ws`` or ``wss``.
    """

    client: str
    request_id: bytes | None
    lines: bytes
    trusted: bool = False
    host: bytes = b""
    proto: bytes = b"http"


def _unreported(field: str, part: str, element: str, peer: str) -> None:
    """Report nothing."""


class Origins:
    """Reader of origins under one configuration of trusted proxies."""

    def __init__(
        self,
        trusted: Sequence[IPv4Network | IPv6Network],
        unreadable: Callable[[str, str, str, str], None] = _unreported,
        *,
        unix: bool = False,
    ) -> None:
        """`trusted` are the proxies' networks; with `unix`, whatever connects by a Unix socket is one too.

        `unreadable` is called with the field, what should stand there (``for``, ``proto`` or ``host``), what does
        instead, and the peer that sent it.
        """
        self._trusted = tuple(trusted)
        self._unix_trusted = unix
        self._unreadable = unreadable
        self._untrusted: dict[tuple[str, bytes, bytes | None], Origin] = {}

    def trusts(self, peer: str) -> bool:
        """Return whether what `peer` states about earlier hops is believed."""
        if peer == UNIX:
            return self._unix_trusted
        if not self._trusted:
            return False
        address = read_address(peer)
        return address is not None and any(address in network for network in self._trusted)

    def read(self, head: RequestHead, peer: str, secured: bytes | None = None) -> Origin:
        """Return the origin of a request that came from `peer`.

        `secured` has the field lines about the client certificate of a TLS connection; it is None without TLS.
        """
        host = head.first.get(b"host", b"")
        if self.trusts(peer):
            return self._believed(head, peer, host, secured)
        known = self._untrusted.get((peer, host, secured))
        if known is None:
            scheme, more = (b"http", b"") if secured is None else (b"https", secured)
            known = _origin([peer], scheme, host, None, more)
            if len(host) <= _LONGEST_HOST:
                if len(self._untrusted) >= _REMEMBERED:
                    self._untrusted.clear()
                self._untrusted[peer, host, secured] = known
        return known

    def _believed(self, head: RequestHead, peer: str, host: bytes, secured: bytes | None) -> Origin:
        """Return the origin that a trusted `peer` states."""
        if b"forwarded" in head.first and b"x-forwarded-for" not in head.first:
            stated = read_forwarded(list(head.every(b"forwarded")))
            named = [hop for hop in stated if hop is None or hop.node]
            nodes = [None if hop is None else hop.node for hop in named]
            hops = self._hops("Forwarded", nodes, peer, b", ".join(head.every(b"forwarded")))
            # Where no hop is believed, the peer is the client, and the last element is what the peer states itself.
            client = named[-len(hops)] if hops else next(iter(stated[-1:]), None)
        else:
            hops = self._hops("X-Forwarded-For", _list(head, b"x-forwarded-for"), peer)
            client = None
        proto = self._stated(head, "Proto", "" if client is None else client.proto, hops, peer)
        named_host = self._stated(head, "Host", "" if client is None else client.host, hops, peer)
        request_id = _one_of(head, b"x-request-id", _REQUEST_ID)
        scheme, more = (b"http", b"") if secured is None else (b"https", secured)
        return _origin([*hops, peer], proto or scheme, named_host or host, request_id, more, trusted=True)

    def _stated(self, head: RequestHead, part: str, of_client: str, hops: list[str], peer: str) -> bytes:
        """Return the scheme or the host that the client's proxy states; empty if there is none, or none to read.

        `of_client` is what Forwarded has of it.
        """
        field = "Forwarded" if of_client else f"X-Forwarded-{part}"
        lower = part.lower()
        stated = of_client or _at_the_client(_list(head, b"x-forwarded-" + lower.encode()), len(hops))
        if lower == "proto":
            stated = stated.lower()
        value = stated.encode("latin-1")
        if value and not (_PROTO if lower == "proto" else HOST).fullmatch(value):
            self._unreadable(field, lower, stated, peer)
            return b""
        return value

    def _hops(self, field: str, nodes: Sequence[str | None], peer: str, whole: bytes = b"") -> list[str]:
        """Return the believed hops among `nodes`, client first: from the last untrusted hop to the right.

        `whole` is the field as it came; a node is None where that cannot be read.
        """
        believed: list[str] = []
        for node in reversed(nodes[-MOST_HOPS:]):
            address = None if node is None else read_address(node)
            if address is None:
                self._unreadable(field, "for", whole.decode("latin-1") if node is None else node, peer)
                break
            believed.insert(0, str(address))
            if not any(address in network for network in self._trusted):
                break
        return believed


def _list(head: RequestHead, name: bytes) -> list[str]:
    return elements(list(head.every(name)))


def _at_the_client(stated: list[str], hops: int) -> str:
    """Return what the proxy stated that saw the client: of a list, the element as far from the right as the client is.

    A shorter list has its first element: proxies behind the first one did not add to it. So has any list if no hop is
    named, since there is nothing to count by.
    """
    if not stated:
        return ""
    return stated[-hops] if 0 < hops <= len(stated) else stated[0]


def _origin(  # noqa: PLR0913 -- the parts of an origin
    hops: list[str],
    proto: bytes,
    host: bytes,
    request_id: bytes | None,
    more: bytes = b"",
    *,
    trusted: bool = False,
) -> Origin:
    addresses = hops if hops[-1] != UNIX else hops[:-1]  # a Unix socket's client has none to pass on
    lines = (
        f"X-Forwarded-For: {', '.join(addresses)}\r\nX-Real-IP: {addresses[0]}\r\n".encode("ascii", "replace")
        if addresses
        else b"",
        b"X-Forwarded-Proto: %b\r\n" % proto,
        b"X-Forwarded-Host: %b\r\n" % host if host else b"",
        more,
    )
    return Origin(hops[0], request_id, b"".join(lines), trusted, host, proto)


def _one_of(head: RequestHead, name: bytes, form: re.Pattern[bytes]) -> bytes | None:
    """Return the value of a field that occurs exactly once and matches `form`."""
    value = head.first.get(name)
    if value is None or head.occurs_twice(name) or not form.fullmatch(value):
        return None
    return value
