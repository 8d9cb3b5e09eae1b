"""Origins: who is believed, and what the upstream is told."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.proxy.forwarded import Origins
from gateway.wire.messages import RequestHead


def head_of(*lines: tuple[bytes, bytes]) -> RequestHead:
    head = RequestHead(method=b"GET", target=b"/", fields=[(b"Host", b"gateway.test"), *lines])
    head.index()
    return head


PRIVATE = Origins([ip_network("10.0.0.0/8"), ip_network("fd00::/8")])


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [
        *(
            ("10.1.2.3", True),
            ("11.1.2.3", False),
            ("::ffff:10.1.2.3", True),
            ("::ffff:11.1.2.3", False),
            ("fd00::1", True),
        ),
        *(
            ("fe80::1%eth0", False),
            ("fd00::1%eth0", True),
            ("::1", False),
            ("", False),
            ("nonsense", False),
            ("10.1.2", False),
        ),
    ],
)
def test_a_peer_is_trusted_by_its_address(peer: str, trusted: bool) -> None:
    assert PRIVATE.trusts(peer) is trusted
    assert Origins([]).trusts(peer) is False
    read = PRIVATE.read(head_of((b"X-Forwarded-For", b"203.0.113.7")), peer)
    assert (read.client == "203.0.113.7") is trusted


@given(st.lists(st.binary(max_size=60), max_size=4), st.sampled_from(["10.0.0.1", "11.0.0.1"]))
def test_whatever_is_claimed_what_is_told_is_addresses_on_one_line(claims: list[bytes], peer: str) -> None:
    read = PRIVATE.read(head_of(*((b"X-Forwarded-For", claim) for claim in claims)), peer)
    lines = read.lines.split(b"\r\n")
    assert lines.pop() == b""
    told = dict(line.split(b": ", 1) for line in lines)
    assert len(told) == len(lines)
    hops = told[b"X-Forwarded-For"].decode().split(", ")
    assert hops[-1] == peer
    assert [str(ip_address(hop)) for hop in hops] == hops
    assert told[b"X-Real-IP"].decode() == read.client == hops[0]
    assert set(told) == {b"X-Forwarded-For", b"X-Real-IP", b"X-Forwarded-Proto", b"X-Forwarded-Host"}


@given(st.binary(max_size=140))
def test_a_request_id_is_believed_of_a_trusted_peer_and_in_one_form_only(claim: bytes) -> None:
    believed = PRIVATE.read(head_of((b"X-Request-ID", claim)), "10.0.0.1").request_id
    assert believed in (claim, None)
    assert all(chr(byte).isalnum() or byte in b"._-" for byte in believed or b"")
    assert PRIVATE.read(head_of((b"X-Request-ID", b"trace-0001")), "10.0.0.1").request_id == b"trace-0001"
    assert PRIVATE.read(head_of((b"X-Request-ID", b"trace-0001")), "11.0.0.1").request_id is None


def test_a_1_0_request_without_a_host_is_told_without_one() -> None:
    head = RequestHead(method=b"GET", target=b"/", minor=0)
    head.index()
    assert b"X-Forwarded-Host" not in PRIVATE.read(head, "11.0.0.1").lines
