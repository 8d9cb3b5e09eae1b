"""traceparent and tracestate: passed to the byte when they are valid, made where they are not there."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.tracing.context import OwnIds, TracePolicy, read_context
from gateway.wire.messages import RequestHead
from tests.observe.recording import records
from tests.observe.traces import PARENT, TRACE, VALID
from tests.support.calls import ask, bearer, get
from tests.support.peers import Client

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World


MADE = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-01")


def head(*lines: tuple[bytes, bytes]) -> RequestHead:
    made = RequestHead(list(lines))
    made.index()
    return made


def of(value: str) -> Any:
    return read_context(head((b"Traceparent", value.encode())))


async def test_a_valid_one_passes_to_the_byte_with_all_that_belongs_to_it(
    gateway: Gateway, upstream: Upstream
) -> None:
    lines = (f"TraceParent: {VALID}", "tracestate: a=1,b=2", "tracestate: c=3", "baggage: user=x;p=1")
    await ask(gateway, get("/health", *lines))
    (received,) = upstream.requests
    assert received.all("traceparent") == [VALID]
    assert received.all("tracestate") == ["a=1,b=2", "c=3"]
    assert received.all("baggage") == ["user=x;p=1"]


async def test_where_there_is_none_one_is_made_for_each_request(gateway: Gateway, upstream: Upstream) -> None:
    async with Client(gateway.address) as client:
        answers = [await client.exchange(get("/health")) for _ in range(3)]
    made = [MADE.fullmatch(one.one("traceparent") or "") for one in upstream.requests]
    assert len({match[0] for match in made if match}) == 3
    assert [match and match[1] for match in made] == [answer.one("X-Request-ID") for answer in answers]
    assert len({match[2] for match in made if match}) == 3


@pytest.mark.parametrize(
    "lines",
    [
        ("traceparent: nonsense",),
        (f"traceparent: {VALID.upper()}",),
        (f"traceparent: ff-{TRACE}-{PARENT}-01",),
        (f"traceparent: 00-{'0' * 32}-{PARENT}-01",),
        (f"traceparent: 00-{TRACE}-{'0' * 16}-01",),
        (f"traceparent: {VALID}-more",),
        (f"traceparent: {VALID}", f"Traceparent: {VALID}"),
        ("x-nothing: 1",),
    ],
)
async def test_what_is_malformed_begins_a_new_trace_without_the_old_ones_state(
    lines: tuple[str, ...], gateway: Gateway, upstream: Upstream
) -> None:
    await ask(gateway, get("/health", *lines, "tracestate: a=1", "baggage: b=1"))
    (received,) = upstream.requests
    made = MADE.fullmatch(received.one("traceparent") or "")
    assert made
    assert made[1] != TRACE
    assert received.all("tracestate") == []
    assert received.all("baggage") == ["b=1"]


async def test_connection_cannot_take_a_trace_away(gateway: Gateway, upstream: Upstream) -> None:
    await ask(gateway, get("/health", f"traceparent: {VALID}", "Connection: traceparent"))
    (received,) = upstream.requests
    assert MADE.fullmatch(received.one("traceparent") or "")


async def test_the_log_names_the_trace(start: Start, written: Any, upstream: Upstream) -> None:
    gateway = await start(log={"access": True})
    await ask(gateway, get("/health", f"traceparent: {VALID}"))
    await ask(gateway, get("/health"))
    await ask(gateway, get("/a//b"))
    theirs, ours, refused = await records(gateway, written)
    assert theirs["trace_id"] == TRACE
    assert ours["trace_id"] == ours["request_id"]
    assert ours["trace_id"] in (upstream.requests[1].one("traceparent") or "")
    assert refused["trace_id"] == refused["request_id"]


async def test_a_trusted_peers_request_id_and_the_trace_are_told_apart(
    start: Start, written: Any, upstream: Upstream
) -> None:
    gateway = await start(log={"access": True}, trusted_proxies=("127.0.0.1/32",))
    await ask(gateway, get("/health", "X-Request-ID: their.own-id"))
    (record,) = await records(gateway, written)
    assert record["request_id"] == "their.own-id"
    assert re.fullmatch(r"[0-9a-f]{32}", record["trace_id"])
    assert record["trace_id"] in (upstream.requests[0].one("traceparent") or "")


async def test_hosted_endpoints_and_refusals_carry_a_trace_context_too(
    start: Start, world: World, written: Any
) -> None:
    gateway = await start(world.url, log={"access": True})
    await ask(gateway, get("/api/x", bearer("a.b.c"), f"traceparent: {VALID}"))
    (record,) = await records(gateway, written)
    assert (record["status"], record["trace_id"]) == (401, TRACE)


async def test_the_share_of_new_traces_to_be_recorded_is_a_setting(start: Start, upstream: Upstream) -> None:
    gateway = await start(trace={"sample": 0.25})
    async with Client(gateway.address) as client:
        for _ in range(400):
            await client.exchange(get("/health"))
    flags = [(one.one("traceparent") or "")[-2:] for one in upstream.requests]
    assert set(flags) == {"00", "01"}
    assert 70 <= flags.count("01") <= 130


def test_later_versions_may_go_on_behind_a_dash() -> None:
    assert of(f"cc-{TRACE}-{PARENT}-01-what-the-future-holds").trace_id == TRACE.encode()
    assert of(f"cc-{TRACE}-{PARENT}-01").sampled
    assert of(f"cc-{TRACE}-{PARENT}-01.what") is None
    assert of(f"cc-{TRACE}-{PARENT}-0") is None


def test_flags_of_versions_to_come_are_not_passed_on_by_ours() -> None:
    assert of(f"00-{TRACE}-{PARENT}-ff").flags == b"03"
    assert not of(f"00-{TRACE}-{PARENT}-02").sampled


@given(st.binary(max_size=80))
def test_anything_can_be_read(value: bytes) -> None:
    read_context(head((b"traceparent", value)))


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=8, max_size=8), st.integers(0, 255))
def test_what_is_made_can_be_read(trace: bytes, parent: bytes, flags: int) -> None:
    context = of(f"00-{trace.hex()}-{parent.hex()}-{flags:02x}")
    if not any(trace) or not any(parent):
        assert context is None
        return
    for laws in (TracePolicy(records=True), TracePolicy()):
        line = laws.line(context, b"a" * 32)
        if line:
            again = of(line.partition(b": ")[2].strip().decode())
            assert again.trace_id == context.trace_id
            assert again.parent_id == b"a" * 16
            assert again.flags == context.flags
    begun = of(TracePolicy().line(None, b"a" * 32).partition(b": ")[2].strip().decode())
    assert (begun.trace_id, begun.sampled) == (b"a" * 32, True)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_the_share_is_even_over_the_ids(share: float) -> None:
    laws = TracePolicy(sample=share)
    ids = [b"%032x" % (number << 54) for number in range(1024)]
    assert sum(map(laws.samples, ids)) == pytest.approx(share * 1024, abs=1)


def test_ids_are_valid_and_spread_evenly_and_none_comes_twice() -> None:
    ids = OwnIds()
    made = [ids.next() for _ in range(4096)]
    assert len(set(made)) == len(made)
    assert len({one[:16] + one[31:] for one in made}) == 1, "what is of the process"
    for one in made:
        assert re.fullmatch(rb"[0-9a-f]{32}", one)
        assert set(one[16:]) != {ord("0")}
    first_digits = Counter(one[16:17] for one in made)
    assert len(first_digits) == 16
    # 256 of each, but for the sequence's own gaps.
    assert all(250 <= number <= 262 for number in first_digits.values())
    assert OwnIds().next()[:16] != made[0][:16]


def test_each_id_is_the_last_one_and_the_golden_ratio() -> None:
    ids = OwnIds()
    numbers = [int(ids.next()[16:31], 16) for _ in range(100)]
    steps = {(later - earlier) % (1 << 60) for earlier, later in pairwise(numbers)}
    assert len(steps) == 1
    assert steps.pop() % 2 == 1, "an odd step meets every number"
