"""Operator's pages asked for on the public listener, and public ones on the operator's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.calls import get, request
from tests.support.peers import Client

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.peers import Upstream

PATHS = ("/metrics", "/livez", "/readyz", "/status")


@pytest.mark.parametrize("path", PATHS)
async def test_an_admin_path_on_the_public_listener_is_the_upstreams(
    gateway: Gateway, client: Client, upstream: Upstream, path: str
) -> None:
    for host in ("gateway.test", "localhost", f"127.0.0.1:{gateway.admin_address[1]}"):
        answer = await client.exchange(get(path).replace(b"gateway.test", host.encode()))
        # The echo of the upstream, and nothing of ours.
        assert answer.json()["start"] == f"GET {path} HTTP/1.1"
        assert b"gateway_requests" not in answer.body
    assert len(upstream.requests) == 3


async def test_the_admin_listener_proxies_nothing_and_hosts_nothing(
    gateway: Gateway, upstream: Upstream
) -> None:
    for raw in (
        get("/"),
        get("/health"),
        get("/api/x"),
        request("POST", "/api/auth/login", "Content-Type: application/json", body=b"{}"),
        get("/debug"),
        get("/metrics/../api/x"),
        get(f"http://127.0.0.1:{gateway.address[1]}/health"),
        request("DELETE", "/metrics"),
        request("POST", "/readyz"),
    ):
        async with Client(gateway.admin_address) as client:
            assert (await client.exchange(raw)).status in (400, 404, 405)
    assert upstream.seen == b""


async def test_the_two_listeners_are_two_addresses(gateway: Gateway) -> None:
    assert gateway.address != gateway.admin_address
