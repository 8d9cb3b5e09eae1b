"""One name in the handshake and another in Host: the certificate that is demanded cannot be avoided by either."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import pytest

from tests.support.certificates import Authority
from tests.support.peers import Client
from tests.support.secured import listener_of, until_failed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.peers import Upstream
    from tests.support.worlds import Start

NAMES = ("first.example", "second.example", "unknown.example")


async def test_no_name_avoids_the_client_certificate(
    start: Start, tmp_path: Path, upstream: Upstream
) -> None:
    authority = Authority(tmp_path)
    gateway = await start(
        tls=listener_of(
            authority.issue("first.example"),
            authority.issue("second.example"),
            client_auth="required",
            client_ca_file=str(authority.file),
        )
    )
    context = authority.client()
    context.check_hostname = False
    for number, asked in enumerate(NAMES, 1):
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            async with Client(gateway.address, context, asked) as client:
                await client.exchange(b"GET / HTTP/1.1\r\nHost: first.example\r\n\r\n")
        await until_failed(gateway, "client_certificate_missing", number)
    assert not upstream.requests


async def test_host_alone_chooses_the_route(start: Start, tmp_path: Path, upstream: Upstream) -> None:
    """The request decides about access, whatever name chose the certificate."""
    authority = Authority(tmp_path)
    routes = tmp_path / "routes.yaml"
    routes.write_text(
        "routes:\n"
        "  - {name: open, match: {host: first.example, path: /*}, auth: public}\n"
        "  - {name: shut, match: {host: second.example, path: /*}, auth: required}\n"
    )
    gateway = await start(
        tls=listener_of(authority.issue("first.example"), authority.issue("second.example")), routes=routes
    )
    context = authority.client()
    context.check_hostname = False
    for asked in NAMES:
        for host, status in ((b"first.example", 200), (b"second.example", 401)):
            async with Client(gateway.address, context, asked) as client:
                answer = await client.exchange(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host)
                assert answer.status == status, (asked, host)
    assert {request.one("Host") for request in upstream.requests} == {"first.example"}
