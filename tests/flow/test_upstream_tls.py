"""TLS to upstreams: whom the gateway believes, what it says when it does not, and files that change meanwhile."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
from contextlib import AsyncExitStack, contextmanager, suppress
from datetime import timedelta
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from config.certificates import read_certificate
from tests.support.certificates import Authority, Pair
from tests.support.peers import PATIENCE, Client, Upstream, read_head
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Serve = Callable[[ssl.SSLContext | None], Awaitable[Upstream]]
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from gateway.app import Gateway
    from tests.support.worlds import Start

GET = b"GET / HTTP/1.1\r\nHost: e\r\n\r\n"
CLOSING = b"GET / HTTP/1.1\r\nHost: e\r\nConnection: close\r\n\r\n"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[ssl.SSLContext | None], Awaitable[Upstream]]]:
    async with AsyncExitStack() as stack:

        async def begin(context: ssl.SSLContext | None) -> Upstream:
            return await stack.enter_async_context(Upstream(tls=context))

        yield begin


def towards(upstream: Upstream, host: str = "127.0.0.1", **more: Any) -> dict[str, Any]:
    return {"url": f"https://{host}:{upstream.port}", **more}


async def ask(gateway: Gateway, raw: bytes = GET) -> tuple[int, dict[str, object]]:
    async with Client(gateway.address) as client:
        answer = await client.exchange(raw)
        return answer.status, answer.json()


def counted(gateway: Gateway, name: str, **labels: str) -> float:
    return gateway.metrics.registry.get_sample_value(name, {"upstream": "upstream", **labels}) or 0.0


def expiry_of(gateway: Gateway, pair: Pair) -> float | None:
    return gateway.metrics.registry.get_sample_value(
        "gateway_tls_certificate_expiry_timestamp_seconds", {"file": str(pair.certificate)}
    )


@pytest.mark.parametrize("lowest", ["1.2", "1.3"])
async def test_a_request_arrives_by_tls(
    start: Start, authority: Authority, serve: Serve, lowest: str
) -> None:
    upstream = await serve(authority.server("127.0.0.1", lowest=lowest))
    gateway = await start(upstream=towards(upstream, tls_ca_file=str(authority.file), connections=1))
    body = b"x" * 300_000
    async with Client(gateway.address) as client:
        for _ in range(2):
            raw = b"POST / HTTP/1.1\r\nHost: e\r\nContent-Length: %d\r\n\r\n" % len(body)
            answer = await client.exchange(raw + body)
            assert answer.status == 200
            assert answer.json()["body"] == body.decode()
    assert len(upstream.raw) == 1, "the second request was sent on the same connection"
    assert counted(gateway, "gateway_upstream_tls_handshakes_total", resumed="no") == 1


async def test_a_name_of_ones_own_is_asked_for_and_demanded(
    start: Start, authority: Authority, serve: Serve
) -> None:
    asked: list[str | None] = []
    context = authority.server("inner.example")
    context.sni_callback = lambda _object, name, _context: asked.append(name)
    upstream = await serve(context)
    terms = {"tls_ca_file": str(authority.file), "tls_server_name": "inner.example"}
    assert (await ask(await start(upstream=towards(upstream, **terms))))[0] == 200
    assert asked == ["inner.example"]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("name", "its certificate is for another name"),
        ("expired", "its certificate has expired"),
        ("not_yet_valid", "its certificate is not valid yet"),
        ("unknown_ca", "its certificate is of an authority that is not accepted"),
        ("no_tls", "it does not speak TLS on this port"),
    ],
)
async def test_what_was_wrong_is_in_the_log_and_in_metrics_and_not_in_the_answer(
    start: Start,
    authority: Authority,
    serve: Serve,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    kind: str,
    words: str,
) -> None:
    day = timedelta(days=1)
    context: ssl.SSLContext | None = authority.server("127.0.0.1")
    if kind == "name":
        context = authority.server("elsewhere.example")
    elif kind == "expired":
        context = authority.serving(authority.issue("127.0.0.1", begins=-2 * day, ends=-day))
    elif kind == "not_yet_valid":
        context = authority.serving(authority.issue("127.0.0.1", begins=day, ends=2 * day))
    elif kind == "unknown_ca":
        folder = tmp_path / "others"
        folder.mkdir()
        context = Authority(folder, "other").server("127.0.0.1")
    elif kind == "no_tls":
        context = None
    upstream = await serve(context)
    upstream.script = unlike_tls if kind == "no_tls" else None
    gateway = await start(
        upstream=towards(upstream, tls_ca_file=str(authority.file)),
        log={"access": True, "format": "json"},
    )
    status, body = await ask(gateway)
    assert (status, body["message"]) == (502, "The upstream cannot be reached securely")
    assert not [one for one in upstream.raw if b"GET" in one], "nothing was sent to it"
    assert counted(gateway, "gateway_upstream_failures_total", reason="upstream_tls") == 1
    assert counted(gateway, "gateway_upstream_tls_failures_total", reason=kind) == 1
    await gateway.stop()
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines() if line.startswith("{")]
    (record,) = [line for line in lines if line.get("event") == "request"]
    assert record["reason"] == "upstream_tls"
    assert words in record["detail"]


async def test_the_systems_authorities_are_asked_by_default(
    start: Start, authority: Authority, serve: Serve
) -> None:
    upstream = await serve(authority.server("127.0.0.1"))
    gateway = await start(upstream=towards(upstream))
    assert (await ask(gateway))[0] == 502
    assert counted(gateway, "gateway_upstream_tls_failures_total", reason="unknown_ca") == 1


async def test_insecure_is_one_word_and_is_warned_of(
    start: Start, authority: Authority, serve: Serve, capfd: pytest.CaptureFixture[str]
) -> None:
    upstream = await serve(authority.server("elsewhere.example"))
    gateway = await start(upstream=towards(upstream, tls_verify="insecure"))
    assert (await ask(gateway))[0] == 200
    assert "upstream_insecure" in capfd.readouterr().out


async def unlike_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()


@contextmanager
def alerting(context: ssl.SSLContext) -> Iterator[int]:
    """A server that tells its client by an alert why it refuses it, which asyncio's does not; yields its port."""

    def serve() -> None:
        while True:
            try:
                plain, _ = listening.accept()
            except OSError:
                return
            plain.settimeout(PATIENCE)
            with suppress(OSError), context.wrap_socket(plain, server_side=True) as secured:
                secured.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(PATIENCE)


@pytest.mark.parametrize(
    ("demands", "highest", "lowest", "kind"),
    [
        (True, "1.2", "1.2", "handshake"),
        (True, "1.3", "1.2", "client_certificate"),
        (False, "1.2", "1.3", "version"),
    ],
)
async def test_what_the_upstream_refused_is_named(
    start: Start, authority: Authority, demands: bool, highest: str, lowest: str, kind: str
) -> None:
    context = authority.server("127.0.0.1", clients=demands)
    if highest == "1.2":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    with alerting(context) as port:
        gateway = await start(
            upstream={
                "url": f"https://127.0.0.1:{port}",
                "tls_ca_file": str(authority.file),
                "tls_min_version": lowest,
            }
        )
        assert (await ask(gateway))[1]["message"] == "The upstream cannot be reached securely"
        assert counted(gateway, "gateway_upstream_failures_total", reason="upstream_tls") == 1
        assert counted(gateway, "gateway_upstream_tls_failures_total", reason=kind) == 1


@pytest.mark.parametrize("lowest", ["1.2", "1.3"])
async def test_a_client_certificate_is_sent_where_it_is_demanded(
    start: Start, authority: Authority, serve: Serve, lowest: str
) -> None:
    upstream = await serve(authority.server("127.0.0.1", lowest=lowest, clients=True))
    ours = authority.issue("gateway.example")
    terms = {"tls_ca_file": str(authority.file)}
    without = await start(upstream=towards(upstream, **terms))
    assert (await ask(without))[0] == 502
    pair = {"tls_cert_file": str(ours.certificate), "tls_key_file": str(ours.key)}
    assert (await ask(await start(upstream=towards(upstream, **terms, **pair))))[0] == 200


@pytest.mark.parametrize("lowest", ["1.2", "1.3"])
async def test_further_handshakes_are_resumed(
    start: Start, authority: Authority, serve: Serve, lowest: str
) -> None:
    context = authority.server("127.0.0.1", lowest=lowest)
    if lowest == "1.2":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    upstream = await serve(context)
    resumed: list[bool] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        resumed.append(writer.get_extra_info("ssl_object").session_reused)
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")

    upstream.script = script
    gateway = await start(upstream=towards(upstream, tls_ca_file=str(authority.file)))
    for _ in range(4):
        assert (await ask(gateway))[0] == 200
    assert resumed == [False, True, True, True]
    assert counted(gateway, "gateway_upstream_tls_handshakes_total", resumed="yes") == 3


async def test_no_handshake_is_resumed_for_another_name_or_after_the_files_have_changed(
    start: Start, authority: Authority, serve: Serve, tmp_path: Path
) -> None:
    upstream = await serve(authority.server("127.0.0.1"))
    believed = tmp_path / "believed.pem"
    believed.write_bytes(authority.file.read_bytes())
    gateway = await start(upstream=towards(upstream, tls_ca_file=str(believed)))
    upstream.script = closing
    assert (await ask(gateway))[0] == 200
    folder = tmp_path / "others"
    folder.mkdir()
    believed.write_bytes(Authority(folder, "other").file.read_bytes())
    async with asyncio.timeout(PATIENCE):
        while (await ask(gateway))[0] == 200:
            await asyncio.sleep(0.05)
    assert counted(gateway, "gateway_upstream_tls_failures_total", reason="unknown_ca") == 1


async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_head(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")


async def test_a_client_certificate_that_is_renewed_is_used_without_a_restart(
    start: Start, authority: Authority, serve: Serve
) -> None:
    upstream = await serve(authority.server("127.0.0.1", clients=True))
    names: list[str] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        names.append(writer.get_extra_info("peercert")["subject"][0][0][1])
        await closing(reader, writer)

    upstream.script = script
    pair = authority.issue("first.example")
    later = authority.issue("second.example", ends=timedelta(days=60))
    ends = [read_certificate(one.certificate).expires for one in (pair, later)]
    gateway = await start(
        upstream=towards(
            upstream,
            tls_ca_file=str(authority.file),
            tls_cert_file=str(pair.certificate),
            tls_key_file=str(pair.key),
        )
    )
    assert (await ask(gateway))[0] == 200
    assert expiry_of(gateway, pair) == ends[0]
    pair.certificate.write_bytes(later.certificate.read_bytes())  # and the key is still the first one's
    for _ in range(30):
        assert (await ask(gateway))[0] == 200
        await asyncio.sleep(0.05)
    assert set(names) == {"first.example"}, "a pair that does not fit is not taken"
    assert expiry_of(gateway, pair) == ends[0], "of the certificate in use, not of the file"
    pair.key.write_bytes(later.key.read_bytes())
    async with asyncio.timeout(PATIENCE):
        while names[-1] != "second.example":
            assert (await ask(gateway))[0] == 200
            await asyncio.sleep(0.05)
    assert expiry_of(gateway, pair) == ends[1]


@pytest.mark.parametrize("honest", [True, False], ids=["close_notify", "a FIN alone"])
async def test_a_body_that_ends_by_the_close_is_whole_only_if_the_upstream_ended_it(
    start: Start, authority: Authority, serve: Serve, honest: bool
) -> None:
    upstream = await serve(authority.server("127.0.0.1"))

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhello")
        await writer.drain()
        if not honest:
            with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as under:
                under.shutdown(socket.SHUT_WR)
            await asyncio.sleep(PATIENCE)

    upstream.script = script
    gateway = await start(upstream=towards(upstream, tls_ca_file=str(authority.file)))
    async with Client(gateway.address) as client:
        await client.send(CLOSING)
        await read_head(client.reader)
        rest = await client.closed()
    assert rest.startswith(b"5\r\nhello\r\n")
    assert rest.endswith(b"0\r\n\r\n") is honest


async def test_a_websocket_goes_through_tls(start: Start, authority: Authority, serve: Serve) -> None:
    upstream = await serve(authority.server("127.0.0.1"))

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        )
        writer.write(await reader.readexactly(8))
        await writer.drain()

    upstream.script = script
    gateway = await start(upstream=towards(upstream, tls_ca_file=str(authority.file)))
    frame = b"\x82\x82\x00\x00\x00\x00hi"
    async with Client(gateway.address) as client:
        await client.send(
            b"GET / HTTP/1.1\r\nHost: e\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert (await read_head(client.reader)).status == 101
        await client.send(frame)
        async with asyncio.timeout(PATIENCE):
            assert await client.reader.readexactly(8) == frame
            assert await client.reader.read() == b""


async def test_an_endpoint_whose_certificate_is_refused_gives_way_to_the_next(
    start: Start, authority: Authority, serve: Serve, tmp_path: Path
) -> None:
    good, bad = await serve(authority.server("127.0.0.1")), await serve(authority.server("elsewhere.example"))
    routes = tmp_path / "routes.yaml"
    routes.write_text(
        "upstreams:\n"
        "  inner:\n"
        f"    url: [https://127.0.0.1:{bad.port}, https://127.0.0.1:{good.port}]\n"
        f"    tls: {{ca_file: {authority.file}, min_version: 1.3}}\n"
        "routes:\n"
        "  - {name: all, match: {path: /*}, auth: public, upstream: inner}\n"
    )
    gateway = await start(routes=routes)
    assert (await ask(gateway))[0] == 200
    assert good.requests
    assert not bad.requests


async def test_a_handshake_that_failed_is_the_reason_and_not_an_address_that_is_away(
    start: Start, authority: Authority, serve: Serve, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bad = await serve(authority.server("elsewhere.example"))
    routes = tmp_path / "routes.yaml"
    routes.write_text(
        "upstreams:\n"
        "  inner:\n"
        f"    url: [https://127.0.0.1:{free_port()}, https://127.0.0.1:{bad.port}]\n"
        f"    tls: {{ca_file: {authority.file}}}\n"
        "routes:\n"
        "  - {name: all, match: {path: /*}, auth: public, upstream: inner}\n"
    )
    gateway = await start(routes=routes, log={"access": True, "format": "json"})
    for _ in range(4):  # whichever is tried first
        assert (await ask(gateway))[1]["message"] == "The upstream cannot be reached securely"
    await gateway.stop()
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines() if line.startswith("{")]
    records = [line for line in lines if line.get("event") == "request"]
    assert {record["reason"] for record in records} == {"upstream_tls"}
    assert all("another name" in record["detail"] for record in records)
