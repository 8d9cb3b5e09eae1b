"""PROXY protocol: it reads the client's address that a proxy in front writes before a connection's first byte.

Versions 1 (a line of text) and 2 (binary), as HAProxy's specification has them. Laws:

- Only connections from the configured networks are read for it, and those must begin with it. From anywhere else its
  bytes are a malformed request.
- A header that is not understood whole ends the connection, without an answer: a guessed address would be another's.
- ``UNKNOWN``, ``LOCAL`` and families without an address (health checks of the proxy) leave the peer's own address.
- The header must arrive within the time that a request head has. Until then the connection counts as one of the open.
"""

from __future__ import annotations

import asyncio
import re
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from gateway.wire.listener import Listener

UNIX: Final = "unix:"
"""The peer of a connection by a Unix socket, which has no address."""
SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
"""The first bytes of version 2."""
REFUSED: Final = ("malformed", "timeout", "too_many_connections")
"""The reasons for which a connection is closed before its PROXY header was read."""
MOST_BYTES: Final = 4096
"""A longer header of version 2 is refused; its TLVs take some hundred bytes."""
_TEXT: Final = b"PROXY "
_LONGEST_LINE: Final = 107
_FIXED: Final = 16
_PORT: Final = re.compile(rb"0|[1-9][0-9]{0,4}")
_HIGHEST_PORT: Final = 65_535
_VERSION_2, _LOCAL, _PROXY = 2, 0, 1
_UNSPECIFIED, _TCP4, _TCP6, _UNIX = 0x00, 0x11, 0x21, 0x31
_SIZES: Final = {_TCP4: 12, _TCP6: 36, _UNIX: 216}


class MalformedHeader(Exception):
    """Bytes that are no header of the PROXY protocol; the message names what is wrong."""


def parse(received: bytes) -> tuple[str, int] | None:
    """Parse the header at the beginning of a connection.

    Returns:
        The client's address (empty: the header names none) and the header's length; None if more bytes are needed.

    Raises:
        MalformedHeader: it is no header, whatever follows.
    """
    if received.startswith(_TEXT):
        return _parse_text(received)
    if received.startswith(SIGNATURE):
        return _parse_binary(received)
    if _TEXT.startswith(received) or SIGNATURE.startswith(received):
        return None
    raise MalformedHeader("the connection does not begin with a PROXY header")


def _parse_text(received: bytes) -> tuple[str, int] | None:
    end = received.find(b"\r\n", 0, _LONGEST_LINE)
    if end < 0:
        if len(received) >= _LONGEST_LINE:
            raise MalformedHeader("the line is longer than 107 bytes")
        return None
    length = end + 2
    parts = received[:end].split(b" ")
    family = parts[1]
    if family == b"UNKNOWN":
        return "", length
    if family not in {b"TCP4", b"TCP6"} or len(parts) != 6:  # noqa: PLR2004 -- PROXY, family, two addresses, two ports
        raise MalformedHeader("the line should be PROXY TCP4|TCP6 source destination port port")
    for port in parts[4:]:
        if _PORT.fullmatch(port) is None or int(port) > _HIGHEST_PORT:
            raise MalformedHeader("a port is no number from 0 to 65535")
    source, _ = _address(family, parts[2]), _address(family, parts[3])
    return source, length


def _address(family: bytes, written: bytes) -> str:
    text = written.decode("ascii", "replace")
    if "%" in text:
        raise MalformedHeader("a zone names an interface of the proxy's machine, and no client")
    try:
        return str(IPv4Address(text)) if family == b"TCP4" else _unmapped(IPv6Address(text))
    except ValueError:
        raise MalformedHeader(f"an address is not one of {family.decode()}") from None


def _unmapped(address: IPv6Address) -> str:
    return str(address.ipv4_mapped or address)


def _parse_binary(received: bytes) -> tuple[str, int] | None:
    if len(received) < _FIXED:
        return None
    version, command = received[12] >> 4, received[12] & 15
    if version != _VERSION_2 or command not in {_LOCAL, _PROXY}:
        raise MalformedHeader("the version should be 2, the command LOCAL or PROXY")
    family = received[13]
    size = int.from_bytes(received[14:16], "big")
    length = _FIXED + size
    if length > MOST_BYTES:
        raise MalformedHeader(f"the header is longer than {MOST_BYTES} bytes")
    if len(received) < length:
        return None
    if command == _LOCAL or family == _UNSPECIFIED:
        return "", length
    if family not in _SIZES or size < _SIZES[family]:
        raise MalformedHeader("the family should be TCP over IPv4, IPv6 or a Unix socket, with its addresses")
    if family == _UNIX:
        return "", length
    if family == _TCP4:
        return str(IPv4Address(received[16:20])), length
    return _unmapped(IPv6Address(received[16:32])), length


class ProxyPrelude(asyncio.Protocol):
    """Protocol of a connection whose PROXY header has not been read; the client connection's takes over after it.

    Attributes:
        deadline: The time at which ``expire`` is called; see :mod:`~gateway.wire.deadlines`.
    """

    def __init__(self, listener: Listener, peer: str) -> None:
        """`peer` is the address if the transport knows none, as that of a Unix socket."""
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._peer = peer
        self.deadline: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the header if the peer is one that writes it; else let the client connection begin at once."""
        self._transport = cast("asyncio.Transport", transport)
        name = transport.get_extra_info("peername")
        peer = self._peer or (str(name[0]) if isinstance(name, tuple) else "")
        listener = self._listener
        if listener.prefaced is None or not listener.prefaced(peer):
            self._hand_over(self._peer, b"")
            return
        if len(listener.open) + len(listener.preludes) >= listener.limits.connections:
            self._refuse("too_many_connections", "too many connections")
            return
        listener.preludes.add(self)
        deadlines = listener.deadlines
        deadlines.watched.add(self)
        self.deadline = deadlines.after(listener.limits.head_seconds)

    def data_received(self, data: bytes) -> None:
        """Read more of the header, and hand the connection over after its last byte."""
        self._received += data
        try:
            parsed = parse(self._received)
        except MalformedHeader as error:
            self._refuse("malformed", str(error))
            return
        if parsed is not None:
            address, length = parsed
            self._hand_over(address or self._peer, self._received[length:])

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's signature
        """Forget the connection: it ended before its header did."""
        self._leave()
        self._transport = None

    def expire(self) -> None:
        """End a connection whose header has not arrived in time."""
        self._refuse("timeout", "no whole PROXY header arrived in time")

    def abort(self) -> None:
        """Drop the connection; nothing has begun on it."""
        if self._transport is not None:
            self._transport.abort()

    def _refuse(self, reason: str, why: str) -> None:
        transport = self._transport
        self._leave()
        if transport is not None:
            name = transport.get_extra_info("peername")
            self._listener.unprefaced(reason, why, str(name[0]) if isinstance(name, tuple) else self._peer)
            transport.abort()

    def _hand_over(self, peer: str, rest: bytes) -> None:
        self._leave()
        transport = self._transport
        if transport is None:
            return
        self._transport = None
        connection = self._listener.connection(peer)
        transport.set_protocol(cast("asyncio.Protocol", connection))
        connection.connection_made(transport)
        if rest:
            connection.data_received(rest)

    def _leave(self) -> None:
        self._listener.preludes.discard(self)
        self._listener.deadlines.watched.discard(self)
        self.deadline = None
