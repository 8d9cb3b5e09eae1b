"""Times of attempts and of whole requests, over real sockets: what each one ends, and what it leaves alone."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import pytest

from tests.observe.scraping import reads
from tests.support.calls import ask, get, request
from tests.support.flaky import BUSY, CUT, EAGER, OK, Flaky
from tests.support.peers import PATIENCE, Client, Upstream, read_head
from tests.support.route_files import by_route_file

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.worlds import Start

UPLOAD = b"POST / HTTP/1.1\r\nHost: e\r\nContent-Length: %d\r\n\r\n"
SIZE = 64 << 20


async def passes(seconds: float) -> None:
    """Wait until so much of the gateway's time has passed, which runs on the same loop."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while loop.time() < until:
        await asyncio.sleep(0.01)


async def test_an_answer_that_has_begun_outlives_the_time_of_its_attempt(
    start: Start, upstream: Upstream
) -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(OK[:-1])
        await passes(1)
        writer.write(OK[-1:])
        await reader.read()

    upstream.script = slow
    gateway = await start(upstream={"retry_try_timeout_seconds": 0.3, **EAGER})
    assert (await ask(gateway, get("/"))).body == b"ok"


async def test_no_retry_begins_that_the_deadline_would_not_let_begin(
    start: Start, upstream: Upstream
) -> None:
    upstream.script = flaky = Flaky(BUSY.replace(b"\r\n\r\n", b"\r\nRetry-After: 9\r\n\r\n"), OK)
    policy = {"retry_when": ("503",), "retry_after_seconds": 10, "deadline_seconds": 5}
    gateway = await start(upstream={**EAGER, **policy})
    answer = await ask(gateway, get("/"))
    assert (answer.status, answer.body) == (503, b"busy")
    assert len(flaky.seen) == 1


async def test_the_deadline_of_a_request_that_has_ended_ends_no_other(
    start: Start, upstream: Upstream, tmp_path: Path
) -> None:
    async def one_of_two(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (await read_head(reader)).start.startswith(b"GET /long"):
            await passes(1)
            writer.write(OK)
            await reader.read()

    upstream.script = one_of_two
    gateway = await by_route_file(start, tmp_path)(
        f"""
        upstreams:
          one: {{url: "http://127.0.0.1:{upstream.port}"}}
        routes:
          - {{name: short, match: {{path: /short}}, auth: public, upstream: one, deadline_seconds: 0.5}}
          - {{name: long, match: {{path: /long}}, auth: public, upstream: one}}
        """
    )
    async with Client(gateway.address) as client:
        assert (await client.exchange(get("/short"))).status == 502
        assert (await client.exchange(get("/long"))).status == 200


async def test_waiting_for_an_upstream_is_no_time_of_an_attempt(start: Start, upstream: Upstream) -> None:
    gateway = await start(upstream={"wait_seconds": 30, "retry_try_timeout_seconds": 0.3, **EAGER})
    await upstream.__aexit__(None, None, None)
    waiting = asyncio.create_task(ask(gateway, get("/")))
    await reads(gateway, "gateway_upstream_awaiting", 1)
    await passes(1.5)
    async with Upstream(port=upstream.port, script=Flaky(OK)):
        assert (await asyncio.wait_for(waiting, PATIENCE)).status == 200


async def test_past_the_deadline_an_upstream_that_takes_no_body_is_late_itself(
    start: Start, upstream: Upstream
) -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        cast("asyncio.Transport", writer.transport).pause_reading()
        await asyncio.Event().wait()

    upstream.script = deaf
    gateway = await start(upstream={"deadline_seconds": 3}, limit={"body_bytes": 0})
    async with Client(gateway.address) as client:
        sending = asyncio.create_task(client.send(UPLOAD % SIZE + bytes(SIZE)))
        try:
            assert (await client.response()).status == 504
        finally:
            sending.cancel()
            with suppress(asyncio.CancelledError, ConnectionError):
                await sending


async def test_past_the_deadline_a_body_that_nobody_reads_is_not_late(
    start: Start, upstream: Upstream
) -> None:
    gateway = await start(upstream={"deadline_seconds": 0.5, "wait_seconds": 30})
    await upstream.__aexit__(None, None, None)
    async with Client(gateway.address) as client:
        await client.send(UPLOAD % 9 + b"hi")
        assert (await client.response()).status == 504


@pytest.mark.parametrize("policy", [{}, {"deadline_seconds": 30}], ids=["no-policy", "a-deadline-alone"])
async def test_a_get_with_a_body_is_not_sent_again_without_it(
    start: Start, upstream: Upstream, policy: dict[str, float]
) -> None:
    upstream.script = flaky = Flaky(OK, CUT, OK)
    gateway = await start(upstream={"connections": 1, **policy})
    assert (await ask(gateway, get("/"))).status == 200
    assert (await ask(gateway, request("GET", "/", body=b"hi"))).status == 502
    assert [message.body for message in flaky.seen] == [b"", b"hi"]
