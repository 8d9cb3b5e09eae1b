"""One metrics page for several workers: sums that are what was sent, also after one of them was killed."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from gateway.metrics import Together, add_up, page
from gateway.metrics.together import ADDED, FARTHEST, LARGEST, SMALLEST
from tests.observe.drawn import of_dashboard, of_rules
from tests.observe.reference import started
from tests.observe.scraping import checked, families, samples, value
from tests.support.admin import all_listening, ask_admin
from tests.support.calls import GET, ask_at, bearer, get, request
from tests.support.peers import PATIENCE, Client
from tests.support.processes import STARTING, children, serving

if TYPE_CHECKING:
    from tests.support.peers import Upstream

WHERE_CONFIGURED = {
    "gateway_key_ring_outdated",
    "gateway_limits_store_up",
    "gateway_tls_certificate_expiry_timestamp_seconds",
    "gateway_whatomate_redis_up",
}


async def scraped(admin: tuple[str, int], path: str = "/metrics") -> str:
    code, text = await ask_admin(admin, path)
    assert code == 200
    return text


def counts(text: str) -> dict[str, float]:
    """The numbers that the test knows, since it has sent them."""
    return {
        "answered": value(text, "gateway_requests_total", route="public", status="200"),
        "refused": value(text, "gateway_requests_total", route="protected", status="401"),
        "durations": value(text, "gateway_request_duration_seconds_count", route="public"),
        "heads": value(text, "gateway_request_head_seconds_count", route="public"),
        "received": value(text, "gateway_request_size_bytes_sum", route="public"),
        "small": value(text, "gateway_request_size_bytes_bucket", route="public", le="256.0"),
        "faults": value(text, "gateway_faults_total", reason="malformed"),
        "verdicts": value(text, "gateway_authentications_total", outcome="malformed"),
        "upstream": value(text, "gateway_upstream_response_seconds_count", upstream="upstream"),
    }


async def sent(address: tuple[str, int], times: int) -> None:
    """Requests of three kinds, each on a connection of its own: the kernel spreads them over the workers."""
    for _ in range(times):
        assert (await ask_at(address, GET)).status == 200
        assert (await ask_at(address, request("POST", "/health", body=b"x" * 300))).status == 200
        assert (await ask_at(address, get("/api/x", bearer("a.b.c")))).status == 401


def expected(times: int) -> dict[str, float]:
    return {
        "answered": 2 * times,
        "refused": times,
        "durations": 2 * times,
        "heads": 2 * times,
        "received": 300 * times,
        "small": times,
        "faults": times,
        "verdicts": times,
        "upstream": 2 * times,
    }


async def test_the_sums_are_what_was_sent_and_a_worker_that_is_killed_takes_nothing_away(
    upstream: Upstream,
) -> None:
    async with serving(upstream, "--workers", "3") as (process, address, admin):
        await all_listening(admin, 3)
        await sent(address, 20)
        text = await scraped(admin)
        before = counts(text)
        assert before == expected(20)
        assert await checked(text) == (0, "")
        assert not [one for one in families(text).values() for s in one.samples if "worker" in s.labels]
        each = await scraped(admin, "/metrics/workers")
        answered = [value(each, "gateway_requests_total", worker=str(number)) for number in range(3)]
        assert sum(answered) == 60
        assert 0 not in answered  # so that the one that is killed has something to lose
        _single_figures(text, each)
        async with AsyncExitStack() as held:
            for _ in range(9):
                client = await held.enter_async_context(Client(address))
                assert (await client.exchange(GET)).status == 200
            async with asyncio.timeout(PATIENCE):  # until those of before are seen to have gone
                while value(text := await scraped(admin), "gateway_connections") != 9:
                    await asyncio.sleep(0.05)
            # Of one worker: nine connections on three workers are three at least on one of them.
            used = value(text, "gateway_limit_used_ratio", limit="client_connections")
            assert used >= 3 / (value(text, "gateway_connections_max") / 3)
        pids = children(process.pid)
        before = counts(await scraped(admin))
        os.kill(pids[1], signal.SIGKILL)
        async with asyncio.timeout(STARTING):
            while len(set(children(process.pid)) - set(pids)) == 0:
                during = counts(await scraped(admin))
                assert all(during[name] >= number for name, number in before.items())
                await asyncio.sleep(0.05)
        await all_listening(admin, 3)
        assert counts(await scraped(admin)) == before
        await sent(address, 5)
        more = expected(5)
        after = await scraped(admin)
        assert counts(after) == {name: number + more[name] for name, number in before.items()}
        assert value(after, "gateway_worker_deaths_total") == 1
        assert value(after, "gateway_workers_answering") == 3
        await _has_all_that_is_drawn(after)


def _single_figures(text: str, each: str) -> None:
    """Figures of the process and of the version are there once, added up where that means something."""
    assert len(samples(text, "gateway_build_info")) == len(samples(text, "python_info")) == 1
    assert value(text, "gateway_build_info") == 1
    assert len(samples(text, "process_resident_memory_bytes")) == 1
    smallest = min(one.value for one in samples(each, "process_resident_memory_bytes"))
    assert value(text, "process_resident_memory_bytes") > 3 * smallest  # the parent's is in it
    begun = [one.value for one in samples(each, "process_start_time_seconds")]
    assert len(begun) == 3
    assert value(text, "process_start_time_seconds") <= min(begun)


async def _has_all_that_is_drawn(text: str) -> None:
    known = set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE))
    known |= {f"{name}{suffix}" for name in known for suffix in ("_bucket", "_sum", "_count")}
    expressions = [*await asyncio.to_thread(lambda: list(of_dashboard())), *of_rules()]
    for expression in expressions:
        named = set(re.findall(r"\b(?:gateway|process|python)_[a-z_]+\b", expression))
        assert named <= known | WHERE_CONFIGURED, expression


async def test_every_gauge_says_what_several_workers_values_come_to() -> None:
    registry = await started()
    gauges = {one.name for one in registry.collect() if one.type in {"gauge", "info"}}
    named = {f"{name}_info" if name == "gateway_build" else name for name in gauges}
    listed = [*ADDED, *LARGEST, *SMALLEST, *FARTHEST]
    assert len(listed) == len(set(listed))
    # process_* of the platform's are there where the platform tells them
    assert {name for name in named if not name.endswith("_created")} == set(listed)


def of_worker(count: float, lag: float, pushed: float, skew: float) -> str:
    registry = CollectorRegistry()
    Counter("gateway_things", "Things.", ["kind"], registry=registry).labels("a").inc(count)
    Histogram("gateway_wait_seconds", "Waits.", buckets=(1, 2), registry=registry).observe(count)
    for name, number in (
        ("gateway_changes_lag_seconds", lag),
        ("gateway_changes_pushed", pushed),
        ("gateway_clock_skew_seconds", skew),
        ("gateway_connections", count),
    ):
        Gauge(name, "A gauge.", registry=registry).set(number)
    return page(registry).decode()


def test_counters_never_fall_and_gauges_are_those_of_workers_that_answer() -> None:
    together = Together()
    first = add_up(together.read({0: of_worker(2, 1, 1, -3), 1: of_worker(1, 9, 0, 2)})).decode()
    assert value(first, "gateway_things_total", kind="a") == 3
    assert value(first, "gateway_wait_seconds_sum") == 3
    assert value(first, "gateway_wait_seconds_bucket", le="1.0") == 1
    assert value(first, "gateway_changes_lag_seconds") == 9
    assert value(first, "gateway_changes_pushed") == 0
    assert value(first, "gateway_clock_skew_seconds") == -3
    assert value(first, "gateway_connections") == 3
    silent = add_up(together.read({0: of_worker(2, 1, 1, -3)})).decode()
    assert value(silent, "gateway_things_total") == 3
    assert value(silent, "gateway_connections") == 2
    together.read({1: of_worker(4, 0, 1, 0)})
    together.gone(1)
    together.gone(1)  # a worker that died before it was read has nothing to add
    replaced = add_up(together.read({0: of_worker(2, 1, 1, -3), 1: of_worker(1, 0, 1, 0)})).decode()
    assert value(replaced, "gateway_things_total") == 7
    assert value(replaced, "gateway_wait_seconds_count") == 3
    assert value(replaced, "gateway_connections") == 3
    together.gone(1)
    assert value(add_up(together.read({})).decode(), "gateway_things_total") == 7
