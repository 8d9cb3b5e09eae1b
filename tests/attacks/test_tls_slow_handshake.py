"""Clients that begin a handshake and never end it: each has a deadline, and all together have room for so many."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from tests.support.certificates import Authority
from tests.support.peers import PATIENCE, Client
from tests.support.secured import GET, counted, listener_of, until_failed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.worlds import Start

HELLO_BEGUN = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"


@pytest.mark.parametrize("sent", [b"", HELLO_BEGUN], ids=["nothing", "half a ClientHello"])
async def test_a_handshake_that_does_not_end_is_closed_at_its_deadline(
    start: Start, tmp_path: Path, sent: bytes
) -> None:
    pair = Authority(tmp_path).issue("gateway.example")
    gateway = await start(tls=listener_of(pair, handshake_seconds=0.3))
    async with Client(gateway.address) as slow:
        await slow.send(sent)
        assert await slow.closed() == b""
    await until_failed(gateway, "timeout")
    assert counted(gateway, "gateway_connections_opened_total") == 0, "no limit of clients counted it"


async def test_slow_handshakes_leave_room_for_others(start: Start, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    gateway = await start(
        tls=listener_of(authority.issue("gateway.example"), handshakes=8, handshake_seconds=60)
    )
    async with AsyncExitStack() as stack:
        slow = [await stack.enter_async_context(Client(gateway.address)) for _ in range(20)]
        for client in slow:
            await client.send(HELLO_BEGUN)
        async with Client(gateway.address, authority.client()) as client:
            assert (await client.exchange(GET)).status == 200
        assert counted(gateway, "gateway_tls_handshakes_under_way") <= 8
        async with asyncio.timeout(PATIENCE):
            assert await slow[0].closed() == b"", "the oldest gave way"
