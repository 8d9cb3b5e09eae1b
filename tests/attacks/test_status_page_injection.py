"""Markup wherever a request has room for it, by an attacker who waits for an operator to open the status page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.calls import ask, bearer, get, post, request
from tests.support.peers import Client

if TYPE_CHECKING:
    from tests.support.worlds import Start, World


MARK = "<img/src=x/onerror=alert(x4711x)>"


@pytest.mark.parametrize("path", ["/status", "/status.json", "/metrics"])
async def test_nothing_of_a_request_reaches_the_page(path: str, world: World, start: Start) -> None:
    gateway = await start(world.url)
    for raw in (
        get(f"/{MARK}"),
        get(f"/x?{MARK}={MARK}"),
        get("/x", f"X-Request-ID: {MARK}", f"traceparent: {MARK}", f"User-Agent: {MARK}", f"Referer: {MARK}"),
        get("/api/x", bearer(MARK)),
        get("/api/x", f"X-API-Key: {MARK}"),
        get("/api/x", f"X-Organization-ID: {MARK}"),
        request("x4711x", "/x"),
        request("PURGEx4711x", "/x"),
        get("/x").replace(b"gateway.test", MARK.encode()),
        post("/api/auth/login", {"email": MARK, "password": MARK}),
        post("/api/auth/register", {"email": f"{MARK}@x.example", "password": MARK, "full_name": MARK}),
    ):
        await ask(gateway, raw)
    async with Client(gateway.admin_address) as admin:
        answer = await admin.exchange(get(f"{path}?{MARK}", "Accept: text/html", f"X-Evil: {MARK}"))
    assert answer.status == 200
    assert b"x4711x" not in answer.body
    assert b"onerror" not in answer.body


async def test_the_admin_listener_reflects_no_path(world: World, start: Start) -> None:
    gateway = await start(world.url)
    async with Client(gateway.admin_address) as admin:
        answer = await admin.exchange(get(f"/status/{MARK}", "Accept: text/html"))
    assert answer.status == 404
    assert b"x4711x" not in answer.body
