"""Client networks: which addresses are counted as one client.

Law: this is the one place that decides it. Counters, queues and connection limits all ask here.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

_V6_PREFIX: Final = 64
"""What one customer is given at least (RFC 6177): counting single addresses of it would count nothing."""
_V6_MASK: Final = (1 << 128) - (1 << (128 - _V6_PREFIX))

_NAT64: Final = IPv6Network("64:ff9b::/96")
"""RFC 6052 section 2.1: a translator in front of servers has every IPv4 client in this one /64."""
_LOW_32: Final = (1 << 32) - 1

UNKNOWN: Final = "unknown"
"""The one network of all that is no address."""


def network(address: str) -> str:
    """Return the network of an address: of IPv4 the address, of IPv6 its /64, of anything else :data:`UNKNOWN`.

    An IPv6 address that carries an IPv4 one (mapped, 6to4, NAT64) is that one's.
    """
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return UNKNOWN
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    carried = parsed.ipv4_mapped or parsed.sixtofour
    if carried is not None:
        return str(carried)
    if parsed in _NAT64:
        return str(IPv4Address(int(parsed) & _LOW_32))
    return f"{IPv6Address(int(parsed) & _V6_MASK)}/{_V6_PREFIX}"
