"""Metrics page: its samples, and that Prometheus' own checker has nothing to say about it."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authcore.figures import bucket
from gateway.metrics import Metrics, ParentMetrics, RouteMeter, merged
from gateway.metrics.registry import DROPS
from tests.observe.scraping import checked, reads, samples, scraped, traffic, value
from tests.support.calls import ask, bearer, get, request
from tests.support.peers import PATIENCE, Client, Upstream
from tests.support.sockets import ASK, echoing

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.app import Gateway
    from tests.support.worlds import Start, World


async def test_promtool_finds_nothing_to_complain_about(world: World, start: Start) -> None:
    gateway = await start(world.url)
    await traffic(gateway, world)
    page = await scraped(gateway)
    assert await checked(page) == (0, "")
    parent = ParentMetrics(wanted=2, answering=lambda: 2)
    both = merged({"0": page, "1": page}, label="worker", own=parent.registry).decode()
    assert await checked(both) == (0, "")
    for worker in ("0", "1"):
        assert value(both, "gateway_requests_total", worker=worker) == value(page, "gateway_requests_total")
    assert value(both, "gateway_workers") == 2


async def test_promtool_would_complain() -> None:
    code, complaint = await checked("# TYPE gateway_things counter\ngateway_things 1\n")
    assert code != 0
    assert "_total" in complaint


async def test_every_label_but_the_librarys_is_bounded(world: World, start: Start) -> None:
    """No label holds anything that a request has said: not its path, its query, its headers, nor its method."""
    gateway = await start(world.url)
    for number in range(20):
        word = f"evil{number}"
        await ask(gateway, get(f"/api/{word}?{word}={word}", bearer(f"{word}.b.c"), f"X-{word}: {word}"))
        await ask(gateway, request("EVIL", f"/{word}", f"Host: {word}", f"traceparent: {word}"))
    assert "evil" not in (await scraped(gateway)).lower()


async def test_a_route_is_told_by_its_name(world: World, start: Start) -> None:
    gateway = await start(world.url)
    await traffic(gateway, world)
    told = {sample.labels["route"] for sample in samples(await scraped(gateway), "gateway_requests_total")}
    assert told <= {"none", "public", "protected", "auth-login", "api-keys"}
    assert not any("/" in route for route in told)


async def test_sizes_are_counted_by_route(world: World, start: Start) -> None:
    gateway = await start(world.url)
    token = world.token(world.agent)
    for size in (0, 200, 256, 257, 5000):
        await ask(gateway, request("POST", "/api/x", bearer(token), body=b"x" * size))
    page = await scraped(gateway)

    def up_to(bound: str) -> float:
        return value(page, "gateway_request_size_bytes_bucket", route="protected", le=bound)

    assert [up_to(bound) for bound in ("256.0", "1024.0", "4096.0", "16384.0", "+Inf")] == [3, 4, 4, 5, 5]
    assert value(page, "gateway_request_size_bytes_sum", route="protected") == 200 + 256 + 257 + 5000
    assert value(page, "gateway_response_size_bytes_sum", route="protected") > 5000
    assert value(page, "gateway_response_size_bytes_count", route="protected") == 5


def test_a_size_at_a_bound_is_within_it() -> None:
    meter = RouteMeter()
    for size in (0, 1, 2, 255, 256, 257, 1 << 30, (1 << 30) + 1, 1 << 50):
        meter.record(b"GET", 200, 0.1, size, size)
    assert [meter.sent.up_to(bits) for bits in (8, 9, 10, 30, 31)] == [5, 6, 6, 7, 8]
    assert sum(meter.received.counts) == 8
    assert sum(meter.sent.counts) == 9


@given(st.lists(st.floats(0, 1e6), max_size=20, unique=True), st.floats(0, 1e6))
def test_a_value_is_in_the_bucket_of_the_first_bound_that_is_not_below_it(
    bounds: list[float], value: float
) -> None:
    ordered = tuple(sorted(bounds))
    assert bucket(ordered, value) == bisect_left(ordered, value)


def test_a_method_that_a_client_invented_is_counted_as_other() -> None:
    meter = RouteMeter()
    for method in (b"GET", b"BREW", b"GET", b"PATCH", b"BREW", b"MAKE"):
        meter.record(method, 200, 0.1)
    meter.record(b"BREW", 404, 0.1)
    assert meter.answered == {
        (b"GET", 200): 2,
        (b"PATCH", 200): 1,
        (b"other", 200): 3,
        (b"other", 404): 1,
    }


def test_a_stream_is_counted_apart_and_the_time_to_its_head_with_all_others() -> None:
    meter = RouteMeter()
    meter.record(b"GET", 200, 0.2)  # the gateway's own answer: head and end at once
    meter.record(b"GET", 200, 0.4, head=-7.0)  # the same, as the recorder tells it
    meter.record(b"GET", 200, 1.2, head=0.3)
    meter.record(b"GET", 200, 90.0, head=0.02)  # an event stream
    meter.record(b"GET", 101, 0.5, head=0.02)  # a WebSocket, however short
    meter.record(b"GET", 504, 60.0)
    ends = {kind: meter.durations(kind) for kind in ("answer", "stream")}
    assert {label: one.total for label, one in ends["answer"].items()} == {
        (b"GET", 200): pytest.approx(1.8),
        (b"GET", 504): 60.0,
    }
    assert {label: one.total for label, one in ends["stream"].items()} == {
        (b"GET", 200): 90.0,
        (b"GET", 101): 0.5,
    }
    assert meter.heads.total == pytest.approx(0.2 + 0.4 + 0.3 + 0.02 + 0.02 + 60)
    assert sum(meter.heads.counts) == sum(meter.answered.values()) == 6


async def test_an_event_stream_and_a_socket_are_no_slow_answers(gateway: Gateway, upstream: Upstream) -> None:
    async def events(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        await asyncio.sleep(1.2)  # longer than an answer flows that is no stream
        writer.close()

    upstream.script = events
    assert (await ask(gateway, get("/health"))).status == 200
    upstream.script = echoing()
    async with Client(gateway.address) as client:
        await client.send(ASK.replace(b"GET /chat", b"GET /health"))
        await client.reader.readuntil(b"\r\n\r\n")
    upstream.script = None
    assert (await ask(gateway, get("/health"))).status == 200
    await reads(gateway, "gateway_request_duration_seconds_count", 3)
    page = await scraped(gateway)

    def measured(kind: str, what: str, **labels: str) -> float:
        return value(page, f"gateway_request_duration_seconds_{what}", kind=kind, **labels)

    assert (measured("answer", "count"), measured("stream", "count")) == (1, 2)
    assert measured("stream", "sum") > 1.1
    assert value(page, "gateway_request_head_seconds_count") == 3
    assert value(page, "gateway_requests_total") == 3


async def test_verdicts_are_counted_once_and_forbidden_is_one_of_them(world: World, start: Start) -> None:
    gateway = await start(world.url)
    token = world.token(world.agent)
    await ask(gateway, get("/api/x", bearer(token)))
    await ask(gateway, get("/api/x", bearer(token)))
    for _ in range(2):  # by the store and from memory
        assert (await ask(gateway, get("/api/api-keys", bearer(token)))).status == 403
    page = await scraped(gateway)
    assert value(page, "gateway_authentications_total") == 4
    assert value(page, "gateway_authentications_total", credential="jwt", outcome="ok") == 2
    assert value(page, "gateway_authentications_total", credential="jwt", outcome="forbidden") == 2


async def test_a_store_that_is_down_is_a_verdict_on_nobody(start: Start, world: World) -> None:
    gateway = await start()
    assert (await ask(gateway, get("/api/x", bearer(world.token(world.agent))))).status == 503
    page = await scraped(gateway)
    assert value(page, "gateway_authentications_total", outcome="store_down") == 1
    assert value(page, "gateway_drops_total", status="503", reason="store_down") == 1
    assert value(page, "gateway_store_wait_seconds_count") >= 1


async def test_what_meets_a_limit_is_told_by_status_and_reason(world: World, start: Start) -> None:
    gateway = await start(world.url, limit={"connections_per_address": 1})
    before = await scraped(gateway)
    assert {sample.labels["status"] for sample in samples(before, "gateway_drops_total")} <= {
        str(status) for status in DROPS
    }
    # Told before it happens, or a rate would not see the first.
    assert value(before, "gateway_drops_total") == 0
    async with Client(gateway.address) as first:
        assert (await first.exchange(get("/health"))).status == 200
        assert (await ask(gateway, get("/health"))).status == 503
    await traffic(gateway, world)
    page = await scraped(gateway)
    for status, reason in (
        ("503", "too_many_of_network"),
        ("413", "body_too_large"),
        ("414", "target_too_long"),
        ("431", "head_too_large"),
    ):
        assert value(page, "gateway_drops_total", status=status, reason=reason) == 1, reason


async def test_a_request_that_does_not_come_and_a_connection_that_says_nothing_are_told_apart(
    start: Start,
) -> None:
    gateway = await start(timeout={"head_seconds": 0.3, "idle_seconds": 0.3})
    async with Client(gateway.address) as slow, Client(gateway.address) as silent:
        await slow.send(b"GET /health HTTP/1.1\r\n")
        assert (await slow.response()).status == 408
        assert await silent.closed() == b""
    page = await scraped(gateway)
    assert value(page, "gateway_drops_total", status="408", reason="request_timeout") == 1
    assert value(page, "gateway_connections_idled_total") == 1


async def test_the_connections_of_both_sides_are_counted(gateway: Gateway, upstream: Upstream) -> None:
    async with Client(gateway.address) as client:
        for _ in range(3):
            await client.exchange(get("/health"))
        page = await scraped(gateway)
        assert value(page, "gateway_connections") == 1
        assert value(page, "gateway_connections_max") == 10_000
    assert value(page, "gateway_upstream_connections", upstream="upstream") == 1
    assert value(page, "gateway_upstream_connections_opened_total", upstream="upstream") == 1
    assert value(page, "gateway_upstream_connections_idle", upstream="upstream") == 1
    assert value(page, "gateway_upstream_wait_seconds_count", upstream="upstream") == 3
    assert value(page, "gateway_upstream_response_seconds_count", upstream="upstream") == 3
    for _ in range(3):
        await ask(gateway, get("/health"))
    async with asyncio.timeout(PATIENCE):
        while value(page := await scraped(gateway), "gateway_connections_closed_total") < 4:
            await asyncio.sleep(0.01)
    assert value(page, "gateway_connections_opened_total") == 4
    assert value(page, "gateway_connections") == 0


async def test_an_upstream_that_fails_is_told_until_it_answers_again(
    gateway: Gateway, upstream: Upstream
) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    upstream.script = silent
    for _ in range(2):
        assert (await ask(gateway, get("/health"))).status == 502
    page = await scraped(gateway)
    assert value(page, "gateway_upstream_failures_total", upstream="upstream", reason="upstream_lost") == 2
    assert value(page, "gateway_upstream_failing", upstream="upstream") == 2
    upstream.script = None
    assert (await ask(gateway, get("/health"))).status == 200
    page = await scraped(gateway)
    assert value(page, "gateway_upstream_failing", upstream="upstream") == 0
    assert value(page, "gateway_upstream_failures_total", upstream="upstream") == 2


async def test_a_client_that_leaves_in_the_middle_of_its_answer_is_a_status_and_no_fault(
    gateway: Gateway, upstream: Upstream
) -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        await reader.read()
        writer.close()

    upstream.script = endless
    async with Client(gateway.address) as client:
        await client.send(get("/health"))
        await asyncio.wait_for(client.reader.readuntil(b"data: 1"), PATIENCE)
    async with asyncio.timeout(PATIENCE):
        while not value(page := await scraped(gateway), "gateway_requests_total", status="499"):
            await asyncio.sleep(0.02)
    assert not samples(page, "gateway_faults_total")
    assert not value(page, "gateway_failures_total")


async def test_a_request_sent_again_is_counted(gateway: Gateway, upstream: Upstream) -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    upstream.script = once
    async with Client(gateway.address) as client:
        for _ in range(2):
            assert (await client.exchange(get("/health"))).status == 204
    assert value(await scraped(gateway), "gateway_upstream_retries_total", upstream="upstream") == 1


async def test_how_late_changes_are_heard_is_measured(world: World, start: Start) -> None:
    gateway = await start(world.url)
    page = await scraped(gateway)
    async with asyncio.timeout(PATIENCE):
        while value(page, "gateway_changes_lag_seconds") == 0:
            await asyncio.sleep(0.05)
            page = await scraped(gateway)
    assert value(page, "gateway_changes_pushed") == 1
    assert value(page, "gateway_changes_messages_total") == 0  # its own voice is no change


async def test_the_lag_grows_while_nothing_is_heard(start: Start) -> None:
    gateway = await start()
    first = value(await scraped(gateway), "gateway_changes_lag_seconds")
    await asyncio.sleep(0.2)
    assert value(await scraped(gateway), "gateway_changes_lag_seconds") > first


async def test_readiness_is_a_metric_without_anybody_who_asks(world: World, start: Start) -> None:
    with_database, without = await start(world.url), await start()
    await reads(with_database, "gateway_ready", 1)
    assert value(await scraped(without), "gateway_ready") == 0


async def test_password_work_is_told_with_its_queue(world: World, start: Start) -> None:
    gateway = await start(world.url, password={"cost": 4, "workers": 2, "queue": 7})
    await traffic(gateway, world)
    page = await scraped(gateway)
    assert value(page, "gateway_bcrypt_capacity") == 9
    started = value(page, "gateway_bcrypt_started_total")
    assert value(page, "gateway_bcrypt_wait_seconds_count") == started > 0


@pytest.mark.parametrize(
    ("publish", "expected"),
    [
        (lambda m: m.counter("gateway_x", "X.", "outcome").labels("ok").inc(2), 2),
        (lambda m: m.read_counter("gateway_x", "X.", lambda: 3), 3),
        (lambda m: m.read_counters("gateway_x", "X.", ("a",), lambda: {("1",): 2, ("2",): 2}), 4),
    ],
)
def test_another_part_adds_its_own_counts(publish: Callable[[Metrics], Any], expected: float) -> None:
    metrics = Metrics()
    publish(metrics)
    page = merged({}, label="worker", own=metrics.registry).decode()
    assert value(page, "gateway_x_total") == expected
