"""The stages of the end: unready and still serving, closed, told one after the other, dropped, or all at once."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any

import pytest

from gateway.draining import POLL_SECONDS, _Stagger
from tests.support.admin import readiness_says
from tests.support.calls import GET
from tests.support.peers import PATIENCE, Client, read_head
from tests.support.processes import serving
from tests.support.sockets import ASK, echoing

if TYPE_CHECKING:
    from tests.support.peers import Upstream

HOUR = "3600"
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n"


async def test_during_the_delay_it_is_unready_and_serves_and_says_close(upstream: Upstream) -> None:
    async with (
        serving(upstream, GATEWAY_TIMEOUT_DRAIN_DELAY_SECONDS=HOUR) as (process, address, admin),
        Client(address) as kept,
    ):
        assert (await kept.exchange(GET)).one("Connection") is None
        process.send_signal(signal.SIGTERM)
        await readiness_says(admin, b"draining")
        answer = await kept.exchange(GET)  # the connection that rested is as good as a new one
        assert (answer.status, answer.one("Connection")) == (200, "close")
        assert await kept.closed() == b""
        for _ in range(3):
            async with Client(address) as new:
                answer = await new.exchange(GET)
                assert (answer.status, answer.one("Connection")) == (200, "close")
        assert process.returncode is None


@pytest.mark.parametrize("workers", [(), ("--workers", "2")], ids=["one", "workers"])
async def test_a_second_signal_waits_for_nothing(upstream: Upstream, workers: tuple[str, ...]) -> None:
    async def never(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()
        await asyncio.Event().wait()

    upstream.script = never
    settings: dict[str, Any] = {
        "GATEWAY_TIMEOUT_DRAIN_DELAY_SECONDS": HOUR,
        "GATEWAY_TIMEOUT_DRAIN_SECONDS": HOUR,
    }
    async with serving(upstream, *workers, **settings) as (process, address, admin):
        await readiness_says(admin, b'"listening":"ok"', 2 if workers else 1)
        async with Client(address) as client:
            await client.send(GET)
            process.send_signal(signal.SIGTERM)
            await readiness_says(admin, b"draining", 2 if workers else 1)
            assert process.returncode is None
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), PATIENCE) == 0


async def test_ctrl_c_skips_the_delay(upstream: Upstream) -> None:
    async with serving(upstream, GATEWAY_TIMEOUT_DRAIN_DELAY_SECONDS=HOUR) as (process, _, _):
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), PATIENCE) == 0


async def test_an_event_stream_is_ended_whole_and_a_download_is_broken_off(upstream: Upstream) -> None:
    upstream_told = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        kind = EVENTS if b"/events" in head.start else EVENTS.replace(b"text/event-stream", b"video/mp4")
        writer.write(kind)
        if kind is EVENTS:
            await reader.read()
            upstream_told.set()
        else:
            await asyncio.Event().wait()

    upstream.script = script
    async with (
        serving(upstream, GATEWAY_TIMEOUT_DRAIN_SECONDS="2") as (process, address, _),
        Client(address) as listening,
        Client(address) as downloading,
    ):
        await listening.send(GET.replace(b"GET /", b"GET /events"))
        await downloading.send(GET)
        for client in (listening, downloading):
            assert (await read_head(client.reader)).status == 200
            assert await client.reader.readexactly(14) == b"9\r\ndata: 1\n\n\r\n"
        process.send_signal(signal.SIGTERM)
        assert await listening.closed() == b"0\r\n\r\n"
        assert await downloading.closed() == b"", "half a film must not look like a whole one"
        await asyncio.wait_for(upstream_told.wait(), PATIENCE)
        assert await asyncio.wait_for(process.wait(), PATIENCE) == 0


async def test_open_sockets_do_not_keep_the_gateway(upstream: Upstream) -> None:
    upstream.script = echoing()
    async with (
        serving(upstream, GATEWAY_TIMEOUT_DRAIN_SECONDS=HOUR) as (process, address, _),
        Client(address) as one,
    ):
        await one.send(ASK)
        assert (await read_head(one.reader)).status == 101
        process.send_signal(signal.SIGTERM)
        # 1001, going away.
        assert await asyncio.wait_for(one.reader.readexactly(4), PATIENCE) == b"\x88\x19\x03\xe9"
        await one.closed()
        assert await asyncio.wait_for(process.wait(), PATIENCE) == 0


class Sitting:
    def __init__(self, told: list[Sitting]) -> None:
        self._told = told

    def leave(self) -> None:
        self._told.append(self)


def test_connections_are_told_of_the_end_evenly_and_each_once() -> None:
    told: list[Sitting] = []
    sitting = [Sitting(told) for _ in range(100)]
    stagger = _Stagger(lambda: sitting, 10, 20)
    stagger.tell(9.99)
    assert told == []
    counts = []
    for turn in range(int(10 / POLL_SECONDS)):
        stagger.tell(10 + turn * POLL_SECONDS)
        counts.append(len(told))
    assert counts[-1] == 100 == len(set(told))
    steps = [after - before for before, after in zip([0, *counts], counts, strict=False)]
    assert max(steps) == 1, "a trickle, not a flood"


def test_a_late_connection_is_told_of_the_end_and_at_the_end_all_are() -> None:
    told: list[Sitting] = []
    sitting = [Sitting(told) for _ in range(10)]
    stagger = _Stagger(lambda: sitting, 0, 10)
    stagger.tell(5)
    sitting.append(Sitting(told))
    stagger.tell(10)
    assert set(told) == set(sitting)
