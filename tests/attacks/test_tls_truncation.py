"""TLS records that are cut off or broken: nothing of them is taken for a request, and the listener goes on."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

from tests.support.certificates import Authority
from tests.support.peers import Client
from tests.support.secured import GET, RawTls, listener_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.peers import Upstream
    from tests.support.worlds import Start

POST = b"POST / HTTP/1.1\r\nHost: gateway.example\r\nContent-Length: 10\r\n\r\n12345"


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("harm", ["cut off", "changed", "repeated", "too long", "in clear"])
async def test_a_broken_record_ends_the_connection(
    start: Start, tmp_path: Path, upstream: Upstream, harm: str, version: str
) -> None:
    authority = Authority(tmp_path)
    gateway = await start(tls=listener_of(authority.issue("gateway.example")))
    async with Client(gateway.address) as client:
        raw = RawTls(authority.client(highest=version))
        await raw.shake_hands(client)
        record = raw.record(GET)
        if harm == "cut off":
            await client.send(record[:-3])
            client.writer.write_eof()
        elif harm == "changed":
            await client.send(record[:-3] + bytes([record[-3] ^ 1]) + record[-2:])
        elif harm == "repeated":
            begun = raw.record(POST)
            await client.send(record + begun + begun)
        elif harm == "too long":
            await client.send(record[:3] + b"\xff\xff" + b"x" * 65_535)
        else:
            await client.send(GET)
        await client.closed()
    seen = [request.start for request in upstream.requests]
    assert seen == [] or (harm == "repeated" and seen == [b"GET / HTTP/1.1"])
    async with Client(gateway.address, authority.client()) as client:
        assert (await client.exchange(GET)).status == 200


@pytest.mark.parametrize("farewell", [True, False], ids=["close_notify", "a FIN alone"])
async def test_a_request_that_is_cut_off_is_never_whole(
    start: Start, tmp_path: Path, upstream: Upstream, farewell: bool
) -> None:
    authority = Authority(tmp_path)
    gateway = await start(tls=listener_of(authority.issue("gateway.example")))
    async with Client(gateway.address) as client:
        raw = RawTls(authority.client())
        await raw.shake_hands(client)
        await client.send(raw.record(POST))
        if farewell:
            with pytest.raises(ssl.SSLWantReadError):
                raw.secured.unwrap()
            await client.send(raw.outgoing.read())
        client.writer.write_eof()
        await client.closed()
    assert not upstream.requests
