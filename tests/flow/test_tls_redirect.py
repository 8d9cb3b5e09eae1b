"""The plain port beside TLS: it leads to https:// of the host that was asked for, and lets ACME's challenge through."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from tests.support.admin import all_listening
from tests.support.certificates import Authority
from tests.support.peers import PATIENCE, Client
from tests.support.ports import free_port
from tests.support.processes import serving
from tests.support.secured import counted, listener_of

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.app import Gateway
    from tests.support.peers import Upstream
    from tests.support.worlds import Start


@pytest.fixture
async def redirecting(start: Start, tmp_path: Path) -> Gateway:
    pair = Authority(tmp_path).issue("gateway.example")
    return await start(tls=listener_of(pair, redirect_listen="127.0.0.1:0", redirect_port=8443))


@pytest.mark.parametrize("method", [b"GET", b"POST", b"HEAD", b"DELETE"])
@pytest.mark.parametrize(
    ("host", "target", "location"),
    [
        (b"gateway.example", b"/", "https://gateway.example:8443/"),
        (
            b"gateway.example:80",
            b"/a%20b?next=//evil.example",
            "https://gateway.example:8443/a%20b?next=//evil.example",
        ),
        (b"[::1]:8080", b"/a", "https://[::1]:8443/a"),
        (b"other.example", b"/a", "https://other.example:8443/a"),
    ],
)
async def test_a_request_is_led_to_the_same_address_by_tls(
    redirecting: Gateway, upstream: Upstream, method: bytes, host: bytes, target: bytes, location: str
) -> None:
    async with Client(redirecting.redirect_address) as client:
        await client.send(b"%b %b HTTP/1.1\r\nHost: %b\r\nContent-Length: 0\r\n\r\n" % (method, target, host))
        answer = await client.response(head_only=method == b"HEAD")
        assert (answer.status, answer.one("Location")) == (308, location)
        assert answer.one("Connection") == "close"
        await client.closed()
    assert not upstream.seen


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.example@evil.example\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.example/evil\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n",
        b"GET /a\\b HTTP/1.1\r\nHost: a.example\r\n\r\n",
        b"GET /a;b HTTP/1.1\r\nHost: a.example\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
async def test_what_names_no_clear_address_is_400(redirecting: Gateway, raw: bytes) -> None:
    async with Client(redirecting.redirect_address) as client:
        answer = await client.exchange(raw)
        assert (answer.status, answer.one("Location")) == (400, None)
        await client.closed()


@pytest.mark.parametrize("origin", [b"", b"http://gateway.example", b"HTTP://Gateway.Example"])
async def test_the_challenge_of_acme_is_served_as_routes_have_it(
    redirecting: Gateway, upstream: Upstream, origin: bytes
) -> None:
    async with Client(redirecting.redirect_address) as client:
        raw = b"GET %b/.well-known/acme-challenge/abc HTTP/1.1\r\nHost: gateway.example\r\n\r\n" % origin
        assert (await client.exchange(raw)).status == 200
        await client.closed()
    assert [request.start for request in upstream.requests] == [
        b"GET /.well-known/acme-challenge/abc HTTP/1.1"
    ]
    assert upstream.requests[0].one("X-Forwarded-Proto") == "http"
    async with Client(redirecting.redirect_address) as client:
        climbing = (
            b"GET %b/.well-known/acme-challenge/../../api/users HTTP/1.1\r\nHost: gateway.example\r\n\r\n"
            % origin
        )
        assert (await client.exchange(climbing)).status in {400, 401}
    assert len(upstream.requests) == 1


async def test_connections_of_the_redirecting_port_are_counted_as_opened_and_closed(
    redirecting: Gateway,
) -> None:
    def counts() -> tuple[float, ...]:
        names = ("connections", "connections_opened_total", "connections_closed_total")
        return tuple(counted(redirecting, f"gateway_{name}") for name in names)

    async with AsyncExitStack() as held:
        for _ in range(3):
            await held.enter_async_context(Client(redirecting.redirect_address))
        async with asyncio.timeout(PATIENCE):
            while counts() != (3, 3, 0):
                await asyncio.sleep(0.01)
    async with asyncio.timeout(PATIENCE):
        while counts() != (0, 3, 3):
            await asyncio.sleep(0.01)


async def test_workers_share_the_redirecting_port(upstream: Upstream, tmp_path: Path) -> None:
    pair = Authority(tmp_path).issue("gateway.example")
    port = free_port()
    tls = {
        "GATEWAY_TLS_CERT_FILE": str(pair.certificate),
        "GATEWAY_TLS_KEY_FILE": str(pair.key),
        "GATEWAY_TLS_REDIRECT_LISTEN": f":{port}",
    }
    async with serving(upstream, "--workers", "2", log=None, **tls) as (_, _, admin):
        await all_listening(admin, 2)
        for host in ("127.0.0.1", "::1"):
            for _ in range(10):
                async with Client((host, port)) as client:
                    answer = await client.exchange(b"GET /a HTTP/1.1\r\nHost: gateway.example\r\n\r\n")
                assert (answer.status, answer.one("Location")) == (308, "https://gateway.example/a")


async def test_the_plain_port_counts_with_the_limits_of_the_other(start: Start, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    gateway = await start(
        tls=listener_of(authority.issue("gateway.example"), redirect_listen="127.0.0.1:0"),
        limit={"connections": 1},
    )
    async with Client(gateway.address, authority.client()), Client(gateway.redirect_address) as client:
        answer = await client.response()
        assert answer.status == 503
