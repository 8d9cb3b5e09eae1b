"""PROXY headers: both versions, however their bytes arrive."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.proxy_protocol import MOST_BYTES, SIGNATURE, MalformedHeader, parse

IPV4 = st.ip_addresses(v=4).map(lambda address: IPv4Address(int(address)))
IPV6 = st.ip_addresses(v=6).map(lambda address: IPv6Address(int(address)))
PORT = st.integers(0, 65_535)


def text(source: object, target: object, from_port: int, to_port: int) -> bytes:
    family = "TCP4" if isinstance(source, IPv4Address) else "TCP6"
    return f"PROXY {family} {source} {target} {from_port} {to_port}\r\n".encode()


def binary(
    source: IPv4Address | IPv6Address, from_port: int, tlvs: bytes = b"", command: int = 0x21
) -> bytes:
    family = 0x11 if source.version == 4 else 0x21
    addresses = source.packed + source.packed + from_port.to_bytes(2, "big") + b"\x00\x50" + tlvs
    return SIGNATURE + bytes([command, family]) + len(addresses).to_bytes(2, "big") + addresses


def shown(address: IPv4Address | IPv6Address) -> str:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


@given(st.one_of(st.tuples(IPV4, IPV4), st.tuples(IPV6, IPV6)), PORT, PORT, st.binary(max_size=20))
def test_a_line_of_version_1_names_its_source(
    pair: tuple[IPv4Address, IPv4Address] | tuple[IPv6Address, IPv6Address], one: int, two: int, rest: bytes
) -> None:
    source, target = pair
    header = text(source, target, one, two)
    assert parse(header + rest) == (shown(source), len(header))
    for end in range(1, len(header)):
        assert parse(header[:end]) is None


@given(st.one_of(IPV4, IPV6), PORT, st.binary(max_size=60), st.binary(max_size=20))
def test_a_header_of_version_2_names_its_source_and_its_tlvs_are_skipped(
    source: IPv4Address | IPv6Address, port: int, tlvs: bytes, rest: bytes
) -> None:
    header = binary(source, port, tlvs)
    assert parse(header + rest) == (shown(source), len(header))
    for end in range(1, len(header)):
        assert parse(header[:end]) is None


@given(st.binary(min_size=1, max_size=300))
def test_any_bytes_are_a_header_or_refused_or_too_few(received: bytes) -> None:
    try:
        parsed = parse(received)
    except MalformedHeader:
        return
    assert parsed is None or parsed[1] <= len(received)


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n",
        SIGNATURE + b"\x20\x00\x00\x00",
        SIGNATURE + b"\x20\x11\x00\x0c" + bytes(12),
        SIGNATURE + b"\x21\x00\x00\x03abc",
        SIGNATURE + b"\x21\x31\x00\xd8" + bytes(216),
    ],
)
def test_a_header_without_an_address_leaves_the_peers(header: bytes) -> None:
    assert parse(header) == ("", len(header))


@pytest.mark.parametrize(
    "received",
    [
        b"GET / HTTP/1.1\r\n",
        b"\r\n\r\n\x00\r\nQUIT!",
        b"proxy TCP4 1.1.1.1 1.1.1.1 1 1\r\n",
        b"PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n",
        b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1 1\r\n",
        b"PROXY TCP4  1.1.1.1 1.1.1.1 1 1\r\n",
        b"PROXY TCP4 1.1.1.1 ::1 1 1\r\n",
        b"PROXY TCP4 ::1 ::1 1 1\r\n",
        b"PROXY TCP4 01.1.1.1 1.1.1.1 1 1\r\n",
        b"PROXY TCP6 fe80::1%eth0 ::1 1 1\r\n",
        b"PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n",
        b"PROXY TCP4 1.1.1.1 1.1.1.1 -1 1\r\n",
        b"PROXY TCP4 1.1.1.1 1.1.1.1 65536 1\r\n",
        b"PROXY UDP4 1.1.1.1 1.1.1.1 1 1\r\n",
        b"PROXY UNKNOWN " + b"x" * 100,
        SIGNATURE + b"\x11\x11\x00\x0c" + bytes(12),
        SIGNATURE + b"\x22\x11\x00\x0c" + bytes(12),
        SIGNATURE + b"\x21\x12\x00\x0c" + bytes(12),
        SIGNATURE + b"\x21\x11\x00\x0b" + bytes(11),
        SIGNATURE + b"\x21\x21\x00\x0c" + bytes(12),
        SIGNATURE + b"\x21\x11" + (MOST_BYTES - 15).to_bytes(2, "big"),
    ],
)
def test_what_is_no_header_is_refused(received: bytes) -> None:
    with pytest.raises(MalformedHeader):
        parse(received)
