"""A caller who can make an upstream answer 503 tries to have its endpoints taken from everybody else."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.admin import admin
from tests.support.calls import ask, get, request
from tests.support.peers import Client, Upstream, read_head

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from gateway.app import Gateway
    from tests.support.worlds import Start


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Break for those who want it to, and for nobody else."""
    while True:
        message = await read_head(reader)
        status = {b"/break": 503, b"/lost": 404}.get(message.start.split(b" ")[1], 200)
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status)


@pytest.mark.parametrize("path", ["/break", "/lost"])
async def test_whoever_provokes_failures_takes_no_upstream_from_others(
    start: Start, tmp_path: Path, path: str
) -> None:
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(Upstream(script=serve)) for _ in range(3)]
        routes = [{"name": "all", "match": {"path": "/*"}, "auth": "public", "upstream": "app"}]
        upstream = {
            "url": [f"http://127.0.0.1:{node.port}" for node in nodes],
            "ejection": {"base_seconds": 60},
        }
        file = tmp_path / "routes.yaml"
        file.write_text(json.dumps({"upstreams": {"app": upstream}, "routes": routes}))
        gateway = await start(routes=file, upstream={"url": None})
        broken = [(await ask(gateway, get(path))).status for _ in range(100)]
        assert set(broken) == {503 if path == "/break" else 404}
        assert [(await ask(gateway, get("/x"))).status for _ in range(20)] == [200] * 20
        report = (await admin(gateway, "/status.json")).json()["upstreams"]["app"]
        ejected = sum(one["ejected"] for one in report["addresses"].values())
        assert (ejected, report["panic"]) == ((2, 0) if path == "/break" else (0, 0))


async def wait_for_the_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that knows nothing of 100: it answers when the body is there."""
    while True:
        message = await read_head(reader)
        if length := int(message.one("Content-Length") or 0):
            await reader.readexactly(length)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


@asynccontextmanager
async def three_endpoints(
    start: Start, tmp_path: Path, policy: dict[str, Any], **groups: dict[str, Any]
) -> AsyncIterator[Gateway]:
    """A gateway before three such servers, none of which is ejected in the end; `policy` is the upstream's."""
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(Upstream(script=wait_for_the_body)) for _ in range(3)]
        routes = [{"name": "all", "match": {"path": "/*"}, "auth": "public", "upstream": "app"}]
        upstream = {"url": [f"http://127.0.0.1:{node.port}" for node in nodes], **policy}
        file = tmp_path / "routes.yaml"
        file.write_text(json.dumps({"upstreams": {"app": upstream}, "routes": routes}))
        gateway = await start(routes=file, **groups)
        yield gateway
        report = (await admin(gateway, "/status.json")).json()["upstreams"]["app"]
        assert sum(one["ejected"] for one in report["addresses"].values()) == 0
        assert (await ask(gateway, get("/x"))).status == 200


async def test_a_client_that_waits_for_100_gets_no_endpoint_ejected(start: Start, tmp_path: Path) -> None:
    ejecting = {"ejection": {"base_seconds": 60, "failures": 2}}
    times = {"url": None, "head_timeout_seconds": 0.2}
    async with three_endpoints(start, tmp_path, ejecting, upstream=times) as gateway:
        for lines in (("Expect: 100-continue",), ("Expect: 100-continue", "Connection: expect")):
            raw = request("POST", "/x", *lines, "Content-Length: 5")
            assert [(await ask(gateway, raw)).status for _ in range(9)] == [504] * 9


WAITING = (
    (request("POST", "/x", "Expect: 100-continue", "Content-Length: 5"), b"", 504),
    (request("POST", "/x", "Content-Length: 5"), b"hi", 408),
)
"""Requests whose body is owed: none of it came, for want of a 100; and a part of it. And the status of the answer."""


@pytest.mark.parametrize(
    "policy",
    [
        {"retry": {"try_timeout_seconds": 0.5}},
        {"deadline_seconds": 1},
        {"retry": {"try_timeout_seconds": 0.5}, "deadline_seconds": 1},
    ],
)
async def test_a_client_that_holds_its_body_back_gets_no_endpoint_ejected_by_a_policys_time(
    start: Start, tmp_path: Path, policy: dict[str, Any]
) -> None:
    ejecting = {"ejection": {"base_seconds": 60, "failures": 1}, **policy}
    times = {"url": None, "head_timeout_seconds": 1}
    async with (
        three_endpoints(start, tmp_path, ejecting, upstream=times, timeout={"body_seconds": 1}) as gateway,
        AsyncExitStack() as stack,
    ):
        for head, part, status in WAITING:
            clients = [await stack.enter_async_context(Client(gateway.address)) for _ in range(6)]
            for client in clients:
                await client.send(head + part)
            answers = await asyncio.gather(*(client.response() for client in clients))
            assert [answer.status for answer in answers] == [status] * 6
