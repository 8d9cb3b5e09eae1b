"""Slow peers: each waits for itself, none spoils it for the next, and no deadline is lost on the way."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.admin import readings
from tests.support.peers import PATIENCE, Client, read_head

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.app import Gateway
    from tests.support.peers import Upstream
    from tests.support.worlds import Start

GET = b"GET / HTTP/1.1\r\nHost: e\r\n\r\n"
REFUSED = b"GET /api HTTP/1.1\r\nHost: e\r\n\r\n"
MIB = 1 << 20


async def stalled(sent: Callable[[], int]) -> int:
    """Wait until nothing moves any more, and return how far it came."""
    before = -1
    async with asyncio.timeout(PATIENCE):
        while sent() == 0 or sent() != before:
            before = sent()
            await asyncio.sleep(0.3)
    return before


class Pushing:
    """Writes the same bytes again and again until it is stopped."""

    def __init__(self, client: Client, block: bytes) -> None:
        self.sent = 0
        self.task = asyncio.create_task(self._push(client, block))

    async def _push(self, client: Client, block: bytes) -> None:
        while True:
            await client.send(block)
            self.sent += len(block)

    def stop(self, client: Client) -> None:
        self.task.cancel()
        client.writer.transport.abort()


@pytest.mark.parametrize("size", range(2_900_000, 3_300_000, 50_000))
async def test_a_slow_client_leaves_a_connection_that_the_next_can_use(
    gateway: Gateway, upstream: Upstream, size: int
) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await read_head(reader)
            body = bytes(size) if b"/big" in head.start else b"ok"
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    upstream.script = script
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    narrow.setblocking(False)
    loop = asyncio.get_running_loop()
    with narrow:
        await loop.sock_connect(narrow, gateway.address)
        await loop.sock_sendall(narrow, b"GET /big HTTP/1.1\r\nHost: e\r\n\r\n")
        await asyncio.sleep(0.05)
        for _ in range(3):
            async with Client(gateway.address) as next_one:
                assert (await next_one.exchange(GET)).body == b"ok"


@pytest.mark.parametrize("rounds", [30])
async def test_an_upstream_that_accepts_and_closes_at_once_is_502(
    gateway: Gateway, upstream: Upstream, rounds: int
) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    upstream.script = script

    async def ask() -> int:
        async with Client(gateway.address) as client:
            return (await client.exchange(GET)).status

    for _ in range(rounds):
        assert set(await asyncio.gather(*(ask() for _ in range(6)))) == {502}


async def test_a_client_that_asks_and_never_reads_is_read_no_more(gateway: Gateway) -> None:
    async with Client(gateway.address) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport can
        pushing = Pushing(client, REFUSED * 1000)
        assert await stalled(lambda: pushing.sent) < 64 * MIB  # what the sockets' buffers hold
        pushing.stop(client)


async def test_a_client_that_asks_and_never_reads_is_dropped_in_time(
    start: Start,
) -> None:
    gateway = await start(timeout={"write_seconds": 0.5})
    async with Client(gateway.address) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport can
        pushing = Pushing(client, REFUSED * 1000)
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(pushing.task, PATIENCE)


async def test_requests_in_one_packet_are_not_parsed_all_at_once(client: Client, upstream: Upstream) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await asyncio.sleep(3600)

    upstream.script = script
    await client.send(GET + REFUSED * 50_000)
    await asyncio.sleep(0.3)
    import gc  # noqa: PLC0415 - the only way to see what is not there

    from gateway.wire.inbound import Inbound  # noqa: PLC0415

    gc.collect()  # of what earlier tests have left
    assert sum(isinstance(one, Inbound) for one in gc.get_objects()) < 300


async def test_other_clients_are_served_while_one_floods(gateway: Gateway) -> None:
    async with Client(gateway.address) as flood, Client(gateway.address) as other:
        await flood.send(REFUSED * 20_000)
        assert (await other.exchange(REFUSED)).status == 401
        for _ in range(20_000):
            assert (await flood.response()).status == 401


POST = b"POST / HTTP/1.1\r\nHost: e\r\nContent-Length: %d\r\n\r\n"


async def answers_and_reads_no_more(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_head(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport can
    await asyncio.sleep(3600)


async def keeps_its_connection(gateway: Gateway, client: Client, size: int) -> bool:
    """Upload that many bytes; True if the upstream connection that they filled may be used again."""
    await client.send(POST % size + bytes(size))
    assert (await client.response()).body == b"ok"
    return (await readings(gateway))['gateway_upstream_connections_idle{upstream="upstream"}'] == 1


async def is_held_back(client: Client) -> None:
    pushing = Pushing(client, bytes(1 << 18))
    assert await stalled(lambda: pushing.sent) < 64 * MIB
    pushing.stop(client)


async def test_an_upload_on_a_connection_that_is_all_but_full_is_held_back(
    start: Start, upstream: Upstream
) -> None:
    """The size of the sockets' buffers is the system's to decide, and is searched for."""
    # With one connection at most, it is used again though nothing is known yet of its upstream.
    one: dict[str, Any] = {"timeout": {"drain_seconds": 0.1}, "upstream": {"connections": 1}}
    upstream.script = answers_and_reads_no_more
    least, most, step = 0, 16 * MIB, 1 << 16
    while least + step < most:
        middle = (least + most) // 2
        gateway = await start(**one)
        async with Client(gateway.address) as client:
            kept = await keeps_its_connection(gateway, client, middle)
            client.writer.transport.abort()
        least, most = (middle, most) if kept else (least, middle)
    assert least > 0
    for size in range(least, 0, -step):
        gateway = await start(**one)
        async with Client(gateway.address) as client:
            if await keeps_its_connection(gateway, client, size):
                await client.send(POST % (400 * MIB))
                await is_held_back(client)
                return
    pytest.fail("no connection is used again")


async def test_a_request_that_waited_in_vain_leaves_the_line(start: Start, upstream: Upstream) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await asyncio.sleep(3600)

    upstream.script = script
    gateway = await start(
        upstream={"connections": 1, "pending": 2, "connect_timeout_seconds": 0.5},
        timeout={"drain_seconds": 0.1},
    )
    async with (
        Client(gateway.address) as busy,
        Client(gateway.address) as one,
        Client(gateway.address) as two,
    ):
        await busy.send(GET)
        async with asyncio.timeout(PATIENCE):
            while not upstream.seen:
                await asyncio.sleep(0.01)
        for _ in range(3):  # each time both places are free again
            assert [
                answer.status for answer in await asyncio.gather(one.exchange(GET), two.exchange(GET))
            ] == [503, 503]


async def test_a_connection_is_idle_after_a_slow_answer_too(start: Start, upstream: Upstream) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (12 * MIB) + bytes(12 * MIB))
        await reader.read()

    upstream.script = script
    gateway = await start(timeout={"idle_seconds": 0.5})
    async with Client(gateway.address) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport can
        await client.send(GET)
        await asyncio.sleep(1)  # slower than the idle deadline, which is not about this
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert len((await client.response()).body) == 12 * MIB
        assert await client.closed() == b""


async def test_answers_that_are_still_to_be_taken_outlast_the_linger(gateway: Gateway) -> None:
    async with Client(gateway.address) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport can
        await client.send(REFUSED * 16_000 + b"garbage\r\n\r\n")
        await asyncio.sleep(3.5)
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert [(await client.response()).status for _ in range(16_000)] == [401] * 16_000
        assert (await client.response()).status == 400


async def test_a_refused_upload_is_read_for_as_long_as_it_comes(start: Start) -> None:
    gateway = await start(limit={"body_bytes": 1000})
    async with Client(gateway.address) as client:
        await client.send(b"POST /health HTTP/1.1\r\nHost: e\r\nContent-Length: 100000000\r\n\r\n")
        for _ in range(35):  # longer than the linger without a byte
            await asyncio.sleep(0.1)
            await client.send(b"z" * 10_000)
        assert (await client.response()).status == 413


async def test_an_upload_behind_an_early_head_is_not_silence(start: Start, upstream: Upstream) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        await reader.readexactly(20)
        writer.write(b"ok")

    upstream.script = script
    gateway = await start(upstream={"body_timeout_seconds": 0.5})
    async with Client(gateway.address) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: e\r\nContent-Length: 20\r\n\r\n")
        for _ in range(20):
            await client.send(b"z")
            await asyncio.sleep(0.08)
        assert (await client.response()).body == b"ok"


@pytest.mark.parametrize("count", [40, 150, 500])
async def test_a_client_that_half_closed_still_gets_the_answers_that_were_finished(
    gateway: Gateway, count: int
) -> None:
    # The end of what a client sends is taken for the client's, but not before it has what was served by then.
    async with Client(gateway.address) as client:
        client.writer.write(REFUSED * count)
        client.writer.write_eof()
        answers = (await client.closed()).count(b"HTTP/1.1 401 ")
    (said,) = (value for name, value in (await readings(gateway)).items() if 'status="401"' in name)
    assert answers == said
