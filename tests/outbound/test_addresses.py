"""Addresses that outbound connections may lead to."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.outbound.addresses import AddressPolicy

PUBLIC = ("8.8.8.8", "140.82.112.3", "2606:4700::1111", "2a00:1450:4001:80b::200e", "::ffff:8.8.8.8")
NOT_PUBLIC = (
    *("127.0.0.1", "127.255.0.9", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "0.1.2.3"),
    *("169.254.169.254", "100.64.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.9"),
    *("224.0.0.1", "239.1.2.3", "240.0.0.1", "255.255.255.255"),
    *("::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12:3456::1", "fec0::1", "ff02::1", "2001:db8::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254"),
    *("64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a00:1::1"),
    *("localhost", "", "127.1", "2130706433", "0x7f.1", "/run/postgresql"),
)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_permitted(address: str) -> None:
    assert AddressPolicy().permits(address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert not AddressPolicy().permits(address)


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "fd00::1", "fd00::1%eth0"])
def test_a_named_network_permits_its_addresses_alone(address: str) -> None:
    policy = AddressPolicy([IPv4Network("10.1.0.0/16"), IPv6Network("fd00::/64")])
    assert policy.permits(address)
    assert not policy.permits("10.2.0.1")
    assert not policy.permits("fd00:1::1")
    assert not policy.permits("127.0.0.1")


@given(st.integers(0, (1 << 32) - 1))
def test_an_address_of_ipv4_in_one_of_ipv6_is_permitted_only_where_it_is_by_itself(number: int) -> None:
    plain, policy = IPv4Address(number), AddressPolicy()
    if policy.permits(str(plain)):
        return
    for carrier in (
        IPv6Address(0xFFFF << 32 | number),
        IPv6Address(0x64FF9B << 96 | number),
        IPv6Address(0x2002 << 112 | number << 80),
    ):
        assert not policy.permits(str(carrier)), carrier
