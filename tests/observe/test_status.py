"""The page at /status: live, in a real browser; the same numbers as JSON; nothing on it that a client could write."""

from __future__ import annotations

import asyncio
import html
import json
import platform
import re
import tempfile
import time
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from selenium import webdriver

from authcore.store.changes import Hearing
from authcore.store.migrate import migrations
from gateway.metrics import Metrics
from gateway.metrics.meters import DURATION_BUCKETS
from gateway.status.causes import CERTIFICATES, causes
from gateway.status.page import HEADERS, render, wants_page
from gateway.status.recent import NOTE_SECONDS, Recent, quantile
from gateway.status.report import together
from gateway.version import is_compiled
from tests.laws import ROOT
from tests.observe.drawn import anchors
from tests.observe.scraping import reads, traffic
from tests.support.admin import all_listening, ask_admin
from tests.support.calls import ask, bearer, get, post
from tests.support.peers import Client
from tests.support.processes import children, eventually, serving, stopped
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
        loaded = json.loads(told)
        assert set(loaded["workers"]) == {"0", "1"}
        each = [one["recent"]["1m"]["requests"] for one in loaded["workers"].values()]
        assert loaded["together"]["recent"]["1m"]["requests"] == sum(each) == 20
        async with Client(admin) as client:
            page = await client.exchange(get("/status", "Accept: text/html", "Connection: close"))
        assert page.one("Content-Security-Policy") == HEADERS["Content-Security-Policy"]
        assert (
            page.body.count(b'<td data-title="worker">0</td>')
            == page.body.count(b'<td data-title="worker">1</td>')
            == 1
        )


# -- what is not in order ---------------------------------------------------------------------------------------


COLOURED = re.compile(r'class="number (?:warn|bad)" id="(\w+)"')


async def test_a_number_has_a_colour_only_for_a_cause_and_each_cause_leads_to_the_runbook(
    start: Start, world: World
) -> None:
    base = "https://docs.example.com/runbook/"
    gateway = await start(upstream={"url": "http://127.0.0.1:1"}, admin={"runbook_url": base})
    for _ in range(3):
        await ask(gateway, get("/health"))
        await ask(gateway, post("/api/auth/login", {"email": "a@example.com", "password": "12345678"}))
        await ask(gateway, get("/api/x", bearer(world.token(world.agent))))
    page = (await status(gateway, "Accept: text/html")).body.decode()
    causes = (await status(gateway, path="/status.json")).json()["causes"]
    assert set(COLOURED.findall(page)) - {"loop", "p99"} == {"failed", "lag", "store"}  # on a busy machine
    assert {cause["of"] for cause in causes} >= {
        "failed",
        "lag",
        "store",
        "upstream upstream",
        "upstream gateway",
    }
    found = anchors(ROOT / "docs" / "runbook.md")
    for cause in causes:
        assert cause["runbook"] in found
        assert f'<a href="{base}#{cause["runbook"]}">' in page
    assert "Everything is in order." not in page


async def test_a_gateway_that_is_in_order_says_so_and_names_what_runs(world: World, start: Start) -> None:
    gateway = await start(world.url)
    assert (await ask(gateway, get("/health"))).status == 200
    await reads(gateway, "gateway_changes_pushed", 1)
    await reads(gateway, "gateway_ready", 1)
    told = (await status(gateway)).json()
    assert [cause for cause in told["causes"] if cause["of"] != "loop"] == []
    assert told["readiness"] == {"ready": True, "checks": dict.fromkeys(told["readiness"]["checks"], "ok")}
    assert told["versions"]["python"] == platform.python_version()
    assert told["versions"]["warm path"] == ("compiled" if is_compiled() else "interpreted")
    assert told["versions"]["newest migration it knows"] == migrations()[-1].name
    for name in ("settings read", "routes read"):
        assert datetime.strptime(told["versions"][name], "%Y-%m-%d %H:%M:%S %Z")  # noqa: DTZ007 -- its form alone
    page = (await status(gateway, "Accept: text/html")).body.decode()
    assert f'<td data-title="">{told["versions"]["routes read"]}</td>' in page


def everything_wrong() -> dict[str, Any]:
    """A report in which each cause there is has a reason to be."""
    window = {
        "seconds": 60,
        "requests": 100,
        "refused": 0,
        "failed": 7,
        "buckets": [0] * len(DURATION_BUCKETS) + [9],
        "faults": {"missing": 3, "upstream_lost": 4, "store_down": 1},
        "callers": {},
        "upstreams": {name: {"buckets": [], "answered": 5, "failed": 2} for name in ("gateway", "some")},
    }
    base = {"open": 9, "idle": 0, "max": 10, "waiting": 0, "failing": 0, "panic": 0, "addresses": {}}
    ill = {"open": 1, "behind": 1, "active": 0, "ejected": 1, "unhealthy": 1}
    return {
        "version": "1",
        "uptime_seconds": 90,
        "listening": True,
        "readiness": {"ready": False, "checks": {"migrations": "pending: 0028", "database": "ok"}},
        "traffic": {
            "in_flight": 0,
            "connections": 10,
            "connections_max": 10,
            "tunnels": 0,
            "loop_lag_seconds": 3,
        },
        "upstreams": {
            "gateway": base,
            "some": base,
            "fails": {**base, "failing": 3},
            "awaited": {**base, "awaiting": 2},
            "away": {**base, "away": 1},
            "panics": {**base, "panic": 1, "addresses": {"a:1": ill}},
        },
        "recent": {"1m": window, "5m": {**window, "seconds": 90}, "history": [[1.0, 0.0]]},
        "identity": {"hits": 0, "loads": 0, "entries": 0},
        "changes": {"pushed": 1, "lag_seconds": 4},
        "store": {
            "connections": 10,
            "connections_idle": 1,
            "connections_max": 10,
            "connections_allowed": 3,
            "waiting": 0,
            "circuit_open": 1,
            "read_only": 1,
            "disk_full": 1,
        },
        "bcrypt": {"pending": 9, "capacity": 10},
        "workers": {"wanted": 2, "answering": 1},
        "moment": 1000.0,
        "watched": {
            "gateway_audit_away": {"": 1.0},
            "gateway_changes_expected": {"": 1.0},
            "gateway_clock_skew_seconds": {"": -4.0},
            "gateway_key_ring_outdated": {"": 1.0},
            "gateway_limits_store_up": {"": 0.0},
            "gateway_routes_reload_ok": {"": 0.0},
            "gateway_shed_level": {"": 2.0},
            "gateway_tls_certificate_expiry_timestamp_seconds": {"/a.crt": 999.0, "/b.crt": 1001.0},
            "gateway_whatomate_redis_up": {"": 0.0},
        },
    }


OF_COUNTS = {
    "absent",
    "auditrecordslost",
    "callersrefused",
    "drops",
    "logdropped",
    "signinsrefused",
    "telemetrylost",
    "workersdie",
}
"""Alerts on what has been counted for minutes, or on a gateway that cannot be asked; the runbook says the same."""


def test_each_alert_on_a_present_state_has_a_cause_on_the_page() -> None:
    alerts = {
        anchor for anchor in anchors(ROOT / "docs" / "runbook.md") if anchor.startswith("whatomategateway")
    }
    told = everything_wrong()
    unheard = {**told, "changes": {"pushed": 0, "lag_seconds": 9}}
    named = {cause.runbook for cause in (*causes(told), *causes(unheard))}
    assert alerts - named == {f"whatomategateway{one}" for one in OF_COUNTS}


@pytest.mark.parametrize(("ends", "level"), [(999.0, "bad"), (1001.0, "warn"), (1000.0 + 8 * 86_400, None)])
def test_a_certificate_is_named_a_week_before_its_end(ends: float, level: str | None) -> None:
    told = {**everything_wrong(), "watched": {CERTIFICATES: {"/a.crt": ends}}}
    found = [(one.level, "/a.crt" in one.text) for one in causes(told) if "certificate" in one.runbook]
    assert found == ([] if level is None else [(level, True)])


def test_without_triggers_it_is_in_order_that_time_bounds_revocations() -> None:
    told = {**everything_wrong(), "changes": {"pushed": 0, "lag_seconds": 9}}
    told["watched"]["gateway_changes_expected"][""] = 0.0
    assert not [one for one in causes(told) if one.of == "lag"]


def test_a_report_of_several_has_a_gauge_as_their_metrics_have_it() -> None:
    def one(skew: float, up: float) -> dict[str, Any]:
        gauges = {"gateway_clock_skew_seconds": {"": skew}, "gateway_whatomate_redis_up": {"": up}}
        return {"recent": {}, "watched": gauges, "moment": up}

    told = together({"0": one(1, 1), "1": one(-9, 0), "2": {"checks": {}}})
    assert told["watched"] == {"gateway_clock_skew_seconds": {"": -9}, "gateway_whatomate_redis_up": {"": 0}}
    assert (told["moment"], told["workers"]) == (1, {"wanted": 3, "answering": 2})


async def test_a_route_file_that_is_refused_is_on_the_page(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text("routes: [{name: pages, match: {path: /*}, auth: public}]\n")
    gateway = await start(routes=file)

    async def of_routes() -> list[str]:
        told = (await status(gateway, path="/status.json")).json()
        return [one["text"] for one in told["causes"] if one["runbook"] == "whatomategatewayroutesrefused"]

    assert not await of_routes()
    file.write_text("routes: [\n")
    gateway.reload()
    await eventually(of_routes)


async def test_a_worker_that_stands_still_is_on_the_page(upstream: Upstream) -> None:
    async with serving(upstream, "--workers", "2") as (process, _, admin):
        await all_listening(admin, 2)
        assert json.loads((await ask_admin(admin, "/readyz"))[1])["revocation"]["bound_by"] == "time"
        with stopped(children(process.pid)[0]):
            told = json.loads((await ask_admin(admin, "/status.json"))[1])["together"]
    found = [one["text"] for one in told["causes"] if one["runbook"] == "whatomategatewayworkersmissing"]
    assert found == ["1 of 2 workers do not answer, so it is not ready."]


def test_a_gateway_that_is_not_ready_is_not_called_serving() -> None:
    told = everything_wrong()
    told["store"]["circuit_open"] = 0
    assert '<span class="state bad" id="state">not ready</span>' in render(told)


def test_each_cause_there_is_has_an_entry_in_the_runbook_and_colours_what_it_is_of() -> None:
    told = everything_wrong()
    unheard = {**told, "changes": {"pushed": 0, "lag_seconds": 9}}
    found = [*causes(told), *causes(unheard), *causes({**told, "listening": False})]
    named = {cause.runbook for cause in found}
    written = Path(causes.__code__.co_filename).read_text(encoding="utf-8")
    known = {f"whatomategateway{anchor}" for anchor in re.findall(r'"([a-z]{4,})"[),\n]', written)}
    assert named == known & anchors(ROOT / "docs" / "runbook.md")
    assert len(named) > 15
    page = render(told)
    assert set(COLOURED.findall(page)) == {"failed", "p99", "loop", "lag", "store"}
    for cause in causes(told):
        assert cause.level in {"warn", "bad"}
        assert cause.text in html.unescape(page)
    assert "fails some" in page
    assert "GATEWAY_LIMIT_CONNECTIONS" in page


@pytest.mark.parametrize(
    ("upstream", "colour"),
    [({}, "good"), ({"failing": 3}, "dim"), ({"awaiting": 2}, "dim"), ({"away": 1}, "good")],
)
def test_an_endpoint_is_not_called_good_while_its_upstream_fails(
    upstream: dict[str, int], colour: str
) -> None:
    told = everything_wrong()
    at_work = {"open": 1, "behind": 0, "active": 1}
    told["upstreams"] = {"some": {**told["upstreams"]["some"], **upstream, "addresses": {"a:1": at_work}}}
    assert f'<td data-title="state" class="{colour}">in use</td>' in render(told)


def test_failures_stand_apart_from_denials() -> None:
    page = render(everything_wrong())
    sections = dict(re.findall(r'<section id="(\w+)">(.*?)</section>', page, re.DOTALL))
    assert "missing" in sections["denials"]
    for reason in ("upstream_lost", "store_down"):
        assert reason in sections["failures"]
        assert reason not in sections["denials"]


@pytest.mark.parametrize(
    ("seconds", "history", "words"),
    [
        (3.2, [], "in the last 3\u202fs<"),
        (12.0, [[1, 0], [2, 0]], "in the last 12\u202fs, at most 5 in 12\u202fs<"),
        (60.0, [[1, 0]] * 60, "in the last minute, at most 5 in five minutes<"),
    ],
)
def test_in_the_first_seconds_the_words_are_right(
    seconds: float, history: list[list[float]], words: str
) -> None:
    told = everything_wrong()
    told["recent"]["1m"] |= {"seconds": seconds, "requests": 5 * seconds}
    told["recent"]["5m"] |= {"seconds": seconds if seconds < 60 else 300}
    told["recent"]["history"] = history
    assert words in render(told)


async def test_on_a_narrow_screen_nothing_is_cut(world: World, start: Start) -> None:
    gateway = await start(world.url)
    await traffic(gateway, world)
    host, port = gateway.admin_address

    def look(driver: webdriver.Chrome) -> list[str]:
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True},
        )
        driver.get(f"http://{host}:{port}/status")
        return list(
            driver.execute_script(
                """return [...document.querySelectorAll("html, section, table, td")]
                .filter(one => one.scrollWidth > one.clientWidth + 1 || one.getBoundingClientRect().right > 391)
                .map(one => one.outerHTML.slice(0, 80))"""
            )
        )

    with browser() as driver:
        assert await asyncio.to_thread(look, driver) == []


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


def test_what_is_the_same_in_all_workers_or_wrong_with_one_is_not_added_up() -> None:
    endpoint = {"weight": 2, "behind": 1, "ejected": 1, "unhealthy": 1}
    once = {
        "issuer": {"keys": 3, "outdated": 1.0},
        "bcrypt": {"level": 10},
        "store": {"read_only": 1.0, "disk_full": 1.0, "circuit_open": 1.0},
        "changes": {"lag_seconds": 2.5, "pushed": 0.0},
        "revocation": {"at_most_seconds": 15.0},
        "upstreams": {"hub": {"panic": 1, "away": 1, "failing": 3, "addresses": {"10.0.0.1:80": endpoint}}},
    }
    added = {"issuer": {"fetches": 2}, "store": {"connections": 7}, "limits": {"network": {"keys": 1}}}
    whole = together({"0": {"recent": {}, **once}, "1": {"recent": {}, **once}})
    assert {part: whole[part] for part in once} == once
    whole = together({"0": {"recent": {}, **added}, "1": {"recent": {}, **added}})
    assert whole["issuer"] == {"fetches": 4}
    assert whole["store"] == {"connections": 14}
    assert whole["limits"] == {"network": {"keys": 2}}


def test_of_texts_that_of_a_worker_which_is_not_in_order_counts() -> None:
    good = {
        "revocation": {"bound_by": "push", "changes": str(Hearing.PUSHED)},
        "versions": {"last reading of the routes": "good"},
        "readiness": {"checks": {"database": "ok"}},
    }
    bad = {
        "revocation": {"bound_by": "time", "changes": str(Hearing.AWAY)},
        "versions": {"last reading of the routes": "refused; those from before stay in force"},
        "readiness": {"checks": {"database": "read-only"}},
    }
    for workers in ((good, bad), (bad, good), (bad, bad)):
        whole = together({str(number): {"recent": {}, **one} for number, one in enumerate(workers)})
        assert {part: whole[part] for part in bad} == bad
    whole = together({"0": {"recent": {}, **good}, "1": {"recent": {}, **good}})
    assert {part: whole[part] for part in good} == good


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
