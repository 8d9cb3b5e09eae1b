"""Address policy of outbound connections: public addresses, and the networks that an operator names.

Laws:

- An address is public if the registries of IANA say so: no loopback, private, link-local, shared, documentation,
  benchmarking, reserved or multicast one (RFC 6890, RFC 4291). ``169.254.169.254``, which clouds answer at, is none.
- An IPv6 address that carries an IPv4 one (mapped, 6to4, NAT64 by RFC 6052) is judged by both.
- A named network permits its addresses however they are written.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv4Network

_NAT64: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
_LOW_32: Final = (1 << 32) - 1


class AddressPolicy:
    """Judge of the addresses that outbound connections lead to."""

    def __init__(self, private: Iterable[IPv4Network | IPv6Network] = ()) -> None:
        """Permit public addresses, and those of the networks `private`."""
        self._private = tuple(private)

    def permits(self, address: str) -> bool:
        """Return whether a connection may lead to `address`, an IP address as sockets write it."""
        try:
            parsed = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped  # the kernel connects to that one
        if any(parsed in network for network in self._private):
            return True
        return all(_is_public(one) for one in (parsed, *_carried(parsed)))


def _carried(address: IPv4Address | IPv6Address) -> Iterable[IPv4Address]:
    """Yield the IPv4 address that a translator or a tunnel takes an IPv6 address for."""
    if isinstance(address, IPv4Address):
        return
    if address.sixtofour is not None:
        yield address.sixtofour
    if any(address in network for network in _NAT64):
        yield IPv4Address(int(address) & _LOW_32)


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    # Python's tables differ between its versions (6to4 and NAT64 were public, and are not): what is public in one of
    # them is decided here by the embedded address as well.
    if isinstance(address, IPv6Address):
        if address.sixtofour is not None or address in _NAT64[0]:
            return True
        if address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved
