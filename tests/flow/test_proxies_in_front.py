"""Proxies in front: clients are told apart by whatever form of address the proxy writes, or somebody hears of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from tests.support.calls import ask, get, post
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World

TRUSTED = ["127.0.0.0/8"]
STRICT = {"free_failures": 1000, "address_free_failures": 2, "delay_seconds": 600, "delay_max_seconds": 600}


@pytest.mark.parametrize("line", ["X-Forwarded-For: 203.0.113.{}:51{}", 'Forwarded: for="203.0.113.{}:51{}"'])
async def test_clients_behind_a_proxy_that_writes_ports_are_not_one(
    world: World, start: Start, line: str
) -> None:
    """One client's wrong passwords are not held against another one behind the same proxy."""
    gate = await start(world.url, trusted_proxies=TRUSTED, signin=STRICT)

    async def sign_in(client: int, password: str) -> int:
        lines = line.format(client, client)
        return (
            await ask(
                gate, post("/api/auth/login", {"email": "agent@example.com", "password": password}, lines)
            )
        ).status

    statuses = [await sign_in(7, "wrong") for _ in range(4)]
    assert 429 in statuses
    assert await sign_in(8, PASSWORD) == 200


async def test_a_hop_that_cannot_be_read_is_an_event_and_counted(start: Start, upstream: Upstream) -> None:
    gate = await start(trusted_proxies=TRUSTED)
    with capture_logs() as events:
        for element in ("unknown", "un\u00efque", "unknown"):
            await ask(gate, get("/health", f"X-Forwarded-For: {element}"))
    (event,) = [one for one in events if one["event"] == "forwarded_unreadable"]
    assert (event["field"], event["peer"], event["element"]) == ("X-Forwarded-For", "127.0.0.1", "unknown")
    assert upstream.requests[0].one("X-Real-IP") == "127.0.0.1"
    samples = {
        sample.labels["field"]: sample.value
        for family in gate.metrics.registry.collect()
        for sample in family.samples
        if sample.name == "gateway_forwarded_unreadable_total"
    }
    assert samples == {"X-Forwarded-For": 3.0}


@pytest.mark.parametrize(
    ("line", "field", "part", "element", "advice"),
    [
        ("Forwarded: for=_hidden", "Forwarded", "for", "_hidden", "write addresses"),
        ("Forwarded: for=1.2.3.4, nonsense", "Forwarded", "for", "for=1.2.3.4, nonsense", "write addresses"),
        ("Forwarded: for=1.2.3.4;proto=gopher", "Forwarded", "proto", "gopher", "write http or https"),
        ('Forwarded: for=1.2.3.4;host="a b"', "Forwarded", "host", "a b", "write the host"),
        ("X-Forwarded-Proto: Gopher", "X-Forwarded-Proto", "proto", "gopher", "write http or https"),
        ("X-Forwarded-Host: a b", "X-Forwarded-Host", "host", "a b", "write the host"),
    ],
)
async def test_what_cannot_be_read_is_reported_as_what_it_should_be(
    start: Start, upstream: Upstream, line: str, field: str, part: str, element: str, advice: str
) -> None:
    gate = await start(trusted_proxies=TRUSTED)
    with capture_logs() as events:
        await ask(gate, get("/health", line))
    (event,) = [one for one in events if one["event"] == "forwarded_unreadable"]
    assert (event["field"], event["part"], event["element"]) == (field, part, element)
    assert advice in event["advice"]
    assert upstream.requests[0].one("X-Forwarded-Proto") == "http"


@pytest.mark.parametrize("before", ["", "x" * 50])
async def test_a_credential_that_a_proxy_states_as_an_address_is_masked_before_it_is_cut(
    start: Start, world: World, before: str
) -> None:
    gate = await start(trusted_proxies=TRUSTED)
    with capture_logs() as events:
        await ask(gate, get("/health", f"X-Forwarded-For: {before}{world.api_key}"))
    (event,) = [one for one in events if one["event"] == "forwarded_unreadable"]
    assert event["element"] == f"{before}***"
