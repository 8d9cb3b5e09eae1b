"""Addresses as lookups return them: their version of IP, and whether a server can have them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

_LIMITED_BROADCAST: Final = "255.255.255.255"


def is_usable(address: str) -> bool:
    """Return whether a server can have `address`."""
    parsed = _parsed(address)
    return not (parsed.is_unspecified or parsed.is_multicast or str(parsed) == _LIMITED_BROADCAST)


def version_of(address: str) -> int:
    """Return the version of IP of `address`: 4 or 6."""
    return _parsed(address).version


def _parsed(address: str) -> IPv4Address | IPv6Address:
    return ip_address(address.partition("%")[0])
