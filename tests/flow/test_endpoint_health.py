"""Endpoints that hang, reset, refuse or answer 503, seen by callers: ejection, active checks, panic, and their end."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from tests.support.admin import admin, readings
from tests.support.calls import ask, get, post
from tests.support.certificates import Authority
from tests.support.peers import PATIENCE, Client, Message, Upstream, read_head
from tests.support.ports import free_port
from tests.support.processes import stand_still

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
    from pathlib import Path

    from gateway.app import Gateway
    from tests.support.worlds import Start

    Begin = Callable[..., Awaitable["Site"]]
    Events = Callable[..., list[dict[str, Any]]]

LONG: dict[str, Any] = {"base_seconds": 3600, "max_seconds": 3600}
"""An ejection that no test outlasts."""
CHECKS: dict[str, Any] = {
    "path": "/ready",
    "interval_seconds": 0.5,
    "timeout_seconds": 0.5,
    "jitter_percent": 0,
    "rise": 1,
    "fall": 2,
}
"""Checks that forgive a machine one that came too late."""


class Node(Upstream):
    """An endpoint that does as it is bid.

    Attributes:
        does: What it does to callers: ``answer``, ``503``, ``reset`` or ``hang``.
        ready: What it answers to checks; 0: it hangs.
        checks, calls: The requests of either kind.
    """

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.does, self.ready = "answer", 200
        self.checks: list[Message] = []
        self.calls: list[Message] = []
        self.script = self._serve

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            message = await read_head(reader)
            is_check = message.start.split(b" ")[1] == b"/ready"
            (self.checks if is_check else self.calls).append(message)
            does = ("hang" if self.ready == 0 else str(self.ready)) if is_check else self.does
            if does == "hang":
                while await reader.read(65_536):
                    pass
                return
            if does == "reset":
                plain: socket.socket = writer.get_extra_info("socket")
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            status = int(does) if does.isdigit() else 200
            writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status)


@pytest.fixture
async def nodes() -> AsyncIterator[list[Node]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Node()) for _ in range(3)]


class Site:
    """A gateway before nodes, by a route file that can be written anew."""

    def __init__(self, file: Path, urls: Iterable[str], **upstream: Any) -> None:
        self.file = file
        self.upstream: dict[str, Any] = {"url": list(urls), "slow_start_seconds": 0, **upstream}
        self.gateway: Gateway
        self.write()

    def write(self, **upstream: Any) -> None:
        self.upstream |= upstream
        routes = [{"name": "all", "match": {"path": "/*"}, "auth": "public", "upstream": "app"}]
        self.file.write_text(json.dumps({"upstreams": {"app": self.upstream}, "routes": routes}))

    async def reload(self, **upstream: Any) -> None:
        self.write(**upstream)
        assert await self.gateway.routing.reload("test")

    async def ask(self, number: int = 1) -> list[int]:
        """Ask so many times, each on a connection of its own; return the statuses."""
        return [(await ask(self.gateway, get("/x"))).status for _ in range(number)]

    async def endpoints(self) -> dict[str, dict[str, int]]:
        report = (await admin(self.gateway, "/status.json")).json()
        found: dict[str, dict[str, int]] = report["upstreams"]["app"]["addresses"]
        return found

    async def away(self, node: Upstream, kind: str = "behind") -> bool:
        return bool((await self.endpoints())[f"127.0.0.1:{node.port}"][kind])

    async def until(self, what: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not await what():
                await asyncio.sleep(0.02)

    async def until_unhealthy(self, *bad: Upstream) -> None:
        """Wait until these fail their checks, and no others."""
        names = {f"127.0.0.1:{node.port}" for node in bad}

        async def unhealthy() -> bool:
            return {name for name, one in (await self.endpoints()).items() if one["unhealthy"]} == names

        await self.until(unhealthy)

    async def ejections(self, cause: str) -> float:
        page = await readings(self.gateway)
        return page[f'gateway_upstream_ejections_total{{cause="{cause}",upstream="app"}}']


@pytest.fixture
def events() -> Iterator[Events]:
    """The events of these names, in their order."""
    with capture_logs() as logged:
        yield lambda *names: [dict(line) for line in logged if line["event"] in names]


@pytest.fixture
def begin(start: Start, tmp_path: Path) -> Callable[..., Awaitable[Site]]:
    async def started(nodes: Iterable[Upstream], scheme: str = "http", **upstream: Any) -> Site:
        site = Site(
            tmp_path / "routes.yaml", [f"{scheme}://127.0.0.1:{node.port}" for node in nodes], **upstream
        )
        site.gateway = await start(
            routes=site.file,
            upstream={"url": None, "connect_timeout_seconds": PATIENCE},
            timeout={"drain_seconds": 0.1},
        )
        return site

    return started


async def fail_until_ejected(site: Site, node: Node) -> list[int]:
    """Ask until `node` is ejected; return the statuses."""
    statuses: list[int] = []

    async def ejected() -> bool:
        statuses.extend(await site.ask())
        return await site.away(node, "ejected")

    await site.until(ejected)
    return statuses


# -- passive ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("does", "cause", "status"), [("503", "status", 503), ("reset", "reset", 502), ("hang", "timeout", 504)]
)
async def test_an_endpoint_that_fails_in_a_row_is_ejected_and_callers_are_served_by_the_others(
    begin: Begin, nodes: list[Node], does: str, cause: str, status: int
) -> None:
    bad = nodes[0]
    bad.does = does
    # The others must answer within it, on a machine that is busy.
    site = await begin(nodes, ejection={"failures": 2, **LONG}, head_timeout_seconds=1)
    statuses = await fail_until_ejected(site, bad)
    assert statuses.count(status) == 2
    assert set(statuses) <= {200, status}
    failed = len(bad.calls)
    assert await site.ask(20) == [200] * 20
    assert len(bad.calls) == failed
    assert await site.ejections(cause) == 1
    assert await site.away(bad)


async def test_one_that_cannot_be_connected_to_costs_no_request_and_is_ejected_by_its_first_failure(
    begin: Begin, nodes: list[Node]
) -> None:
    gone = Upstream(port=free_port())
    site = await begin([*nodes[:2], gone], ejection=LONG)

    async def ejected() -> bool:
        assert await site.ask() == [200]
        return await site.away(gone, "ejected")

    await site.until(ejected)
    assert await site.ejections("connect") == 1


async def test_failures_with_successes_between_them_eject_nobody(begin: Begin, nodes: list[Node]) -> None:
    node = nodes[0]
    site = await begin(nodes[:2], ejection={"failures": 2, **LONG}, balance="round_robin")
    async with asyncio.timeout(PATIENCE):
        while len(node.calls) < 9:
            node.does = "503" if node.does == "answer" else "answer"
            seen = len(node.calls)
            while len(node.calls) == seen:
                await site.ask()
    assert not await site.away(node)


async def test_one_that_is_back_goes_again_by_its_first_failure_and_stays_once_it_works(
    begin: Begin, nodes: list[Node], events: Events
) -> None:
    bad = nodes[0]
    bad.does = "503"
    site = await begin(nodes[:2], ejection={"failures": 2, "base_seconds": 0.05, "max_seconds": 3600})

    async def ejected_often() -> bool:
        await site.ask()
        return await site.ejections("status") >= 3

    await site.until(ejected_often)
    bad.does = "answer"
    seen = len(bad.calls)

    async def works() -> bool:
        assert await site.ask() == [200]
        return len(bad.calls) > seen + 3

    await site.until(works)
    assert not await site.away(bad)
    changes = events("endpoint_ejected", "endpoint_returned")
    assert [line["event"] for line in changes][:4] == ["endpoint_ejected", "endpoint_returned"] * 2
    assert {line["endpoint"] for line in changes} == {f"127.0.0.1:{bad.port}"}
    assert {(line["upstream"], line["cause"]) for line in changes} == {("app", "status")}
    ejected = [line for line in changes if line["event"] == "endpoint_ejected"]
    assert {line["failures"] for line in ejected} == {2}
    assert all(line["seconds"] >= 0.05 for line in ejected)


async def test_no_more_than_the_share_is_ejected(begin: Begin, nodes: list[Node]) -> None:
    for node in nodes[:2]:
        node.does = "503"
    site = await begin(nodes, ejection={"failures": 1, "max_percent": 34, **LONG})
    async with asyncio.timeout(PATIENCE):
        while not all(node.calls for node in nodes[:2]):
            await site.ask()
    await site.ask(30)
    ejected = [one for one in (await site.endpoints()).values() if one["ejected"]]
    assert len(ejected) == 1
    page = await readings(site.gateway)
    assert page['gateway_upstream_ejections_withheld_total{cause="status",upstream="app"}'] > 0


@pytest.mark.parametrize(
    "policy", [{"deadline_seconds": 1}, {"retry": {"when": "off", "try_timeout_seconds": 1}}]
)
async def test_an_endpoint_that_hangs_is_ejected_if_only_a_policys_time_ends_its_requests(
    begin: Begin, nodes: list[Node], policy: dict[str, Any]
) -> None:
    site = await begin(nodes, ejection={"failures": 2, **LONG}, **policy)
    nodes[0].does = "hang"
    while not await site.away(nodes[0]):
        assert set(await site.ask(4)) <= {200, 504}
    assert await site.ask(10) == [200] * 10
    assert await site.ejections("timeout") == 1


async def test_an_endpoint_that_had_a_request_for_less_than_half_of_the_deadline_is_not_ejected(
    begin: Begin, nodes: list[Node]
) -> None:
    for node in nodes:
        node.does = "hang"
    # Between the times is as much as a pause of this process prolongs an attempt by: what it took, and a second.
    site = await begin(
        nodes,
        ejection={"failures": 1, **LONG},
        deadline_seconds=5,
        retry={"try_timeout_seconds": 2.6, "attempts": 2, "budget_floor": 9, "backoff_seconds": 0.001},
    )
    assert await site.ask(1) == [504]
    assert sorted(len(node.calls) for node in nodes) == [0, 1, 1]
    assert sum([await site.away(node) for node in nodes]) == 1


@pytest.mark.parametrize("pauses", [False, True])
async def test_a_late_request_body_does_not_count_against_the_endpoint(
    begin: Begin, nodes: list[Node], pauses: bool
) -> None:
    """Nor does a pause of the gateway's own process after it."""
    site = await begin(nodes, ejection={"failures": 1, **LONG}, deadline_seconds=3)
    for node in nodes:
        node.does = "hang"
    async with Client(site.gateway.address) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: e\r\nContent-Length: 2\r\n\r\na")
        await asyncio.sleep(1.6)  # more than half of the deadline
        await client.send(b"b")
        if pauses:
            while not any(node.seen.endswith(b"ab") for node in nodes):
                await asyncio.sleep(0)
            stand_still(1.6)
        assert (await client.response()).status == 504
    assert not any([await site.away(node) for node in nodes])


async def test_an_only_endpoint_is_used_however_it_fails(begin: Begin, nodes: list[Node]) -> None:
    site = await begin(nodes[:1], ejection={"failures": 1, **LONG})
    nodes[0].does = "503"
    assert await site.ask(5) == [503] * 5
    nodes[0].does = "answer"
    assert await site.ask() == [200]
    assert await site.ejections("status") == 0


# -- active -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ready", [0, 503], ids=["hangs", "503"])
async def test_one_that_fails_its_checks_is_not_used_until_it_passes_them(
    begin: Begin, nodes: list[Node], ready: int, events: Events
) -> None:
    bad = nodes[0]
    bad.ready = ready
    bad.does = "hang"
    site = await begin(nodes, health=CHECKS, head_timeout_seconds=PATIENCE)
    await site.until_unhealthy(bad)
    assert await site.ask(20) == [200] * 20
    assert bad.calls == []
    async with Client(site.gateway.admin_address) as client:
        told = (await client.exchange(post("/explain", {"method": "GET", "path": "/x"}))).json()
    assert told["upstream"]["away"] == [f"127.0.0.1:{bad.port}"]
    bad.ready, bad.does = 200, "answer"

    async def used() -> bool:
        await site.ask()
        return bool(bad.calls)

    await site.until(used)
    changes = events("endpoint_unhealthy", "endpoint_healthy")
    assert [(line["event"], line["endpoint"]) for line in changes] == [
        ("endpoint_unhealthy", f"127.0.0.1:{bad.port}"),
        ("endpoint_healthy", f"127.0.0.1:{bad.port}"),
    ]
    assert changes[0]["problem"] == ("its answer is 503" if ready else "it did not answer in time")


async def test_a_flapping_endpoint_needs_its_rise_and_its_fall(begin: Begin, nodes: list[Node]) -> None:
    node = nodes[0]
    often = {"interval_seconds": 0.2, "timeout_seconds": 0.2}
    site = await begin(nodes[:2], health={**CHECKS, **often, "rise": 100, "fall": 5})
    seen = 0

    async def more_checks() -> bool:
        nonlocal seen
        if len(node.checks) > seen:
            seen = len(node.checks)
            node.ready = 503 if node.ready == 200 else 200  # every other check fails
        return seen >= 6

    await site.until(more_checks)
    assert not await site.away(node)
    node.ready = 503
    await site.until(lambda: site.away(node, "unhealthy"))
    node.ready, passed = 200, len(node.checks)

    async def some() -> bool:
        return len(node.checks) >= passed + 4

    await site.until(some)
    assert await site.away(node, "unhealthy")


async def test_checks_are_in_nobodys_name_and_count_as_no_callers_requests(
    begin: Begin, nodes: list[Node]
) -> None:
    site = await begin(nodes, health=CHECKS)

    async def checked() -> bool:
        return all(len(node.checks) >= 2 for node in nodes)

    await site.until(checked)
    async with Client(site.gateway.address) as client:
        raw = get("/x", "Authorization: Bearer a.b.c", "Cookie: a=b", "X-API-Key: whm_x")
        assert (await client.exchange(raw)).status == 200
    more = [len(node.checks) for node in nodes]

    async def checked_again() -> bool:
        return all(len(node.checks) >= before + 2 for node, before in zip(nodes, more, strict=True))

    await site.until(checked_again)
    for own, check in ((node.port, check) for node in nodes for check in node.checks):
        assert check.start == b"GET /ready HTTP/1.1"
        assert sorted(name for name, _ in check.lines) == [b"Accept", b"Connection", b"Host", b"User-Agent"]
        assert check.one("Host") == f"127.0.0.1:{own}"
    page = await readings(site.gateway)
    counted = {
        name: value for name, value in page.items() if 'upstream="app"' in name or "gateway_requests" in name
    }
    assert sum(value for name, value in counted.items() if name.startswith("gateway_requests_total")) == 1
    assert counted['gateway_upstream_response_seconds_count{upstream="app"}'] == 1
    assert counted['gateway_upstream_connections_opened_total{upstream="app"}'] == 1
    assert counted['gateway_upstream_health_checks_total{outcome="ok",upstream="app"}'] >= 3


async def test_checks_end_with_the_gateway_and_with_the_route_files_word(
    begin: Begin, nodes: list[Node]
) -> None:
    site = await begin(nodes[:1], health=CHECKS)
    node = nodes[0]

    async def checked() -> bool:
        return len(node.checks) >= 2

    await site.until(checked)
    site.upstream.pop("health")
    node.ready = 0
    await site.reload()
    await asyncio.sleep(0)  # the Task that was cancelled ends
    seen = len(node.raw)
    assert await site.ask(3) == [200] * 3
    assert len(node.raw) <= seen + 1, "a connection for callers, and no more checks"
    await site.reload(health={**CHECKS, "path": "/ready?again"})

    async def checked_otherwise() -> bool:
        return any(call.start == b"GET /ready?again HTTP/1.1" for call in node.calls)

    await site.until(checked_otherwise)
    await site.gateway.stop()
    seen = len(node.raw)
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("check ")]
    assert len(node.raw) == seen


async def test_when_all_fail_their_checks_all_are_used(
    begin: Begin, nodes: list[Node], events: Events
) -> None:
    for node in nodes:
        node.ready = 503
    site = await begin(nodes, health=CHECKS)

    async def panics() -> bool:
        return (await readings(site.gateway))['gateway_upstream_panic{upstream="app"}'] == 1

    await site.until(panics)
    async with asyncio.timeout(PATIENCE):
        while not all(node.calls for node in nodes):
            assert await site.ask() == [200]
    nodes[0].ready = nodes[1].ready = 200
    await site.until_unhealthy(nodes[2])
    assert not await panics()
    before = len(nodes[2].calls)
    assert await site.ask(10) == [200] * 10
    assert len(nodes[2].calls) == before
    assert [line["event"] for line in events("upstream_panics", "upstream_calm")] == [
        "upstream_panics",
        "upstream_calm",
    ]


# -- TLS, Unix sockets, names, reload -----------------------------------------------------------------------------


async def test_checks_speak_the_upstreams_tls(begin: Begin, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    ours = authority.issue("gateway.test")
    context: ssl.SSLContext = authority.server("app.test", clients=True)
    async with Node(tls=context) as good, Node(tls=authority.server("other.test")) as bad:
        tls = {
            "ca_file": str(authority.file),
            "server_name": "app.test",
            "cert_file": str(ours.certificate),
            "key_file": str(ours.key),
        }
        site = await begin([good, bad], scheme="https", tls=tls, health=CHECKS)
        await site.until_unhealthy(bad)

        async def checked() -> bool:
            return len(good.checks) >= 2

        await site.until(checked)
        assert await site.ask(5) == [200] * 5
        page = await readings(site.gateway)
        assert page['gateway_upstream_health_checks_total{outcome="tls",upstream="app"}'] >= 1
        assert page['gateway_upstream_tls_handshakes_total{resumed="no",upstream="app"}'] == 1


async def test_unix_sockets_are_checked_and_ejected_like_others(start: Start, tmp_path: Path) -> None:
    paths = [tmp_path / "one.sock", tmp_path / "two.sock"]
    async with Node(path=paths[0]) as good, Node(path=paths[1]) as bad:
        site = Site(tmp_path / "routes.yaml", [f"unix:{path}" for path in paths], health=CHECKS)
        bad.ready = 503
        site.gateway = await start(routes=site.file, upstream={"url": None})

        async def unhealthy() -> bool:
            return bool((await site.endpoints())[f"unix:{paths[1]}"]["unhealthy"])

        await site.until(unhealthy)
        assert await site.ask(5) == [200] * 5
        assert bad.calls == []
        assert good.checks[0].one("Host") == "localhost"


async def test_what_is_known_of_endpoints_outlives_a_change_of_the_route_file(
    begin: Begin, nodes: list[Node]
) -> None:
    ejected, unhealthy, good = nodes
    ejected.does, unhealthy.ready = "503", 503
    site = await begin(nodes, health={**CHECKS, "rise": 100}, ejection={"failures": 1, **LONG})
    await site.until_unhealthy(unhealthy)
    await fail_until_ejected(site, ejected)
    ejected.does, unhealthy.ready = "answer", 200
    calls = len(ejected.calls), len(unhealthy.calls)
    urls = [f"http://127.0.0.1:{node.port}" for node in (good, unhealthy, ejected)]
    await site.reload(
        url=urls, connections=7, ejection={"failures": 9, **LONG}, health={**CHECKS, "rise": 99}
    )
    assert await site.ask(10) == [200] * 10
    assert (len(ejected.calls), len(unhealthy.calls)) == calls
    assert await site.away(ejected, "ejected")
    assert await site.away(unhealthy, "unhealthy")


async def test_the_settings_are_for_the_service_at_the_upstream_url(start: Start) -> None:
    async with Node() as node:
        gateway = await start(
            upstream={
                "url": f"http://127.0.0.1:{node.port}",
                "health_path": "/ready",
                "health_host": "app.test",
                "health_interval_seconds": 0.5,
                "health_timeout_seconds": 0.5,
                "health_jitter_percent": 0,
            }
        )
        async with asyncio.timeout(PATIENCE):
            while len(node.checks) < 2:
                await asyncio.sleep(0.02)
        assert {check.one("Host") for check in node.checks} == {"app.test"}
        page = await readings(gateway)
        assert (
            page[
                f'gateway_upstream_endpoint_unhealthy{{endpoint="127.0.0.1:{node.port}",upstream="upstream"}}'
            ]
            == 0
        )
