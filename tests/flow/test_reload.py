"""Another route file takes the place of the one in force: whole or not at all, and nobody notices but by the routes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from gateway.assembly import routing
from tests.support.admin import all_listening, ask_admin, readings
from tests.support.calls import ask, get, is_refusal
from tests.support.certificates import Authority
from tests.support.peers import PATIENCE, Client, Upstream, read_head
from tests.support.ports import free_port
from tests.support.processes import serving
from tests.support.sockets import ASK, echoing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from tests.support.worlds import Start


RELOADS = 50


def written(routes: Mapping[str, str], **upstreams: Upstream) -> str:
    """A route file: path -> upstream."""
    ports = {name: {"url": f"http://127.0.0.1:{upstream.port}"} for name, upstream in upstreams.items()}
    entries = [
        {"name": f"r{number}", "auth": "public", "match": {"path": path}, "upstream": upstream}
        for number, (path, upstream) in enumerate(routes.items())
    ]
    return json.dumps({"upstreams": ports, "routes": entries})  # JSON is YAML


def put(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")


def config_map(folder: Path) -> None:
    """Make what Kubernetes mounts: routes.yaml -> ..data/routes.yaml, ..data -> ..2026_1."""
    for version, path in (("..2026_1", "/a"), ("..2026_2", "/b")):
        (folder / version).mkdir()
        put(folder / version / "routes.yaml", f"routes: [{{name: x, auth: public, match: {{path: {path}}}}}]")
        os.utime(folder / version / "routes.yaml", (1, 1))  # nothing but the content tells them apart
    (folder / "..data").symlink_to("..2026_1")
    (folder / "routes.yaml").symlink_to("..data/routes.yaml")


def swap(folder: Path) -> None:
    """A new link is renamed over ..data."""
    (folder / "..data_tmp").symlink_to("..2026_2")
    (folder / "..data_tmp").replace(folder / "..data")


def without_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every look read a refused file again."""
    monkeypatch.setattr(routing, "AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(routing, "SPARING", 0)


async def until(what: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await what():
            await asyncio.sleep(0.05)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "routes.yaml"


async def test_fifty_reloads_under_load_lose_no_request(start: Start, upstream: Upstream, file: Path) -> None:
    async with Upstream() as one, Upstream() as two:
        turns = [
            written({"/*": name, "/stays": "stays"}, **{name: far, "stays": upstream})
            for name, far in (("one", one), ("two", two))
        ]
        put(file, turns[0])
        gate = await start(routes=file)
        answered: list[int] = []
        done = asyncio.Event()

        async def load(target: str) -> None:
            async with Client(gate.address) as client:
                while not done.is_set():
                    answered.append((await client.exchange(get(target))).status)

        tasks = [asyncio.create_task(load(target)) for target in ("/a", "/b/c", "/stays", "/stays")]
        for turn in range(1, RELOADS + 1):
            before = len(answered)
            put(file, turns[turn % 2])
            assert await gate.routing.reload("test")
            await until(lambda before=before: _more(answered, before))  # type: ignore[misc]  # mypy reads no default
        done.set()
        await asyncio.gather(*tasks)
        assert set(answered) == {200}
        assert one.requests
        assert two.requests
        assert len(upstream.raw) <= 2, "the upstream that stays keeps its connections"
        told = await readings(gate)
        assert told['gateway_routes_reloads_total{outcome="ok"}'] == RELOADS
        assert told['gateway_routes_reloads_total{outcome="refused"}'] == 0
        assert told["gateway_routes_reload_ok"] == 1
        assert told["gateway_requests_in_flight"] == 0


async def _more(answered: list[int], before: int) -> bool:
    return len(answered) > before + 2


async def test_a_file_that_is_refused_keeps_the_routes_and_raises_the_metric(
    start: Start,
    upstream: Upstream,
    file: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    put(file, "routes: [{name: a, auth: public, match: {path: /a}}]")
    gate = await start(routes=file)
    loaded = (await readings(gate))["gateway_routes_loaded_timestamp_seconds"]
    put(file, "routes:\n  - {name: b, match: {path: /b}}\n  - {name: c, auth: public, match: {path: c}}\n")
    assert not await gate.routing.reload("test")
    told = await readings(gate)
    assert told["gateway_routes_reload_ok"] == 0
    assert told['gateway_routes_reloads_total{outcome="refused"}'] == 1
    assert told["gateway_routes_loaded_timestamp_seconds"] == loaded
    assert (await ask(gate, get("/a"))).status == 200
    is_refusal(await ask(gate, get("/b")), 404)
    log = capsys.readouterr().out
    assert "routes.yaml:2: routes[0].auth: is missing" in log
    assert "routes.yaml:3: routes[1].match.path[0]: should begin with /" in log
    put(file, "routes: [{name: b, auth: public, match: {path: /b}}]")
    assert await gate.routing.reload("test")
    assert (await readings(gate))["gateway_routes_reload_ok"] == 1
    assert (await ask(gate, get("/b"))).status == 200


@pytest.mark.parametrize("text", ["", "# being written\n", "---\n", "\ufeff\n"])
async def test_a_file_that_was_emptied_changes_nothing(
    text: str, start: Start, upstream: Upstream, file: Path
) -> None:
    """An editor, or a full disk, leaves such a file: without any route every path would be 404."""
    put(file, "routes: [{name: a, auth: public, match: {path: /a}}]")
    gate = await start(routes=file)
    put(file, text)
    assert not await gate.routing.reload("test")
    assert (await readings(gate))["gateway_routes_reload_ok"] == 0
    assert (await ask(gate, get("/a"))).status == 200
    put(file, "routes: []")
    assert await gate.routing.reload("test")
    is_refusal(await ask(gate, get("/a")), 404)


async def test_a_change_of_the_file_is_noticed(start: Start, upstream: Upstream, file: Path) -> None:
    put(file, "routes: [{name: a, auth: public, match: {path: /a}}]")
    gate = await start(routes=file)
    is_refusal(await ask(gate, get("/b")), 404)
    put(file, "routes: [{name: b, auth: public, match: {path: /b}}]")

    async def found() -> bool:
        return (await ask(gate, get("/b"))).status == 200

    await until(found)
    is_refusal(await ask(gate, get("/a")), 404)


async def test_the_swap_of_a_config_map_is_a_change(start: Start, upstream: Upstream, tmp_path: Path) -> None:
    config_map(tmp_path)
    gate = await start(routes=tmp_path / "routes.yaml")
    assert (await ask(gate, get("/a"))).status == 200
    swap(tmp_path)

    async def found() -> bool:
        return (await ask(gate, get("/b"))).status == 200

    await until(found)


async def test_a_route_file_refused_for_a_missing_authority_file_is_loaded_once_that_is_there(
    start: Start,
    upstream: Upstream,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A ConfigMap names the authority that a Secret brings a little later."""
    without_a_pause(monkeypatch)
    put(file, "routes: [{name: a, auth: public, match: {path: /a}}]")
    gate = await start(routes=file)
    authority = file.with_name("late-authority.pem")
    put(
        file,
        "upstreams: {secured: {url: 'https://127.0.0.1:1', tls: {ca_file: " + str(authority) + "}}}\n"
        "routes: [{name: b, auth: public, match: {path: /b}}]",
    )
    assert not await gate.routing.reload("test")
    for _ in range(4):
        await gate.routing.look()
    told = await readings(gate)
    assert told['gateway_routes_reloads_total{outcome="refused"}'] == 1, "what has not changed is no news"
    assert capsys.readouterr().out.count("routes_refused") == 1
    is_refusal(await ask(gate, get("/b")), 404)
    Authority(file.parent, "late")
    for _ in range(2):
        await gate.routing.look()
    assert (await ask(gate, get("/b"))).status == 200
    assert (await readings(gate))["gateway_routes_reload_ok"] == 1


async def test_a_refused_route_file_with_a_new_problem_is_logged_again(
    start: Start, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(file, "routes: [{name: a, auth: public, match: {path: /a}}]")
    gate = await start(routes=file)
    authority = file.with_name("authority.pem")
    put(
        file,
        "upstreams: {secured: {url: 'https://127.0.0.1:1', tls: {ca_file: " + str(authority) + "}}}\n"
        "routes: [{name: b, auth: public, match: {path: /b}}]",
    )
    assert not await gate.routing.reload("test")
    capsys.readouterr()
    put(authority, "no certificate")
    for _ in range(3):
        await gate.routing.look()
    assert "routes_refused" not in capsys.readouterr().out, "there is a pause before it is read again"
    without_a_pause(monkeypatch)
    assert not await gate.routing.reload("test")
    capsys.readouterr()
    authority.unlink()
    await gate.routing.look()
    assert capsys.readouterr().out.count("routes_refused") == 1


async def test_a_touched_file_with_the_same_content_is_no_reload(start: Start, file: Path) -> None:
    put(file, "routes: [{name: a, auth: public, match: {path: /a}}]")
    gate = await start(routes=file)
    table = gate.routing.table
    os.utime(file, (1, 1))
    for _ in range(2):  # the second look reads what the first found changed
        await gate.routing.look()
    assert gate.routing.table is table
    put(file, "routes: [{name: b, auth: public, match: {path: /b}}]")
    for _ in range(2):
        await gate.routing.look()
    assert gate.routing.table is not table


async def test_what_is_under_way_ends_where_it_began(start: Start, file: Path) -> None:
    """A long answer and a WebSocket of an upstream that vanishes; its idle connections close."""
    release = asyncio.Event()
    async with AsyncExitStack() as stack:
        old, new = await stack.enter_async_context(Upstream()), await stack.enter_async_context(Upstream())
        sockets = await stack.enter_async_context(Upstream())

        async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                head = await read_head(reader)
                if head.start.startswith(b"GET /slow"):
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
                    await release.wait()
                    writer.write(b"cd")
                else:
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        old.script, sockets.script = slowly, echoing()
        put(file, written({"/*": "far", "/chat": "ws"}, far=old, ws=sockets))
        gate = await start(routes=file)
        slow = await stack.enter_async_context(Client(gate.address))
        chat = await stack.enter_async_context(Client(gate.address))
        assert (await ask(gate, get("/quick"))).status == 200
        await slow.send(get("/slow"))
        assert (await read_head(slow.reader)).status == 200
        await chat.send(ASK)
        assert (await read_head(chat.reader)).status == 101

        put(file, written({"/*": "near"}, near=new))
        assert await gate.routing.reload("test")
        assert (await ask(gate, get("/quick"))).status == 200
        assert len(new.requests) == 1
        await chat.send(b"still")
        assert await asyncio.wait_for(chat.reader.readexactly(5), PATIENCE) == b"still"
        release.set()
        assert await asyncio.wait_for(slow.reader.readexactly(4), PATIENCE) == b"abcd"
        assert (await slow.exchange(get("/quick"))).status == 200
        assert len(new.requests) == 2
        told = await readings(gate)
        assert not any("far" in name and "connections" in name for name in told)


async def test_an_upstream_that_was_taken_out_of_the_file_fails_no_longer_on_the_metrics_page(
    start: Start, upstream: Upstream, file: Path
) -> None:
    put(file, written({"/*": "near", "/old": "away"}, near=upstream, away=Upstream(port=free_port())))
    gate = await start(routes=file)
    assert (await ask(gate, get("/old"))).status == 502
    assert (await readings(gate))['gateway_upstream_failing{upstream="away"}'] == 1
    put(file, written({"/*": "near"}, near=upstream))
    assert await gate.routing.reload("test")
    told = await readings(gate)
    assert told['gateway_upstream_failing{upstream="near"}'] == 0
    assert 'gateway_upstream_failing{upstream="away"}' not in told
    failures = 'gateway_upstream_failures_total{reason="upstream_unreachable",upstream="away"}'
    assert told[failures] == 1, "a counter stays"


async def test_sighup_reaches_every_worker(upstream: Upstream, file: Path) -> None:
    async with Upstream() as other:
        put(file, written({"/*": "far"}, far=upstream))
        async with serving(upstream, "--workers", "2", GATEWAY_ROUTES=str(file)) as (process, address, admin):
            await all_listening(admin, 2)
            put(file, written({"/*": "far"}, far=other))
            process.send_signal(signal.SIGHUP)

            async def both() -> bool:
                _, page = await ask_admin(admin, "/metrics/workers")
                lines = [
                    line for line in page.splitlines() if line.startswith("gateway_routes_reloads_total")
                ]
                return sum('outcome="ok"' in line and not line.endswith(" 0.0") for line in lines) == 2

            await until(both)
            for _ in range(20):
                async with Client(address) as client:
                    assert (await client.exchange(get("/x"))).status == 200
            assert (len(upstream.requests), len(other.requests)) == (0, 20)
            assert process.returncode is None


async def test_sighup_without_a_route_file_does_no_harm(upstream: Upstream) -> None:
    async with serving(upstream) as (process, address, _):
        process.send_signal(signal.SIGHUP)
        async with Client(address) as client:
            for _ in range(5):
                assert (await client.exchange(get("/"))).status == 200
                await asyncio.sleep(0.05)
        assert process.returncode is None
