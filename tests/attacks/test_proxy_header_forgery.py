"""A PROXY header of somebody who is no proxy, and proxies that leave theirs out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.wire.proxy_protocol import SIGNATURE
from tests.support.calls import get
from tests.support.peers import Client, UnixClient

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.peers import Upstream
    from tests.support.worlds import Start

GET = get("/health")
LINE = b"PROXY TCP4 203.0.113.9 192.0.2.1 51234 443\r\n"
BINARY = SIGNATURE + b"\x21\x11\x00\x0c" + bytes([203, 0, 113, 9, 192, 0, 2, 1]) + b"\xc8\x22\x01\xbb"
LOOPBACK = {"protocol_from": "127.0.0.0/8"}


@pytest.mark.parametrize("header", [LINE, BINARY])
async def test_only_a_configured_network_may_write_the_clients_address(
    start: Start, upstream: Upstream, header: bytes
) -> None:
    trusting = await start(proxy=LOOPBACK)
    async with Client(trusting.address) as client:
        assert (await client.exchange(header + GET)).status == 200
        assert (await client.exchange(GET)).status == 200
    assert [seen.one("X-Real-IP") for seen in upstream.requests] == ["203.0.113.9"] * 2

    for gate in (await start(), await start(proxy={"protocol_from": "192.0.2.0/24"})):
        async with Client(gate.address) as client:
            assert (await client.exchange(header + GET)).status == 400
    assert len(upstream.requests) == 2


async def test_the_header_may_arrive_byte_by_byte(start: Start, upstream: Upstream) -> None:
    gate = await start(proxy=LOOPBACK)
    async with Client(gate.address) as client:
        for place in range(len(BINARY)):
            await client.send(BINARY[place : place + 1])
        assert (await client.exchange(GET)).status == 200
    assert upstream.requests[-1].one("X-Real-IP") == "203.0.113.9"


@pytest.mark.parametrize(
    "raw", [GET, b"PROXY TCP4 203.0.113.9\r\n" + GET, BINARY[:13] + b"\x12" + BINARY[14:] + GET]
)
async def test_a_proxy_without_a_good_header_is_cut_off_and_nothing_goes_up(
    start: Start, upstream: Upstream, raw: bytes
) -> None:
    gate = await start(proxy=LOOPBACK)
    async with Client(gate.address) as client:
        await client.send(raw)
        assert await client.closed() == b""
    assert upstream.requests == []
    page = gate.metrics.registry.get_sample_value(
        "gateway_proxy_protocol_refused_total", {"reason": "malformed"}
    )
    assert page == 1


async def test_a_header_that_does_not_end_has_a_deadline(start: Start) -> None:
    gate = await start(proxy=LOOPBACK, timeout={"head_seconds": 0.3})
    async with Client(gate.address) as client:
        await client.send(LINE[:20])
        assert await client.closed() == b""
    refused = gate.metrics.registry.get_sample_value(
        "gateway_proxy_protocol_refused_total", {"reason": "timeout"}
    )
    assert refused == 1


async def test_the_address_of_the_header_is_a_clients_and_no_proxys(start: Start, upstream: Upstream) -> None:
    """Believing the proxy's network says nothing of what its client claims."""
    gate = await start(proxy=LOOPBACK, trusted_proxies="127.0.0.0/8")
    async with Client(gate.address) as client:
        raw = LINE + get("/health", "X-Forwarded-For: 6.6.6.6", "X-Request-ID: evil-evil-1")
        assert (await client.exchange(raw)).status == 200
    seen = upstream.requests[-1]
    assert (seen.one("X-Forwarded-For"), seen.one("X-Real-IP")) == ("203.0.113.9", "203.0.113.9")
    assert seen.one("X-Request-ID") != "evil-evil-1"


async def test_a_unix_socket_is_read_for_it_only_if_that_is_set(
    start: Start, upstream: Upstream, tmp_path: Path
) -> None:
    await start(listen=f"unix:{tmp_path}/on.sock", proxy={"protocol_unix": True})
    async with UnixClient(tmp_path / "on.sock") as client:
        assert (await client.exchange(LINE + GET)).status == 200
    assert upstream.requests[-1].one("X-Real-IP") == "203.0.113.9"
    await start(listen=f"unix:{tmp_path}/off.sock", proxy=LOOPBACK)
    async with UnixClient(tmp_path / "off.sock") as client:
        assert (await client.exchange(LINE + GET)).status == 400
