"""Blame: a failure of upstream or gateway is one, whatever its status; what a client did wrong is none."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from gateway.logs.verdicts import detail_of
from gateway.metrics.families import PARTIES
from gateway.proxy.fault_attribution import blame
from gateway.wire.faults import UpstreamLost, UpstreamTimedOut
from tests.support.admin import admin
from tests.support.calls import ask, bearer, get
from tests.support.peers import PATIENCE, Client, read_head
from tests.support.swallowing import swallowing

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World

HOST = b"Host: gateway.test\r\n\r\n"
JUNK = {
    "TRACE": b"TRACE / HTTP/1.1\r\n" + HOST,
    "CONNECT": b"CONNECT a:1 HTTP/1.1\r\n" + HOST,
    "HTTP/2.0": b"GET / HTTP/2.0\r\n" + HOST,
    "HTTP/0.9": b"GET /\r\n\r\n",
    "a preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x01\x05\x00\x00\x00\x01",
    "an unknown method": b"BREW /pot HTTP/1.1\r\n" + HOST,
    "an unknown coding": b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n" + HOST,
    "a mixed offer": b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket, h2c\r\n" + HOST,
    "nonsense": b"\x16\x03\x01\x02\x00\x01",
}


def failures(gateway: Gateway) -> dict[tuple[str, str], float]:
    """The counts of ``gateway_failures_total`` that are not 0, by route and blame."""
    return {
        (sample.labels["route"], sample.labels["blame"]): sample.value
        for family in gateway.metrics.registry.collect()
        for sample in family.samples
        if sample.name == "gateway_failures_total" and sample.value
    }


def records(capture: pytest.CaptureFixture[bytes]) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in capture.readouterr().out.splitlines() if line.startswith(b"{")]
    return [one for one in found if one.get("event") == "request"]


async def test_what_a_client_did_wrong_is_no_failure(
    start: Start, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    gate = await start(log={"access": True}, timeout={"drain_seconds": 0.1})
    for raw in JUNK.values():
        async with Client(gate.address) as client:
            await client.send(raw)
            assert await client.closed()
    report: Any = (await admin(gate, "/status.json")).json()
    assert failures(gate) == {}
    assert (report["recent"]["1m"]["failed"], report["recent"]["1m"]["refused"]) == (0, len(JUNK))
    await gate.stop()
    found = records(capfdbinary)
    assert len(found) == len(JUNK)
    assert {one["level"] for one in found} == {"info"}
    assert not any("blame" in one for one in found)
    assert {one["status"] for one in found} == {400, 501, 505}


@pytest.mark.parametrize(
    ("answer", "status", "blamed"),
    [
        (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", 500, "upstream"),
        (b"HTTP/1.1 999 No\r\nContent-Length: 0\r\n\r\n", 999, "upstream"),
        (b"HTTP/1.1 501 No\r\nContent-Length: 0\r\n\r\n", 501, None),
        (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", 404, None),
        (b"nonsense\r\n\r\n", 502, "upstream"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut", 200, "upstream"),
    ],
)
async def test_an_upstreams_failure_is_its_own_even_if_it_began_with_200(
    start: Start,
    upstream: Upstream,
    capfdbinary: pytest.CaptureFixture[bytes],
    answer: bytes,
    status: int,
    blamed: str | None,
) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(answer)

    upstream.script = script
    gate = await start(log={"access": True}, timeout={"drain_seconds": 0.1})
    async with Client(gate.address) as client:
        await client.send(get("/health"))
        await client.reader.read(1)
        client.writer.write_eof()
        await client.closed()
    assert failures(gate) == ({} if blamed is None else {("public", blamed): 1})
    await gate.stop()
    (record,) = records(capfdbinary)
    assert (record["status"], record.get("blame")) == (status, blamed)
    assert record["level"] == ("info" if blamed is None else "error")


async def test_an_upstream_that_is_away_and_a_store_that_is_away_are_told_apart(
    world: World, start: Start, upstream: Upstream
) -> None:
    del upstream
    gate = await start(upstream={"url": "http://127.0.0.1:1"})
    assert (await ask(gate, get("/health"))).status == 502
    assert (await ask(gate, get("/api/x", bearer(world.token(world.agent))))).status == 503
    assert failures(gate) == {("public", "upstream"): 1, ("protected", "gateway"): 1}


async def test_the_detail_of_a_connection_that_nobody_accepts_has_words(
    start: Start, upstream: Upstream, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    with swallowing("127.0.0.61", upstream.port):
        gate = await start(
            log={"access": True},
            upstream={"url": f"http://127.0.0.61:{upstream.port}", "connect_timeout_seconds": 0.2},
        )
        assert (await ask(gate, get("/health"))).status == 504
        await gate.stop()
    (record,) = records(capfdbinary)
    assert record["detail"] == "the upstream did not accept a connection in time (TimeoutError)"


@pytest.mark.parametrize(
    ("error", "cause", "detail"),
    [
        (UpstreamTimedOut("late"), None, "late"),
        (UpstreamTimedOut(), None, "UpstreamTimedOut"),
        (UpstreamLost("lost"), ConnectionResetError(), "lost (ConnectionResetError)"),
        (UpstreamLost("lost"), OSError("why"), "lost (why)"),
    ],
)
def test_a_detail_never_ends_in_empty_parentheses(
    error: Exception, cause: Exception | None, detail: str
) -> None:
    error.__cause__ = cause
    assert detail_of(error) == detail


@pytest.mark.parametrize(
    ("status", "reason", "hosted", "expected"),
    [
        (200, "", False, ""),
        (503, "too_many_of_network", False, ""),
        (503, "too_many_uploads", False, ""),
        (503, "too_many_connections", False, "gateway"),
        (503, "overloaded", True, "gateway"),
        (500, "", True, "gateway"),
        (504, "upstream_timeout", True, "gateway"),
        (200, "internal", False, "gateway"),
        (200, "revoked", False, ""),
        (499, "write_timeout", False, ""),
        (501, "", False, ""),
    ],
)
def test_blame_goes_by_the_reason(status: int, reason: str, hosted: bool, expected: str) -> None:
    assert blame(status, reason, hosted=hosted) == expected
    assert expected in ("", *PARTIES)


# -- deadlines -----------------------------------------------------------------------------------------------------


async def test_a_client_that_takes_nothing_is_logged_as_that(
    start: Start, upstream: Upstream, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    gone = asyncio.Event()

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        try:
            while True:
                writer.write(bytes(65_536))
                await writer.drain()
        except ConnectionError:
            gone.set()

    upstream.script = endless
    gate = await start(log={"access": True}, timeout={"drain_seconds": 0.1, "write_seconds": 0.3})
    async with Client(gate.address) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport that reads
        await client.send(get("/health"))
        await asyncio.wait_for(gone.wait(), PATIENCE)
    await gate.stop()
    (record,) = records(capfdbinary)
    assert (record["status"], record["reason"], record["level"]) == (499, "write_timeout", "info")
    assert "GATEWAY_TIMEOUT_WRITE_SECONDS" in record["detail"]
    assert gate.metrics.faults_by_reason()["write_timeout"] == 1


async def dribbled(client: Client, piece: bytes) -> bytes:
    """Send `piece` again and again until the gateway closes; return what it sent before."""
    closed = asyncio.ensure_future(client.closed())
    async with asyncio.timeout(PATIENCE):
        while not closed.done():
            client.writer.write(piece)
            await asyncio.wait((closed,), timeout=0.05)
    return closed.result()


async def test_empty_lines_begin_nothing_and_renew_no_deadline(start: Start) -> None:
    gate = await start(timeout={"idle_seconds": 0.5, "head_seconds": 0.5})
    async with Client(gate.address) as client:
        assert await dribbled(client, b"\r\n") == b""


async def test_bytes_of_chunk_extensions_are_no_body(start: Start, upstream: Upstream) -> None:
    del upstream
    gate = await start(timeout={"body_seconds": 0.5})
    async with Client(gate.address) as client:
        await client.send(b"POST /health HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + HOST + b"5;a=")
        assert (await dribbled(client, b"b")).startswith(b"HTTP/1.1 408 ")


async def test_a_hosted_endpoint_has_its_request_whole_in_time(start: Start) -> None:
    gate = await start(timeout={"hosted_request_seconds": 0.5})
    async with Client(gate.address) as client:
        await client.send(
            b"POST /api/auth/login HTTP/1.1\r\nContent-Length: 60000\r\nContent-Type: application/json\r\n"
            + HOST
        )
        assert (await dribbled(client, b" ")).startswith(b"HTTP/1.1 408 ")
