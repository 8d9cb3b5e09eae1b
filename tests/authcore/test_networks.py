"""Client networks: which addresses are counted as one client."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authcore.networks import network

CARRYING = [IPv6Network(carrying) for carrying in ("::ffff:0:0/96", "64:ff9b::/96", "2002::/16")]


@pytest.mark.parametrize(
    ("address", "counted_as"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("64:ff9b::192.0.2.1", "192.0.2.1"),
        ("64:ff9b::c000:202", "192.0.2.2"),
        ("2002:c000:201:7::9", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", "unknown"),
        ("session", "unknown"),
        ("1.2.3", "unknown"),
    ],
)
def test_one_client_is_one_address(address: str, counted_as: str) -> None:
    assert network(address) == counted_as


@given(st.ip_addresses(v=6).map(str), st.integers(0, 2**64 - 1))
def test_a_network_is_counted_once_whatever_it_makes_up(address: str, interface: int) -> None:
    other = IPv6Address(int(IPv6Address(address)) >> 64 << 64 | interface)
    if not any(one in carrying for one in (IPv6Address(address), other) for carrying in CARRYING):
        assert network(str(other)) == network(address)


@given(st.text())
def test_any_text_is_some_address(text: str) -> None:
    assert network(text)
