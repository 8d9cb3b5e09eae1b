"""Retries over real sockets: what the upstream saw, what the client saw, and that nothing unsafe is sent twice."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import pytest

from gateway.proxy.attempts import Attempts
from gateway.proxy.exchange import Exchange
from tests.observe.scraping import reads, scraped, value
from tests.support.calls import ask, get, request
from tests.support.flaky import BUSY, CUT, EAGER, OK, PARTIAL, SILENCE, Flaky
from tests.support.peers import PATIENCE, Client, Upstream, read_body, read_head

if TYPE_CHECKING:
    from tests.support.worlds import Start


async def test_a_status_that_is_named_is_tried_again(start: Start, upstream: Upstream) -> None:
    upstream.script = flaky = Flaky(BUSY, BUSY, OK)
    gateway = await start(upstream={"retry_when": ("503",), **EAGER})
    assert (await ask(gateway, get("/"))).body == b"ok"
    assert len(flaky.seen) == 3


async def test_the_last_attempts_answer_is_the_clients(start: Start, upstream: Upstream) -> None:
    upstream.script = flaky = Flaky(BUSY)
    gateway = await start(upstream={"retry_when": ("503",), "retry_attempts": 3, **EAGER})
    answer = await ask(gateway, get("/"))
    assert (answer.status, answer.body) == (503, b"busy")
    assert len(flaky.seen) == 3


@pytest.mark.parametrize("when", [("502",), ("reset",), ("stale",), ("off",)])
async def test_a_status_that_is_not_named_is_not(start: Start, upstream: Upstream, when: tuple[str]) -> None:
    upstream.script = flaky = Flaky(BUSY, OK)
    gateway = await start(upstream={"retry_when": when, **EAGER})
    assert (await ask(gateway, get("/"))).status == 503
    assert len(flaky.seen) == 1


@pytest.mark.parametrize("when", [("reset",), ("stale", "reset")])
async def test_a_reset_before_any_byte_is_tried_again(
    start: Start, upstream: Upstream, when: tuple[str, ...]
) -> None:
    upstream.script = flaky = Flaky(CUT, CUT, OK)
    gateway = await start(upstream={"retry_when": when, **EAGER})
    assert (await ask(gateway, get("/"))).body == b"ok"
    assert len(flaky.seen) == 3


async def test_an_answer_that_has_begun_is_never_asked_for_again(start: Start, upstream: Upstream) -> None:
    upstream.script = flaky = Flaky(PARTIAL, OK)
    gateway = await start(upstream={"retry_when": ("reset", "503", "502"), **EAGER})
    async with Client(gateway.address) as client:
        await client.send(get("/"))
        assert (await client.closed()).endswith(b"\r\n\r\nab")
    assert len(flaky.seen) == 1


@pytest.mark.parametrize("first", [b"HTTP/1.1 2", b"HTTP/1.1 103 Hints\r\nLink: a\r\n\r\n"])
async def test_a_reset_behind_a_byte_of_an_answer_is_not_tried_again(
    start: Start, upstream: Upstream, first: bytes
) -> None:
    seen = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen += 1
        await read_head(reader)
        writer.write(first)
        await writer.drain()

    upstream.script = script
    gateway = await start(upstream={"retry_when": ("reset", "502"), **EAGER})
    assert (await ask(gateway, get("/"))).status == 502
    assert seen == 1


async def test_hints_that_the_client_has_end_the_attempts(start: Start, upstream: Upstream) -> None:
    upstream.script = flaky = Flaky(b"HTTP/1.1 103 Hints\r\nLink: a\r\n\r\n" + BUSY, OK)
    gateway = await start(upstream={"retry_when": ("503",), **EAGER})
    async with Client(gateway.address) as client:
        await client.send(get("/"))
        assert (await client.response(interim=True)).status == 103
        assert (await client.response()).status == 503
    assert len(flaky.seen) == 1


KEY = "Idempotency-Key: 7"


@pytest.mark.parametrize(
    ("raw", "repeat", "times"),
    [
        (request("POST", "/", body=b"hi"), ("safe", "idempotent", "idempotency-key"), 1),
        (request("PATCH", "/", body=b"hi"), ("safe", "idempotent"), 1),
        (request("POST", "/", KEY, body=b"hi"), ("safe", "idempotent"), 1),
        (request("POST", "/", KEY, body=b"hi"), ("idempotency-key",), 2),
        (request("POST", "/", KEY, KEY, body=b"hi"), ("idempotency-key",), 1),
        (request("POST", "/", "Idempotency-Key:", body=b"hi"), ("idempotency-key",), 1),
        (request("PUT", "/", body=b"hi"), ("safe",), 1),
        (request("PUT", "/", body=b"hi"), ("idempotent",), 2),
        (request("DELETE", "/"), ("idempotent",), 2),
        (request("GET", "/", body=b"hi"), ("safe",), 2),
        (request("OPTIONS", "/"), ("safe",), 2),
    ],
)
@pytest.mark.parametrize("first", [BUSY, CUT])
async def test_only_what_the_policy_allows_is_sent_twice(
    start: Start, upstream: Upstream, raw: bytes, repeat: tuple[str, ...], times: int, first: bytes
) -> None:
    upstream.script = flaky = Flaky(first, OK)
    gateway = await start(upstream={"retry_when": ("reset", "503"), "retry_repeat": repeat, **EAGER})
    answer = await ask(gateway, raw)
    assert answer.status == (200 if times == 2 else 503 if first == BUSY else 502)
    assert len(flaky.seen) == times
    assert len({(message.start, message.body) for message in flaky.seen}) == 1


@pytest.mark.parametrize(("size", "times"), [(1000, 2), (1001, 1)])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_up_to_the_bound_is_sent_again_whole(
    start: Start, upstream: Upstream, size: int, times: int, chunked: bool
) -> None:
    upstream.script = flaky = Flaky(CUT, OK)
    gateway = await start(
        upstream={"retry_when": "reset", "retry_repeat": "idempotent", "retry_body_bytes": 1000, **EAGER}
    )
    body = bytes(range(97, 107)) * 200
    async with Client(gateway.address) as client:
        if chunked:
            await client.send(b"PUT / HTTP/1.1\r\nHost: e\r\nTransfer-Encoding: chunked\r\n\r\n")
            for at in (0, 400):
                piece = body[at:size] if at else body[:400]
                await client.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            await client.send(b"0\r\n\r\n")
        else:
            await client.send(request("PUT", "/", body=body[:size]))
        assert (await client.response()).status == (200 if times == 2 else 502)
    assert [message.body for message in flaky.seen] == [body[:size]] * times


async def test_a_body_that_comes_on_after_the_first_attempt_failed_is_whole_in_the_second(
    start: Start, upstream: Upstream
) -> None:
    again = asyncio.Event()
    bodies: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        message = await read_head(reader)
        if not again.is_set():
            await reader.readexactly(3)
            again.set()
            return
        bodies.append(await read_body(reader, message, until_close=False))
        writer.write(OK)
        await writer.drain()

    upstream.script = script
    gateway = await start(upstream={"retry_when": "reset", "retry_repeat": "idempotent", **EAGER})
    async with Client(gateway.address) as client:
        await client.send(b"PUT / HTTP/1.1\r\nHost: e\r\nContent-Length: 6\r\n\r\nabc")
        await asyncio.wait_for(again.wait(), PATIENCE)
        await client.send(b"def")
        assert (await client.response()).body == b"ok"
    assert bodies == [b"abcdef"]


async def test_a_body_that_outgrows_the_bound_in_a_pause_loses_nothing(
    start: Start, upstream: Upstream
) -> None:
    bodies: list[bytes] = []
    answered = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        message = await read_head(reader)
        if not answered.is_set():
            await reader.readuntil(b"first\r\n")
            writer.write(BUSY.replace(b"\r\n\r\n", b"\r\nRetry-After: 1\r\n\r\n"))
            await writer.drain()
            answered.set()
            return
        bodies.append(await read_body(reader, message, until_close=False))
        writer.write(OK)
        await writer.drain()

    upstream.script = script
    policy = {"retry_when": "503", "retry_repeat": "idempotent", "retry_body_bytes": 100}
    gateway = await start(upstream={**policy, **EAGER})
    async with Client(gateway.address) as client:
        await client.send(b"PUT / HTTP/1.1\r\nHost: e\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        await asyncio.wait_for(answered.wait(), PATIENCE)
        await reads(gateway, "gateway_upstream_retrying", 1)
        await client.send(b"c8\r\n" + b"x" * 200 + b"\r\n0\r\n\r\n")
        assert (await client.response()).body == b"ok"
    assert bodies == [b"first" + b"x" * 200]


async def test_an_attempt_that_takes_too_long_is_left_for_another(start: Start, upstream: Upstream) -> None:
    upstream.script = flaky = Flaky(SILENCE, OK)
    gateway = await start(upstream={"retry_try_timeout_seconds": 0.3, "retry_attempts": 10, **EAGER})
    assert (await ask(gateway, get("/"))).body == b"ok"
    assert len(flaky.seen) >= 2


async def test_a_post_that_takes_too_long_is_504_and_sent_once(start: Start, upstream: Upstream) -> None:
    upstream.script = flaky = Flaky(OK, SILENCE, OK)
    gateway = await start(upstream={"retry_try_timeout_seconds": 0.3, **EAGER})
    assert (await ask(gateway, get("/"))).status == 200  # leaves a connection, which needs no time to open
    assert (await ask(gateway, request("POST", "/", body=b"hi"))).status == 504
    await flaky.has(2)
    assert flaky.methods == [b"GET", b"POST"]


@pytest.mark.parametrize("when", ["off", "stale", "503"])
async def test_retries_that_are_off_repeat_nothing_even_with_a_time_for_attempts(
    start: Start, upstream: Upstream, when: str
) -> None:
    upstream.script = flaky = Flaky(SILENCE)
    policy = {"retry_when": when, "retry_repeat": "idempotency-key", "retry_try_timeout_seconds": 0.3}
    gateway = await start(upstream={**policy, "retry_attempts": 3, **EAGER})
    again = 0 if when == "off" else 2
    for number, raw in enumerate((get("/"), request("POST", "/", KEY, body=b"hi")), 1):
        flaky.seen.clear()
        assert (await ask(gateway, raw)).status == 504
        assert value(await scraped(gateway), "gateway_upstream_retries_total") == again * number
        # No more than were sent; fewer where the time was over before the connection was open.
        assert len(flaky.seen) <= 1 + again


@pytest.mark.parametrize("stored", [False, True])
async def test_a_body_may_take_longer_than_an_attempt(start: Start, upstream: Upstream, stored: bool) -> None:
    gateway = await start(
        upstream={
            "retry_try_timeout_seconds": 0.5,
            "retry_repeat": "idempotent" if stored else "safe",
            **EAGER,
        }
    )
    async with Client(gateway.address) as client:
        await client.send(b"PUT / HTTP/1.1\r\nHost: e\r\nContent-Length: 4\r\n\r\n")
        for piece in (b"a", b"b", b"c", b"d"):
            await asyncio.sleep(0.3)
            await client.send(piece)
        assert (await client.response()).status == 200
    assert [message.body for message in upstream.requests] == [b"abcd"]


async def test_the_time_of_an_attempt_runs_again_once_the_body_has_come(
    start: Start, upstream: Upstream
) -> None:
    upstream.script = flaky = Flaky(SILENCE, OK)
    policy = {"retry_try_timeout_seconds": 0.3, "retry_repeat": "idempotent", "retry_attempts": 10}
    gateway = await start(upstream={**policy, **EAGER})
    async with Client(gateway.address) as client:
        await client.send(b"PUT / HTTP/1.1\r\nHost: e\r\nContent-Length: 2\r\n\r\na")
        await asyncio.sleep(0.4)
        await client.send(b"b")
        assert (await client.response()).body == b"ok"
    assert len(flaky.seen) >= 2
    assert {message.body for message in flaky.seen} == {b"ab"}


async def test_a_short_retry_after_is_waited_for_and_a_long_one_is_the_clients(
    start: Start, upstream: Upstream
) -> None:
    upstream.script = flaky = Flaky(
        BUSY.replace(b"\r\n\r\n", b"\r\nRetry-After: 1\r\n\r\n"),
        OK,
        BUSY.replace(b"\r\n\r\n", b"\r\nRetry-After: 60\r\n\r\n"),
    )
    gateway = await start(upstream={"retry_when": ("503",), **EAGER})
    assert (await ask(gateway, get("/"))).body == b"ok"
    assert flaky.came[1] - flaky.came[0] > 0.9  # by the upstream's clock, and never early
    answer = await ask(gateway, get("/"))
    assert (answer.status, answer.one("Retry-After"), len(flaky.seen)) == (503, "60", 3)


async def test_a_connection_that_cannot_be_opened_is_tried_again_whatever_the_method(
    start: Start, upstream: Upstream
) -> None:
    gateway = await start(
        upstream={
            "retry_when": "connect-failure",
            "retry_attempts": 10,
            "retry_backoff_seconds": 1,
            "retry_backoff_max_seconds": 1,
        }
    )
    port = upstream.port
    await upstream.__aexit__(None, None, None)
    answer = asyncio.create_task(ask(gateway, request("POST", "/", body=b"hi")))
    await reads(gateway, "gateway_upstream_connections_failed_total", 1)
    async with Upstream(port=port) as back:
        assert (await asyncio.wait_for(answer, PATIENCE * 2)).status == 200
        assert [message.body for message in back.requests] == [b"hi"]


@pytest.mark.parametrize(("when", "status"), [("stale", 200), ("reset", 200), ("off", 502)])
async def test_a_dead_kept_alive_connection_is_repeated_unless_retries_are_off(
    start: Start, upstream: Upstream, when: str, status: int
) -> None:
    upstream.script = flaky = Flaky(OK, CUT, OK)
    gateway = await start(upstream={"retry_when": when, **EAGER})
    async with Client(gateway.address) as client:
        assert (await client.exchange(get("/"))).status == 200
        assert (await client.exchange(get("/"))).status == status
    assert len(flaky.seen) == (3 if status == 200 else 2)


async def test_off_is_off_and_no_budget_is_none(start: Start, upstream: Upstream) -> None:
    upstream.script = flaky = Flaky(BUSY, OK)
    gateway = await start(
        upstream={"retry_when": ("503",), "retry_budget_floor": 0, "retry_budget_percent": 0}
    )
    assert (await ask(gateway, get("/"))).status == 503
    assert len(flaky.seen) == 1


async def test_a_client_that_leaves_in_a_pause_ends_the_attempts(start: Start, upstream: Upstream) -> None:
    upstream.script = flaky = Flaky(BUSY.replace(b"\r\n\r\n", b"\r\nRetry-After: 1\r\n\r\n"), OK)
    gateway = await start(upstream={"retry_when": ("503",), **EAGER})
    async with Client(gateway.address) as client:
        await client.send(get("/"))
        while not flaky.seen:
            await asyncio.sleep(0.01)
    async with asyncio.timeout(PATIENCE):
        while value(await scraped(gateway), "gateway_upstream_active"):
            await asyncio.sleep(0.01)
    assert value(await scraped(gateway), "gateway_upstream_retrying") == 0
    assert len(flaky.seen) == 1


async def test_nothing_is_left_of_requests_that_were_sent_again(start: Start, upstream: Upstream) -> None:
    upstream.script = Flaky(*[BUSY, OK] * 40)
    policy = {"retry_when": ("503",), "retry_repeat": "idempotent", "deadline_seconds": 30}
    gateway = await start(upstream={**policy, **EAGER})
    async with Client(gateway.address) as client:
        gc.collect()
        gc.disable()
        try:
            for _ in range(20):
                assert (await client.exchange(request("PUT", "/", body=b"hi"))).status == 200
                assert (await client.exchange(get("/"))).status == 200
            left = sum(isinstance(one, Exchange | Attempts) for one in gc.get_objects())
        finally:
            gc.enable()
    assert left <= 2, left  # the last one may not have ended yet
