"""Ends of TLS connections: what came before an end arrives, the other side hears of it, and no end takes for ever."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from tests.support.at_once import close_at_once, connected, read_a_head, read_to_the_end, serving
from tests.support.certificates import Authority
from tests.support.peers import PATIENCE, Client, Upstream, read_head
from tests.support.secured import RawTls, listener_of
from tests.support.sockets import ASK, BINARY, CLOSE, SWITCH, Far, frame

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from gateway.app import Gateway
    from tests.support.worlds import Start

T = TypeVar("T")
MIB = 1 << 20
CLOSING = b"GET /%d HTTP/1.1\r\nHost: gateway.example\r\nConnection: close\r\n\r\n"
BODIES = range(4_000_000, 6_400_000, 100_000)
"""Sizes of bodies: whether the end is near when reading is paused depends on what the system's buffers take."""
MESSAGES = range(120_000, 1_500_000, 100_000)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def towards(port: int, authority: Authority, **more: Any) -> dict[str, Any]:
    # Of many handshakes at once the last one may take long.
    return {
        "url": f"https://127.0.0.1:{port}",
        "tls_ca_file": str(authority.file),
        "connect_timeout_seconds": PATIENCE,
        **more,
    }


def asked_size(peer: socket.socket) -> int:
    """Read the head of a request for ``/size``."""
    return int(read_a_head(peer).split(b" ")[1][1:])


async def of_each(ask: Callable[[int], T], sizes: Sequence[int]) -> list[T]:
    """Call `ask` with every size at a time, in threads."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(len(sizes)) as pool:
        return await asyncio.gather(*(loop.run_in_executor(pool, ask, size) for size in sizes))


async def tunnels(gateway: Gateway) -> float:
    return gateway.metrics.registry.get_sample_value("gateway_tunnels") or 0.0


# -- what came before the end -------------------------------------------------------------------------------------


@pytest.mark.parametrize("framed", [True, False], ids=["by its length", "by the close"])
async def test_a_body_whose_upstream_closes_at_once_reaches_a_slow_client_whole(
    start: Start, authority: Authority, framed: bool
) -> None:
    def serve(peer: socket.socket) -> None:
        size = asked_size(peer)
        length = b"Content-Length: %d\r\n" % size if framed else b""
        peer.sendall(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n" + b"x" * size)
        close_at_once(peer)

    def ask(size: int) -> tuple[int, bool]:
        with connected(gateway.address) as client:
            client.sendall(CLOSING % size)
            time.sleep(1.2)  # the upstream closes while the client takes nothing
            _, _, body = read_to_the_end(client).partition(b"\r\n\r\n")
        return body.count(b"x"), framed or body.endswith(b"\r\n0\r\n\r\n")

    with serving(serve, authority.server("127.0.0.1")) as port:
        gateway = await start(upstream=towards(port, authority))
        taken = await of_each(ask, BODIES)
    assert taken == [(size, True) for size in BODIES]


@pytest.mark.parametrize("number", [3_000, 30_000])
async def test_tiny_chunks_whose_upstream_closes_at_once_arrive_whole(
    start: Start, authority: Authority, number: int
) -> None:
    def serve(peer: socket.socket) -> None:
        read_a_head(peer)
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        peer.sendall(head + b"1\r\nx\r\n" * number + b"0\r\n\r\n")
        close_at_once(peer)

    with serving(serve, authority.server("127.0.0.1")) as port:
        gateway = await start(upstream=towards(port, authority))
        async with Client(gateway.address) as client:
            await client.send(CLOSING % number)
            assert len((await client.response()).body) == number


async def test_a_close_delimited_body_over_tls_without_a_close_notify_is_never_taken_as_whole(
    start: Start, authority: Authority
) -> None:
    """The bytes read at the end prove nothing."""

    def serve(peer: socket.socket) -> None:
        size = asked_size(peer)
        peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * size)
        close_at_once(peer, farewell=False)

    with serving(serve, authority.server("127.0.0.1")) as port:
        gateway = await start(upstream=towards(port, authority))
        for size in MESSAGES:
            async with Client(gateway.address) as client:
                await client.send(CLOSING % size)
                await read_head(client.reader)
                rest = await client.closed()
            assert rest.count(b"x") == size
            assert not rest.endswith(b"\r\n0\r\n\r\n")


async def test_a_websockets_last_message_arrives_from_an_upstream_that_closes_at_once(
    start: Start, authority: Authority
) -> None:
    def serve(peer: socket.socket) -> None:
        size = asked_size(peer)
        peer.sendall(SWITCH)
        peer.sendall(frame(b"x" * size, BINARY, masked=False) + frame(b"\x03\xe8", CLOSE, masked=False))
        close_at_once(peer)

    with serving(serve, authority.server("127.0.0.1")) as port:
        gateway = await start(upstream=towards(port, authority))
        for size in MESSAGES:
            async with Client(gateway.address) as client:
                await client.send(ASK.replace(b"/chat", b"/%d" % size))
                await read_head(client.reader)
                rest = await client.closed()
            assert rest.count(b"x") == size
            assert rest.endswith(frame(b"\x03\xe8", CLOSE, masked=False))


async def test_a_websockets_last_message_arrives_from_a_client_that_closes_at_once(
    start: Start, authority: Authority
) -> None:
    received: list[bytes] = []

    def serve(peer: socket.socket) -> None:
        read_a_head(peer)
        peer.sendall(SWITCH)
        received.append(read_to_the_end(peer))

    def talk(size: int) -> bytes:
        said = b"\x82\xff" + size.to_bytes(8, "big") + bytes(4) + b"x" * size + frame(b"\x03\xe8", CLOSE)
        client = connected(gateway.address, context)
        client.sendall(ASK)
        read_a_head(client)
        client.sendall(said)
        close_at_once(client)
        return said

    context = authority.client()
    with serving(serve) as port:
        gateway = await start(
            tls=listener_of(authority.issue("gateway.example")), upstream={"url": f"http://127.0.0.1:{port}"}
        )
        said = [await asyncio.to_thread(talk, size) for size in MESSAGES]
        async with asyncio.timeout(PATIENCE):
            while len(received) < len(said):
                await asyncio.sleep(0.01)
    assert sorted(received, key=len) == said


# -- an end of one side -------------------------------------------------------------------------------------------


@pytest.fixture
async def secured(authority: Authority) -> AsyncIterator[Upstream]:
    """An upstream that speaks TLS."""
    async with Upstream(tls=authority.server("127.0.0.1")) as one:
        yield one


async def test_an_upstream_with_tls_hears_that_a_plain_websockets_client_has_left(
    start: Start, authority: Authority, secured: Upstream
) -> None:
    far = Far()
    secured.script = far.script
    gateway = await start(upstream=towards(secured.port, authority))
    async with Client(gateway.address) as client:
        await client.send(ASK)
        await read_head(client.reader)
    await asyncio.wait_for(far.ended.wait(), PATIENCE)
    async with asyncio.timeout(PATIENCE):
        while await tunnels(gateway):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("speaks", ["TLS", "plain HTTP"])
async def test_a_client_with_tls_hears_that_its_websockets_upstream_has_left(
    start: Start, authority: Authority, speaks: str
) -> None:
    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(SWITCH + frame(b"hi", masked=False))

    async with Upstream(leave, tls=authority.server("127.0.0.1") if speaks == "TLS" else None) as upstream:
        url = towards(upstream.port, authority)
        if speaks != "TLS":
            url = {"url": f"http://127.0.0.1:{upstream.port}"}
        gateway = await start(tls=listener_of(authority.issue("gateway.example")), upstream=url)
        async with Client(gateway.address, authority.client()) as client:
            await client.send(ASK)
            await read_head(client.reader)
            assert await client.closed() == frame(b"hi", masked=False)


# -- time for the end ---------------------------------------------------------------------------------------------


async def of_size(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An upstream's script: it answers ``/size`` with a body of that size."""
    size = int((await read_head(reader)).start.split(b" ")[1][1:])
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
    await writer.drain()


async def test_a_client_with_tls_that_pauses_gets_its_last_answer_whole(
    start: Start, authority: Authority, upstream: Upstream
) -> None:
    def ask(size: int) -> int:
        with connected(gateway.address, context) as client:
            client.sendall(CLOSING % size)
            time.sleep(4)  # longer than a close_notify is waited for
            _, _, body = read_to_the_end(client).partition(b"\r\n\r\n")
        return len(body)

    upstream.script = of_size
    context = authority.client()
    gateway = await start(tls=listener_of(authority.issue("gateway.example")))
    taken = await of_each(ask, BODIES)
    assert taken == list(BODIES)


@pytest.mark.parametrize("closing", [True, False], ids=["its last answer", "an answer"])
async def test_a_client_with_tls_that_takes_an_answer_slowly_gets_it_whole(
    start: Start, authority: Authority, upstream: Upstream, closing: bool
) -> None:
    """The transport's own buffer may hold still meanwhile, and so is no measure of what was taken."""

    def ask(size: int) -> int:
        with connected(gateway.address, context) as client:
            client.sendall(CLOSING % size if closing else (CLOSING % size).replace(b"close", b"keep-alive"))
            read_a_head(client)
            taken = 0
            for _ in range(20):
                time.sleep(0.2)
                taken += len(client.recv(16_384))
            while taken < size and (piece := client.recv(65_536)):
                taken += len(piece)
        return taken

    upstream.script = of_size
    context = authority.client()
    gateway = await start(tls=listener_of(authority.issue("gateway.example")), timeout={"write_seconds": 1})
    assert await of_each(ask, BODIES) == list(BODIES)


async def test_a_client_with_tls_that_takes_nothing_of_its_last_answer_is_dropped_in_time(
    start: Start, authority: Authority, upstream: Upstream
) -> None:
    upstream.script = of_size
    gateway = await start(tls=listener_of(authority.issue("gateway.example")), timeout={"write_seconds": 0.5})
    for size in (8 * MIB, 4 * MIB):
        with await asyncio.to_thread(connected, gateway.address, authority.client()) as client:
            client.sendall(CLOSING % size)
            await until_left(gateway)


@pytest.mark.parametrize("asks", [CLOSING % 10, ASK], ids=["an answer", "a WebSocket"])
async def test_a_client_that_says_no_close_notify_is_dropped_once_it_has_taken_everything(
    start: Start, authority: Authority, upstream: Upstream, asks: bytes
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if asks == ASK:
            await read_head(reader)
            writer.write(SWITCH)
        else:
            await of_size(reader, writer)

    upstream.script = answer
    gateway = await start(tls=listener_of(authority.issue("gateway.example")))
    async with Client(gateway.address) as client:
        raw = RawTls(authority.client())
        await raw.shake_hands(client)
        await client.send(raw.record(asks))
        await client.closed()
        await until_left(gateway)


async def until_left(gateway: Gateway) -> None:
    """Wait until clients have come and none is connected."""

    def counted(name: str) -> float:
        return gateway.metrics.registry.get_sample_value(name) or 0.0

    async with asyncio.timeout(PATIENCE):
        while counted("gateway_connections") or not counted("gateway_connections_opened_total"):
            await asyncio.sleep(0.01)
