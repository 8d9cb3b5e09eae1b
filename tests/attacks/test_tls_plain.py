"""HTTP without TLS to the TLS port, and TLS to the plain port: a clear answer, and nothing goes through."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

from tests.support.certificates import Authority
from tests.support.peers import Client
from tests.support.secured import GET, listener_of, until_failed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.peers import Upstream
    from tests.support.worlds import Start


@pytest.mark.parametrize("raw", [GET, b"get / HTTP/1.0\r\n\r\n", GET + b"x" * 200_000])
async def test_http_without_tls_is_400_on_the_tls_port(
    start: Start, tmp_path: Path, upstream: Upstream, raw: bytes
) -> None:
    gateway = await start(tls=listener_of(Authority(tmp_path).issue("gateway.example")))
    async with Client(gateway.address) as client:
        answer = await client.exchange(raw)
        assert answer.status == 400
        assert answer.json()["message"] == "This port speaks TLS; use https://"
    await until_failed(gateway, "plain_http")
    assert not upstream.seen


@pytest.mark.parametrize("raw", [b"\x00\x00", b"\xff" * 1000, b"\x80\x2e\x01\x00\x02"])
async def test_what_is_neither_is_closed(
    start: Start, tmp_path: Path, upstream: Upstream, raw: bytes
) -> None:
    gateway = await start(tls=listener_of(Authority(tmp_path).issue("gateway.example")))
    async with Client(gateway.address) as client:
        await client.send(raw)
        assert await client.closed() == b""
    await until_failed(gateway, "no_tls")
    assert not upstream.seen


async def test_tls_is_400_on_the_plain_port(start: Start, upstream: Upstream) -> None:
    gateway = await start()
    hello, incoming = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, hello, server_hostname="gateway.example").do_handshake()
    async with Client(gateway.address) as client:
        answer = await client.exchange(hello.read())
        assert answer.status == 400
        assert (await client.closed()) == b""
    assert not upstream.seen
