"""Probes: one request to an endpoint on a connection of its own, over TCP, TLS and Unix sockets; what passes."""

from __future__ import annotations

import asyncio
import resource
import socket
import struct
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gateway.wire.endpoint import Authority as Place
from gateway.wire.endpoint import Endpoint
from gateway.wire.probe import MOST_BODY_BYTES, Probed, ProbeTerms, probe
from gateway.wire.tls import UpstreamTls, UpstreamTlsTerms
from tests.support.certificates import Authority
from tests.support.peers import PATIENCE, Upstream, read_head
from tests.support.ports import free_port
from tests.support.processes import stand_still
from tests.support.swallowing import swallowing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

TERMS = ProbeTerms(b"/ready?deep=1", b"svc.test", frozenset({200, 204}), b"", PATIENCE)
SOON = replace(TERMS, seconds=0.3)
REQUEST = (
    b"GET /ready?deep=1 HTTP/1.1\r\nHost: svc.test\r\nUser-Agent: whatomate-gateway\r\nAccept: */*\r\n"
    b"Connection: close\r\n\r\n"
)


def answering(raw: bytes, *, then: str = "close") -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(raw)
        await writer.drain()
        if then == "wait":
            await reader.read()
        if then == "reset":
            plain: socket.socket = writer.get_extra_info("socket")
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return script


async def probed(upstream: Upstream, terms: ProbeTerms = TERMS) -> Probed:
    place = Place(upstream.host, upstream.port) if upstream.path is None else Place(str(upstream.path), 0)
    async with asyncio.timeout(2 * PATIENCE):
        result = await probe(Endpoint(place, place.host), terms)
    assert result is not None
    return result


def whole(status: int, body: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


async def test_a_probe_is_one_request_of_the_gateways_own_and_ends_its_connection(upstream: Upstream) -> None:
    upstream.script = answering(whole(204), then="wait")
    assert await probed(upstream) == Probed("ok")
    async with asyncio.timeout(PATIENCE):
        while upstream.connections:
            await asyncio.sleep(0.01)
    assert upstream.seen == REQUEST


@pytest.mark.parametrize(
    ("raw", "outcome"),
    [
        (whole(200), "ok"),
        (whole(503), "status"),
        (whole(302), "status"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + whole(200), "ok"),
        (b"HTTP/1.0 200 OK\r\n\r\n", "ok"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "ok"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "malformed"),
        (b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", "malformed"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "reset"),
        (b"", "reset"),
    ],
)
async def test_what_an_answer_is_taken_for(upstream: Upstream, raw: bytes, outcome: str) -> None:
    upstream.script = answering(raw)
    assert (await probed(upstream)).outcome == outcome


async def test_a_reset_is_one(upstream: Upstream) -> None:
    upstream.script = answering(b"", then="reset")
    assert await probed(upstream) == Probed("reset", "it closed the connection before its answer had ended")


@pytest.mark.parametrize(
    ("raw", "outcome"),
    [
        (whole(200, b'{"status":"ok"}'), "ok"),
        (whole(200, b'{"status":"starting"}'), "body"),
        (whole(500, b'{"status":"ok"}'), "status"),
        (b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n"sta\r\na\r\ntus":"ok"}\r\n', "ok"),
        (b'HTTP/1.0 200 OK\r\n\r\n{"status":"ok"}', "ok"),
        (b"HTTP/1.0 200 OK\r\n\r\nnothing", "body"),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"stat', "reset"),
        (whole(200, b"x" * MOST_BODY_BYTES + b'"status":"ok"'), "body"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n" + b"x" * MOST_BODY_BYTES, "body"),
    ],
)
async def test_a_body_that_is_asked_for_is_looked_for_in_so_many_bytes(
    upstream: Upstream, raw: bytes, outcome: str
) -> None:
    upstream.script = answering(raw)
    terms = replace(TERMS, body=b'"status":"ok"')
    assert (await probed(upstream, terms)).outcome == outcome


async def test_an_endpoint_that_hangs_fails_when_the_time_is_up(upstream: Upstream) -> None:
    upstream.script = answering(b"HTTP/1.1 200 OK\r\n", then="wait")
    assert await probed(upstream, SOON) == Probed("timeout", "it did not answer in time")


async def test_a_pause_of_the_gateway_is_no_failure_of_the_endpoint(upstream: Upstream) -> None:
    upstream.script = answering(whole(200), then="wait")
    probing = asyncio.ensure_future(probed(upstream, replace(TERMS, seconds=1.5)))
    while not upstream.connections:
        await asyncio.sleep(0)
    stand_still(1.8)
    assert await probing == Probed("ok")


async def test_one_that_does_not_accept_was_not_reached_and_neither_was_one_that_refuses() -> None:
    port = free_port()
    with swallowing("127.0.0.1", port):
        result = await probed(Upstream(port=port), SOON)
    assert result == Probed("timeout", "it did not accept a connection in time", connected=False)
    assert (await probed(Upstream(port=port)))[::2] == ("connect", False)


async def test_a_unix_socket_is_probed(tmp_path: Path) -> None:
    async with Upstream(path=tmp_path / "up.sock") as upstream:
        assert await probed(upstream) == Probed("ok")
        assert upstream.seen == REQUEST
    assert (await probed(upstream)).outcome == "connect"


@pytest.mark.parametrize(
    ("name", "outcome"), [("svc.test", "ok"), ("127.0.0.1", "tls"), ("elsewhere.test", "tls")]
)
async def test_tls_is_the_upstreams_with_its_name_and_its_client_certificate(
    tmp_path: Path, name: str, outcome: str
) -> None:
    authority = Authority(tmp_path)
    ours = authority.issue("gateway.test")
    tls = UpstreamTls(
        UpstreamTlsTerms(
            authorities=str(authority.file),
            server_name="svc.test",
            certificate=str(ours.certificate),
            key=str(ours.key),
        )
    )
    async with Upstream(tls=authority.server(name, clients=True)) as upstream:
        endpoint = Endpoint(Place("127.0.0.1", upstream.port, tls), "127.0.0.1")
        async with asyncio.timeout(2 * PATIENCE):
            result = await probe(endpoint, TERMS)
        assert result is not None
        assert (result.outcome, result.connected) == (outcome, outcome == "ok")
        assert upstream.seen == (REQUEST if outcome == "ok" else b"")
    assert (tls.handshakes, tls.resumed) == (0, 0), "those of exchanges are counted"


async def test_a_client_certificate_that_is_wanted_and_lacks_is_a_failure_of_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls = UpstreamTls(UpstreamTlsTerms(authorities=str(authority.file)))
    async with Upstream(tls=authority.server("127.0.0.1", clients=True)) as upstream:
        endpoint = Endpoint(Place("127.0.0.1", upstream.port, tls), "127.0.0.1")
        async with asyncio.timeout(2 * PATIENCE):
            result = await probe(endpoint, TERMS)
    assert result is not None
    assert result.outcome in {"tls", "reset"}, "asyncio's server may close without its alert"


async def test_without_a_descriptor_nothing_is_known(upstream: Upstream) -> None:
    place = Place(upstream.host, upstream.port)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as highest:
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest.fileno() + 10, hard))
        try:
            assert await probe(Endpoint(place, place.host), TERMS) is None
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert upstream.raw == []


@pytest.mark.parametrize("then", ["wait", "close"])
async def test_a_body_of_many_small_chunks_is_searched_to_its_end(upstream: Upstream, then: str) -> None:
    body = b"".join(b"3\r\nok\n\r\n" for _ in range(2_000)) + b"5\r\nready\r\n"
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    upstream.script = answering(head + body + b"0\r\n\r\n", then=then)
    assert await probed(upstream, replace(TERMS, body=b"ready")) == Probed("ok")
    assert (await probed(upstream, replace(TERMS, body=b"absent"))).outcome == "body"
