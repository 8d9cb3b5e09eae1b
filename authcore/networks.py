"""Client networks: which addresses are counted as one client.

Law: this is the one place that decides it. Counters, queues and connection limits all ask here.
"""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import Final

_V6_PREFIX: Final = 64
"""What one customer is given at least (RFC 6177): counting single addresses of it would count nothing."""
_V6_MASK: Final = (1 << 128) - (1 << (128 - _V6_PREFIX))

UNKNOWN: Final = "unknown"
"""The one network of all that is no address."""


def network(address: str) -> str:
    """Return the network of an address: of IPv4 the address, of IPv6 its /64, of anything else :data:`UNKNOWN`."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return UNKNOWN
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{IPv6Address(int(parsed) & _V6_MASK)}/{_V6_PREFIX}"
