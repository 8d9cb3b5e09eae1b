"""Spans, as a collector receives them; and that nothing of OpenTelemetry is there for who has no collector."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra otel is not installed")

from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from config.load import ConfigError, load_settings
from gateway.tracing import spans as tracing
from gateway.tracing.spans import SpanSender
from tests.observe.collecting import Collector, attributes, listening
from tests.observe.recording import Written, records
from tests.observe.scraping import scraped, value
from tests.observe.traces import PARENT, TRACE, VALID
from tests.support.calls import ask, bearer, get
from tests.support.peers import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.app import Gateway
    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World


@pytest.fixture
def collector() -> Iterator[Collector]:
    with listening() as one:
        yield one


async def counted(gateway: Gateway, outcome: str) -> None:
    """Wait until one request, and no more, has come to this; what was received is counted a moment later."""
    async with asyncio.timeout(3 * PATIENCE):
        while not (number := value(await scraped(gateway), "gateway_trace_requests_total", outcome=outcome)):
            await asyncio.sleep(0.05)
    assert number == 1


@pytest.mark.parametrize(
    ("trusted", "proto", "scheme"),
    [("127.0.0.1/32", "https", "https"), ("127.0.0.1/32", "wss", "https"), ("192.0.2.0/24", "https", "http")],
)
async def test_a_span_has_the_scheme_of_the_client_as_far_as_that_is_believed(
    start: Start, collector: Collector, trusted: str, proto: str, scheme: str
) -> None:
    gateway = await start(trace={"endpoint": collector.url}, trusted_proxies=(trusted,))
    assert (await ask(gateway, get("/health", f"X-Forwarded-Proto: {proto}"))).status == 200
    await collector.received(4)
    assert attributes(collector.of("GET public"))["url.scheme"] == scheme


async def test_a_request_is_one_server_span_with_a_child_for_each_phase(
    world: World, start: Start, collector: Collector, upstream: Upstream
) -> None:
    gateway = await start(world.url, trace={"endpoint": collector.url, "service": "edge"})
    token = world.token(world.agent)
    lines = (bearer(token), f"traceparent: {VALID}", "tracestate: a=1", "User-Agent: x")
    assert (await ask(gateway, get("/api/things?q=secret", *lines))).status == 200
    await collector.received(4)
    server, client = collector.of("GET protected"), collector.of("GET upstream")
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE}
    assert server.parent_span_id.hex() == PARENT
    assert len({span.span_id for span in collector.spans}) == 4
    for name in ("authenticate", "connect", "GET upstream"):
        assert collector.of(name).parent_span_id == server.span_id
    assert (server.kind, client.kind) == (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT)
    (received,) = upstream.requests
    assert received.all("traceparent") == [f"00-{TRACE}-{client.span_id.hex()}-01"]
    assert received.all("tracestate") == ["a=1"]
    told = attributes(server)
    assert told["http.request.method"] == "GET"
    assert told["http.response.status_code"] == 200
    assert (told["url.path"], told["gateway.route"]) == ("/api/things", "protected")
    assert (told["user.id"], told["gateway.organization_id"]) == (str(world.agent), str(world.home))
    assert told["gateway.credential"] == "jwt"
    assert "secret" not in str(told)
    assert token not in str(collector.spans)
    assert collector.resources[0]["service.name"] == "edge"
    assert collector.paths == {"/v1/traces"}
    order = [collector.of(name) for name in ("authenticate", "connect", "GET upstream")]
    moments = [server.start_time_unix_nano]
    for span in order:
        moments += [span.start_time_unix_nano, span.end_time_unix_nano]
    assert moments == sorted(moments)
    assert client.end_time_unix_nano == server.end_time_unix_nano
    await counted(gateway, outcome="sent")


async def test_a_span_has_the_request_id_of_the_log_where_a_trusted_proxy_gave_it(
    start: Start, collector: Collector, written: Written
) -> None:
    gateway = await start(
        trace={"endpoint": collector.url}, trusted_proxies=["127.0.0.0/8"], log={"access": True}
    )
    answer = await ask(gateway, get("/health", f"traceparent: {VALID}", "X-Request-ID: edge-id-0001"))
    await ask(gateway, get("/health", f"traceparent: {VALID}"))
    await collector.received(2)
    first, second = [record["request_id"] for record in await records(gateway, written)]
    spans = [attributes(span)["gateway.request_id"] for span in collector.spans if span.name == "GET public"]
    assert spans == [first, second]
    assert answer.one("X-Request-ID") == first == "edge-id-0001"


async def test_a_refusal_and_a_failure_say_why(
    start: Start, collector: Collector, upstream: Upstream
) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    upstream.script = silent
    gateway = await start(trace={"endpoint": collector.url + "/v1/traces"})
    await ask(gateway, get("/api/x"))
    await ask(gateway, get("/health"))
    await ask(gateway, get("/a//b"))
    await collector.received(7)
    denied, failed = collector.of("GET protected"), collector.of("GET public")
    assert attributes(denied)["gateway.reason"] == "missing"
    assert denied.status.code == Status.STATUS_CODE_UNSET  # a 4xx is no error of the server's
    assert attributes(failed)["error.type"] == "upstream_lost"
    assert failed.status.code == collector.of("GET upstream").status.code == Status.STATUS_CODE_ERROR
    confused = collector.of("GET")
    assert confused.parent_span_id == b""
    assert "url.path" not in attributes(confused)
    assert [span.name for span in collector.spans].count("authenticate") == 2


async def test_what_the_caller_does_not_record_is_not_recorded_here(
    start: Start, collector: Collector, upstream: Upstream
) -> None:
    gateway = await start(trace={"endpoint": collector.url, "sample": 0})
    await ask(gateway, get("/health", f"traceparent: {VALID[:-2]}00"))
    await ask(gateway, get("/health"))
    await ask(gateway, get("/health", f"traceparent: {VALID}"))
    await collector.received(2)
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE}
    assert [one.all("traceparent")[0][-2:] for one in upstream.requests] == ["00", "00", "01"]
    await counted(gateway, outcome="sent")


async def test_a_span_waits_for_no_trickle_of_requests_to_end(
    start: Start, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "GATHER_SECONDS", 0.5)
    gateway = await start(trace={"endpoint": collector.url})
    for _ in range(tracing.BATCH // 2):  # a batch is never full
        assert (await ask(gateway, get("/health"))).status == 200
        await asyncio.sleep(0.05)
        if collector.spans:
            break
    assert collector.spans


@pytest.mark.parametrize(
    ("line", "name", "method", "original"),
    [
        (b"DELETE /health", "DELETE public", "DELETE", None),
        (b"PROPFIND /health", "HTTP public", "_OTHER", "PROPFIND"),
        (b"EVIL17 /health", "HTTP", "_OTHER", "EVIL17"),
        (b"\x16\x03\x01", "HTTP", "_OTHER", None),
    ],
)
async def test_a_client_invents_no_name_of_a_span(
    start: Start, collector: Collector, line: bytes, name: str, method: str, original: str | None
) -> None:
    """By OpenTelemetry's conventions for HTTP: names of spans are few, and never empty."""
    gateway = await start(trace={"endpoint": collector.url})
    await ask(gateway, line + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    await collector.received(1)
    span = collector.of(name)
    assert span.kind == Span.SPAN_KIND_SERVER
    assert attributes(span)["http.request.method"] == method
    assert attributes(span).get("http.request.method_original") == original


async def test_a_collector_that_refuses_is_counted_and_forgotten(start: Start, collector: Collector) -> None:
    collector.status = 400
    gateway = await start(trace={"endpoint": collector.url})
    assert (await ask(gateway, get("/health"))).status == 200
    await counted(gateway, outcome="failed")
    collector.status = 200
    assert (await ask(gateway, get("/health"))).status == 200
    await collector.received(2)


async def test_a_collector_that_is_away_keeps_nobody_waiting(start: Start) -> None:
    gateway = await start(trace={"endpoint": "http://127.0.0.1:1"}, timeout={"drain_seconds": 0.1})
    for _ in range(5):
        assert (await ask(gateway, get("/health"))).status == 200
    async with asyncio.timeout(3 * PATIENCE):
        await gateway.stop()


def test_what_finds_no_room_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "MAX_PENDING", 3)
    sender = SpanSender("http://127.0.0.1:1", "x", "0")  # not started: nobody empties the queue
    ended: Any = object()
    for _ in range(5):
        sender.add(ended)
    assert sender.dropped == 2


# -- without a collector ----------------------------------------------------------------------------------------


def test_nothing_of_opentelemetry_is_imported_without_an_endpoint() -> None:
    program = """
import asyncio, sys
from tests.observe.reference import started
asyncio.run(started(whatomate={}, limits={}))  # the client of Redis imports OpenTelemetry where that is installed
import gateway.app, gateway.workers, gateway.commands.serving
print([name for name in sys.modules if name.partition(".")[0] in {"opentelemetry", "google", "requests"}])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def settings_of(environment: dict[str, str], tmp_path: Any) -> Any:
    needed = {
        "GATEWAY_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "GATEWAY_JWT_SECRET": "s" * 32,
        "GATEWAY_UPSTREAM_URL": "http://127.0.0.1:1",
    }
    return load_settings(environment={**needed, **environment}, env_file=tmp_path / "none")


def test_opentelemetrys_own_variable_counts_where_ours_is_not_set(tmp_path: Any) -> None:
    theirs = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}
    assert settings_of({}, tmp_path).trace.endpoint is None
    assert settings_of(theirs, tmp_path).trace.endpoint == "http://collector:4318"
    ours = {"GATEWAY_TRACE_ENDPOINT": "https://mine/otlp"}
    assert settings_of({**theirs, **ours}, tmp_path).trace.endpoint == "https://mine/otlp"


@pytest.mark.parametrize(
    "endpoint", ["collector:4318", "http://user:pass@collector", "ftp://x", "http://x?y=1"]
)
def test_an_endpoint_that_is_none_is_refused(endpoint: str, tmp_path: Any) -> None:
    with pytest.raises(ConfigError, match="GATEWAY_TRACE_ENDPOINT"):
        settings_of({"GATEWAY_TRACE_ENDPOINT": endpoint}, tmp_path)


def test_without_the_extra_an_endpoint_of_ours_is_a_mistake_and_theirs_is_none(tmp_path: Any) -> None:
    program = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "opentelemetry":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import pathlib
from tests.observe.test_without_otel import settings_of
print(settings_of({{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:1"}}, pathlib.Path({str(tmp_path)!r})).trace.endpoint)
try:
    settings_of({{"GATEWAY_TRACE_ENDPOINT": "http://x:1"}}, pathlib.Path({str(tmp_path)!r}))
except Exception as error:
    print(error)
""".replace("from tests.observe.test_without_otel import settings_of", SETTINGS_OF)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[0] == "None"
    assert "pip install 'whatomate-gateway[otel]'" in lines[1]


SETTINGS_OF = """
def settings_of(environment, folder):
    from config.load import load_settings
    needed = {"GATEWAY_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "GATEWAY_JWT_SECRET": "s" * 32,
              "GATEWAY_UPSTREAM_URL": "http://127.0.0.1:1"}
    return load_settings(environment={**needed, **environment}, env_file=folder / "none")
"""
