"""Listener: which connections are counted as one client's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from authcore.networks import network
from gateway.wire.deadlines import Deadlines
from gateway.wire.downstream import DownstreamConnection
from gateway.wire.limits import ClientLimits
from gateway.wire.listener import Listener
from gateway.wire.write_buffer import WriteBatch

if TYPE_CHECKING:
    from gateway.wire.inbound import Inbound

LIMITS = ClientLimits(
    head_bytes=1024,
    fields=10,
    target_bytes=100,
    connections=100,
    connections_per_address=2,
    head_seconds=1,
    idle_seconds=1,
    body_seconds=1,
    write_seconds=1,
)


def listener() -> Listener:
    return Listener(nobody, LIMITS, Deadlines(), WriteBatch(lambda _: None), lambda _: False, network)


async def nobody(inbound: Inbound) -> None:
    raise AssertionError(inbound)


def connection(listening: Listener, peer: str) -> DownstreamConnection:
    one = DownstreamConnection(listening)
    one.peer = peer
    return one


def test_the_addresses_of_one_network_have_the_connections_of_one() -> None:
    listening = listener()
    whys = [
        listening.enter(connection(listening, f"2001:db8:1:2:{number}::{number}")) for number in range(1, 4)
    ]
    assert whys == [None, None, "too many connections from this network"]
    assert listening.enter(connection(listening, "2001:db8:1:3::1")) is None
    assert listening.enter(connection(listening, "192.0.2.1")) is None
    assert listening.enter(connection(listening, "::ffff:192.0.2.1")) is None
    assert listening.enter(connection(listening, "192.0.2.1")) is not None


def test_a_connection_that_ends_makes_room_for_another_address_of_the_network() -> None:
    listening = listener()
    first = connection(listening, "2001:db8:1:2::1")
    assert listening.enter(first) is None
    assert listening.enter(connection(listening, "2001:db8:1:2::2")) is None
    listening.leave(first)
    assert listening.enter(connection(listening, "2001:db8:1:2::3")) is None
    assert listening.enter(connection(listening, "2001:db8:1:2::4")) is not None
