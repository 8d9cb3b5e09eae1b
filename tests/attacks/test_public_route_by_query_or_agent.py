"""A protected path made public by what is not its path: query, User-Agent, a header of another path."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.calls import get, is_refusal, request

if TYPE_CHECKING:
    from tests.support.peers import Client, Upstream


@pytest.mark.parametrize(
    "target",
    [
        *("/api/users?/health", "/api/users?path=/health", "/api/users?x=/api/webhook", "/api/users?.js"),
        *(
            "/api/users?/../../health",
            "/api/users?%2f..%2fhealth",
            "/api?/api/webhook",
            "/api/users??public=1",
        ),
        *(
            "/api/users&/health",
            "/api/users.css",
            "/api/users/favicon.ico",
            "/api/auth/loginx",
            "/api/webhookx",
        ),
    ],
)
async def test_the_query_and_what_looks_like_another_path_open_nothing(
    client: Client, upstream: Upstream, target: str
) -> None:
    for method in ("GET", "POST"):
        is_refusal(await client.exchange(request(method, target)), 401, "Missing authorization")
    assert upstream.seen == b""


@pytest.mark.parametrize(
    "line",
    [
        *(
            f"{name}: /health"
            for name in ("X-Forwarded-Uri", "X-Original-URL", "X-Original-URI", "X-Rewrite-URL")
        ),
        *(f"{name}: /health" for name in ("X-Envoy-Original-Path", "X-Forwarded-Path", "X-Forwarded-Prefix")),
        *("X-Forwarded-Method: OPTIONS", "X-HTTP-Method-Override: OPTIONS", "X-Method-Override: GET"),
        *("User-Agent: kube-probe/1.30", "User-Agent: GoogleHC/1.0", "User-Agent: ELB-HealthChecker/2.0"),
        *(
            "X-Forwarded-For: 127.0.0.1",
            "X-Real-IP: 127.0.0.1",
            "Forwarded: for=127.0.0.1",
            "X-Internal: true",
        ),
        *("Referer: http://gateway.test/health", "Purpose: prefetch", "X-Auth-Method: jwt", "X-User-ID: 1"),
    ],
)
async def test_no_header_opens_a_protected_path(client: Client, upstream: Upstream, line: str) -> None:
    is_refusal(await client.exchange(get("/api/users", line)), 401, "Missing authorization")
    assert upstream.seen == b""


@pytest.mark.parametrize(
    "name", ["X-Original-URL", "X-Original-URI", "X-Rewrite-URL", "X_Original_URL", "X-Forwarded-Uri"]
)
async def test_no_public_request_carries_another_path_along(
    client: Client, upstream: Upstream, name: str
) -> None:
    """Frameworks exist that serve the path of such a header instead of the request's."""
    assert (await client.exchange(get("/health", f"{name}: /api/users"))).status == 200
    assert b"/api/users" not in upstream.seen


async def test_the_path_of_a_host_is_the_same_on_every_host(client: Client, upstream: Upstream) -> None:
    for host in ("localhost", "127.0.0.1", "health", "[::1]:8081", "gateway.test:8081"):
        raw = get("/api/users").replace(b"gateway.test", host.encode())
        is_refusal(await client.exchange(raw), 401)
    assert upstream.seen == b""
