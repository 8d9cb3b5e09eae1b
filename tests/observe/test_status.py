"""The page at /status: live, in a real browser; the same numbers as JSON; nothing on it that a client could write."""

from __future__ import annotations

import asyncio
import tempfile
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from selenium import webdriver

from gateway.metrics import Metrics
from gateway.metrics.meters import DURATION_BUCKETS
from gateway.status.page import HEADERS, render, wants_page
from gateway.status.recent import NOTE_SECONDS, Recent, quantile
from gateway.status.report import together
from tests.observe.scraping import traffic
from tests.support.admin import all_listening, ask_admin
from tests.support.calls import ask, bearer, get
from tests.support.peers import Client
from tests.support.processes import serving
from tests.support.programs import program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.app import Gateway
    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World


LONG = 30
"""Seconds that a browser may take, on a machine that is busy."""


@contextmanager
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = program("chromium")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for argument in (
            *("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync"),
            *("disable-background-networking", "disable-component-update", f"user-data-dir={profile}"),
        ):
            options.add_argument(f"--{argument}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options, webdriver.ChromeService(program("chromedriver")))
        try:
            yield driver
        finally:
            driver.quit()


def shown(driver: webdriver.Chrome, name: str) -> str:
    """The text of an element, in one step: the page replaces its elements every two seconds."""
    return str(driver.execute_script("return document.getElementById(arguments[0]).innerText", name))


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


async def status(gateway: Gateway, *lines: str, path: str = "/status") -> Any:
    async with Client(gateway.admin_address) as client:
        return await client.exchange(get(path, *lines))


async def test_in_a_browser_the_numbers_are_live(world: World, start: Start) -> None:
    gateway = await start(world.url)
    await traffic(gateway, world)
    host, port = gateway.admin_address

    def first_look(driver: webdriver.Chrome) -> None:
        driver.get(f"http://{host}:{port}/status")
        assert shown(driver, "state") == "serving"
        told = shown(driver, "denials")
        for reason in ("missing", "malformed", "forbidden", "target_too_long"):
            assert reason in told
        assert "jwt ok" in shown(driver, "callers")
        assert "upstream" in shown(driver, "upstreams")
        assert "no_route" not in told
        driver.execute_script("document.body.dataset.first = 'look'")  # gone, were the page loaded again

    def later(driver: webdriver.Chrome) -> None:
        until(lambda: "bad_request" in shown(driver, "denials"))
        assert driver.execute_script("return document.body.dataset.first") == "look"

    def silent(driver: webdriver.Chrome) -> None:
        until(lambda: "does not answer" in shown(driver, "asked"))

    def complaints(driver: webdriver.Chrome) -> list[str]:
        return [entry["message"] for entry in driver.get_log("browser")]  # type: ignore[no-untyped-call]  # selenium's

    with browser() as driver:
        await asyncio.to_thread(first_look, driver)
        await ask(gateway, get("/api/x", bearer(world.token(world.agent)), "X-Organization-ID: none"))
        await asyncio.to_thread(later, driver)
        assert not [one for one in await asyncio.to_thread(complaints, driver) if "favicon" not in one]
        await gateway.stop()
        await asyncio.to_thread(silent, driver)


async def test_programs_get_json_and_people_a_page(world: World, start: Start) -> None:
    gateway = await start(world.url)
    for answer in (
        await status(gateway),
        await status(gateway, "Accept: */*"),
        await status(gateway, "Accept: application/json"),
        await status(gateway, "Accept: text/html", path="/status.json"),
    ):
        assert answer.one("Content-Type") == "application/json"
        assert {
            "listening",
            "recent",
            "upstreams",
            "traffic",
            "identity",
            "store",
            "revocation",
        } <= answer.json().keys()
    page = await status(gateway, "Accept: text/html,application/xhtml+xml,*/*;q=0.8")
    assert page.one("Content-Type") == "text/html; charset=utf-8"
    assert page.body.startswith(b"<!doctype html>")


async def test_the_page_may_load_nothing_and_run_nothing_else(start: Start) -> None:
    page = await status(await start(), "Accept: text/html")
    policy = page.one("Content-Security-Policy") or ""
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert page.one("Cache-Control") == "no-store"
    assert page.one("X-Content-Type-Options") == "nosniff"
    for outside in (b"src=", b"<link", b"@import", b"url(", b"http://", b"https://", b"style=", b"onclick"):
        assert outside not in page.body, outside


async def test_without_its_database_it_says_so(start: Start, world: World) -> None:
    gateway = await start()
    for _ in range(3):
        await ask(gateway, get("/api/x", bearer(world.token(world.agent))))
    page = (await status(gateway, "Accept: text/html")).body.decode()
    assert '<span class="state bad" id="state">database away</span>' in page


async def test_workers_are_told_together_and_apart(upstream: Upstream) -> None:
    async with serving(upstream, "--workers", "2") as (_, address, admin):
        await all_listening(admin, 2)
        for _ in range(20):
            async with Client(address) as client:
                await client.exchange(get("/health"))
        code, told = await ask_admin(admin, "/status.json")
        assert code == 200
        import json  # noqa: PLC0415 - for this alone

        loaded = json.loads(told)
        assert set(loaded["workers"]) == {"0", "1"}
        each = [one["recent"]["1m"]["requests"] for one in loaded["workers"].values()]
        assert loaded["together"]["recent"]["1m"]["requests"] == sum(each) == 20
        async with Client(admin) as client:
            page = await client.exchange(get("/status", "Accept: text/html", "Connection: close"))
        assert page.one("Content-Security-Policy") == HEADERS["Content-Security-Policy"]
        assert page.body.count(b"<tr><td>0</td>") == page.body.count(b"<tr><td>1</td>") == 1


# -- the numbers ------------------------------------------------------------------------------------------------


def test_a_window_holds_what_was_counted_in_it_and_no_more() -> None:
    metrics = Metrics()
    meter, now = metrics.route("r"), 0.0
    recent = Recent(metrics, now)
    for second in range(0, 400, int(NOTE_SECONDS)):
        meter.record(b"GET", 200 if second % 2 else 503, 0.2)
        now = second + NOTE_SECONDS
        recent.note(now)
    minute, all_of_it = recent.window(60, now), recent.window(300, now)
    assert (minute.seconds, minute.requests) == (60, 12)
    assert (all_of_it.seconds, all_of_it.requests) == (300, 60)
    assert minute.failed + minute.refused <= minute.requests
    assert len(recent.history()) == 60
    requests, failed = recent.history()[0]
    assert requests == 0.2
    assert failed == pytest.approx(0.2, abs=0.2)


def test_a_gateway_that_has_just_started_claims_no_minute() -> None:
    metrics = Metrics()
    recent = Recent(metrics, 100.0)
    metrics.route("r").record(b"GET", 404, 0.2)
    window = recent.window(60, 103.0)
    assert (window.seconds, window.requests, window.refused) == (3, 1, 1)
    assert recent.history() == []


def test_a_quantile_lies_within_its_bucket() -> None:
    assert quantile(0.5, [0] * (len(DURATION_BUCKETS) + 1)) is None
    for at, bound in enumerate(DURATION_BUCKETS):
        buckets = [0] * (len(DURATION_BUCKETS) + 1)
        buckets[at] = 10
        below = DURATION_BUCKETS[at - 1] if at else 0
        assert below < (quantile(0.5, buckets) or 0) <= bound
    assert quantile(0.99, [0] * len(DURATION_BUCKETS) + [5]) == DURATION_BUCKETS[-1]


def test_of_several_the_worst_counts_where_adding_says_nothing() -> None:
    def one(lag: float, pushed: float, history: list[list[float]]) -> dict[str, Any]:
        return {
            "recent": {"1m": {"seconds": lag, "requests": 2, "buckets": [1, 2], "history": history}},
            "changes": {"lag_seconds": lag, "pushed": pushed},
            "listening": pushed == 1,
        }

    told = together({"0": one(1, 1, [[1, 0], [2, 0]]), "1": one(9, 0, [[5, 1]]), "2": {"checks": {}}})
    assert told["changes"] == {"lag_seconds": 9, "pushed": 0}
    assert told["listening"] is False
    assert told["recent"]["1m"]["requests"] == 4
    assert told["recent"]["1m"]["seconds"] == 9
    assert told["recent"]["1m"]["buckets"] == [2, 4]
    assert told["recent"]["1m"]["history"] == [[1, 0], [7, 1]]
    assert together({}) == {}
    assert "No worker answers" in render({})


def test_a_browser_asks_for_a_page() -> None:
    assert wants_page("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
    assert wants_page("TEXT/HTML")
    for accept in ("", "*/*", "application/json", "text/plain"):
        assert not wants_page(accept)


@given(st.text(alphabet=st.sampled_from("<>&\"'x/ =")))
async def test_whatever_an_upstream_is_called_stays_text(name: str) -> None:
    metrics = Metrics()
    metrics.upstream(name)
    recent = Recent(metrics, 0.0)
    window = recent.window(60, 1.0).as_json()
    window["faults"] = window["callers"] = {name: 1}
    parts = {"hits": 0, "loads": 0, "entries": 0, "pushed": 1, "lag_seconds": 0, "circuit_open": 0}
    store = {"connections": 0, "connections_idle": 0, "connections_max": 1, "waiting": 0}
    told = {
        "version": name,
        "uptime_seconds": 1,
        "listening": True,
        "traffic": dict.fromkeys(
            ("in_flight", "connections", "connections_max", "tunnels", "loop_lag_seconds"), 0
        ),
        "upstreams": {
            name: {
                "open": 0,
                "idle": 0,
                "max": 1,
                "waiting": 0,
                "failing": 1,
                "panic": 1,
                "addresses": {name: {"open": 1, "behind": 1, "active": 1, "ejected": 1, "unhealthy": 1}},
            }
        },
        "recent": {"1m": window, "5m": window, "history": []},
        "identity": parts,
        "changes": parts,
        "store": {**parts, **store},
        "bcrypt": {"pending": 0, "capacity": 1},
    }
    plain, named = render({**told, "version": "", "upstreams": {}}, {}), render(told, {name: told})
    assert named.count("<script") == plain.count("<script") == 1
    for tag in ("<x", "</x", "<'", '<"', "<<", "<>"):
        assert tag not in named
