"""Metrics by OTLP, as a collector receives them: the figures of /metrics, of one process and of several."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra otel is not installed")

from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from config.collectors import otel_settings, signal_url
from gateway.metrics import Metrics
from gateway.metrics.otlp import MetricsSender
from tests.observe.collecting import Collector, attributes, listening
from tests.observe.scraping import reads, samples, scraped, traffic, value
from tests.support.admin import all_listening
from tests.support.calls import GET, ask, ask_at, get
from tests.support.certificates import Authority
from tests.support.peers import PATIENCE, Client
from tests.support.processes import serving
from tests.support.secured import listener_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World

LONGEST = 3600


@pytest.fixture
def collector() -> Iterator[Collector]:
    with listening() as one:
        yield one


def last(collector: Collector) -> dict[str, dict[str, Any]]:
    """The last metrics of each instance, by their names."""
    found: dict[str, dict[str, Any]] = {}
    for of_resource in collector.metrics:
        (scope,) = of_resource.scope_metrics
        instance = attributes(of_resource.resource)["service.instance.id"]
        found[instance] = {metric.name: metric for metric in scope.metrics}
    return found


def points(metric: Any, **labels: str | int) -> list[Any]:
    """The data points of a metric that have these attributes at least, with _ for the dots of names."""
    data = getattr(metric, metric.WhichOneof("data"))
    return [
        one
        for one in data.data_points
        if labels.items() <= {name.replace(".", "_"): of for name, of in attributes(one).items()}.items()
    ]


def number(metric: Any, **labels: str | int) -> float:
    return sum(float(getattr(one, one.WhichOneof("value"))) for one in points(metric, **labels))


async def test_the_collector_has_the_numbers_of_the_metrics_page(
    world: World, start: Start, collector: Collector
) -> None:
    gateway = await start(
        world.url, metrics={"endpoint": collector.url, "interval_seconds": LONGEST}, trace={"service": "edge"}
    )
    await traffic(gateway, world)
    await ask(gateway, get("/health").replace(b"GET", b"BREW"))
    page = await scraped(gateway)
    await gateway.stop()  # which sends the last figures
    assert collector.paths == {"/v1/metrics"}
    (metrics,) = last(collector).values()
    resource = attributes(collector.metrics[0].resource)
    assert resource["service.name"] == "edge"
    assert resource["service.version"]
    for name in ("gateway_requests", "gateway_faults", "gateway_authentications", "gateway_drops"):
        for sample in samples(page, f"{name}_total"):
            assert number(metrics[name], **sample.labels) == sample.value, (name, sample.labels)
        assert metrics[name].sum.is_monotonic
        assert (
            metrics[name].sum.aggregation_temporality
            == AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
        )
    assert number(metrics["gateway_build_info"]) == 1
    assert number(metrics["gateway_connections_max"]) == value(page, "gateway_connections_max")
    _same_histogram(metrics["gateway_request_head_seconds"], page)
    _is_by_the_conventions(metrics["http.server.request.duration"], page)
    assert metrics["process.cpu.time"].unit == "s"
    assert number(metrics["process.memory.usage"]) > 1e7
    assert not metrics["process.memory.usage"].sum.is_monotonic


def _same_histogram(metric: Any, page: str) -> None:
    assert metric.unit == "s"
    for sample in samples(page, f"{metric.name}_count"):
        (point,) = points(metric, **sample.labels)
        assert point.count == sample.value == sum(point.bucket_counts)
        assert point.sum == pytest.approx(value(page, f"{metric.name}_sum", **sample.labels))
        below = 0
        for bound, counted in zip(point.explicit_bounds, point.bucket_counts[:-1], strict=True):
            below += counted
            assert below == value(page, f"{metric.name}_bucket", le=str(bound), **sample.labels)
        assert 0 < point.start_time_unix_nano < point.time_unix_nano


def _is_by_the_conventions(metric: Any, page: str) -> None:
    """Assert what the semantic conventions for HTTP require of a server's durations."""
    assert metric.unit == "s"
    for sample in samples(page, "gateway_requests_total"):
        status, method = int(sample.labels["status"]), sample.labels["method"]
        found = points(
            metric,
            http_route=sample.labels["route"],
            http_response_status_code=status,
            http_request_method="_OTHER" if method == "other" else method,
        )
        assert sum(one.count for one in found) == sample.value, sample.labels
        for one in found:
            named = attributes(one)
            assert named["url.scheme"] == "http"
            assert named["gateway.kind"] == "answer"
            assert ("error.type" in named) == (status >= 500)
    assert sum(one.count for one in points(metric)) == value(page, "gateway_requests_total")


async def test_the_durations_of_a_listener_with_tls_are_those_of_https(
    start: Start, collector: Collector, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    gateway = await start(
        tls=listener_of(authority.issue("gateway.example")),
        metrics={"endpoint": collector.url, "interval_seconds": LONGEST},
    )
    async with Client(gateway.address, authority.client()) as client:
        assert (await client.exchange(GET)).status == 200
    await gateway.stop()
    (metrics,) = last(collector).values()
    (point,) = points(metrics["http.server.request.duration"])
    assert attributes(point)["url.scheme"] == "https"


async def test_figures_are_sent_again_and_again_and_failures_are_counted(
    start: Start, collector: Collector
) -> None:
    collector.status = 400
    gateway = await start(metrics={"endpoint": collector.url + "/v1/metrics", "interval_seconds": 1})
    assert (await ask(gateway, get("/health"))).status == 200
    await reads(gateway, "gateway_metrics_exports_total", 1, outcome="failed")
    collector.status = 200
    await reads(gateway, "gateway_metrics_exports_total", 2, outcome="sent")
    (metrics,) = last(collector).values()
    assert number(metrics["gateway_requests"], route="public") == 1


async def test_a_collector_of_metrics_that_is_away_keeps_nobody_waiting(start: Start) -> None:
    gateway = await start(
        metrics={"endpoint": "http://127.0.0.1:1", "interval_seconds": 1}, timeout={"drain_seconds": 0.1}
    )
    assert (await ask(gateway, get("/health"))).status == 200
    async with asyncio.timeout(3 * PATIENCE):
        await gateway.stop()


async def test_a_reading_that_finds_another_one_waiting_is_dropped_and_counted() -> None:
    sender = MetricsSender(Metrics(), "http://127.0.0.1:1", "x", "0")  # not started: nobody empties the queue
    for _ in range(3):
        sender.read()
    assert sender.outcomes() == {("sent",): 0, ("failed",): 0, ("dropped",): 2}


async def test_each_worker_is_an_instance_and_together_they_have_what_was_sent(
    upstream: Upstream, collector: Collector
) -> None:
    async with serving(
        upstream,
        "--workers",
        "2",
        GATEWAY_METRICS_ENDPOINT=collector.url,
        GATEWAY_METRICS_INTERVAL_SECONDS=str(LONGEST),
    ) as (process, address, admin):
        await all_listening(admin, 2)
        for _ in range(40):
            assert (await ask_at(address, GET)).status == 200
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(3 * PATIENCE):
            assert await process.wait() == 0
    instances = last(collector)
    assert len(instances) == 2
    answered = [number(one["gateway_requests"], route="public") for one in instances.values()]
    assert sum(answered) == 40
    assert 0 not in answered


WHOLE, OWN, WHICH = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    "OTEL_METRICS_EXPORTER",
)


@pytest.mark.parametrize(
    ("variables", "endpoint"),
    [
        ({}, None),
        ({WHOLE: "http://c:1"}, None),
        ({WHOLE: "http://c:1", WHICH: "otlp"}, "http://c:1"),
        ({WHOLE: "http://c:1", OWN: "http://m:2", WHICH: " OTLP , prometheus"}, "http://m:2"),
        ({WHICH: "otlp"}, "http://localhost:4318"),
        ({OWN: "http://m:2"}, "http://m:2"),
        ({OWN: "http://m:2", WHICH: "none"}, None),
        ({OWN: "http://m:2", WHICH: "prometheus"}, None),
        ({OWN: "http://m:2", "OTEL_SDK_DISABLED": "true"}, None),
        ({OWN: "http://m:4317", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "grpc"}, None),
        ({WHICH: "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, None),
    ],
)
def test_opentelemetrys_variables_say_whether_metrics_are_sent(
    variables: dict[str, str], endpoint: str | None
) -> None:
    assert otel_settings(variables).get("GATEWAY_METRICS_ENDPOINT") == endpoint


OF_SPANS, SPANS_BY = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_TRACES_EXPORTER"


@pytest.mark.parametrize(
    ("variables", "endpoint"),
    [
        ({}, None),
        ({SPANS_BY: "otlp"}, None),
        ({WHOLE: "http://c:1"}, "http://c:1"),
        ({WHOLE: "http://c:1", SPANS_BY: " console, OTLP"}, "http://c:1"),
        ({OF_SPANS: "http://t:2/v1/traces"}, "http://t:2/v1/traces"),
        ({WHOLE: "http://c:1", OF_SPANS: "http://t:2"}, "http://t:2"),
        ({WHOLE: "http://c:1", SPANS_BY: "none"}, None),
        ({OF_SPANS: "http://t:2", SPANS_BY: "zipkin"}, None),
        ({WHOLE: "http://c:1", "OTEL_SDK_DISABLED": "True"}, None),
        ({WHOLE: "http://c:1", "OTEL_SDK_DISABLED": "false"}, "http://c:1"),
        ({WHOLE: "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, None),
        ({WHOLE: "http://c:1", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"}, None),
        ({WHOLE: "http://c:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, "http://c:1"),
        ({WHOLE: "c:4317"}, None),
    ],
)
def test_opentelemetrys_variables_say_whether_spans_are_sent(
    variables: dict[str, str], endpoint: str | None
) -> None:
    assert otel_settings(variables).get("GATEWAY_TRACE_ENDPOINT") == endpoint


@pytest.mark.parametrize(
    ("variables", "service"),
    [
        ({}, None),
        ({"OTEL_SERVICE_NAME": "edge"}, "edge"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=prod, service.name=edge%20eu"}, "edge eu"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=other", "OTEL_SERVICE_NAME": "edge"}, "edge"),
    ],
)
def test_the_service_is_called_as_opentelemetrys_variables_say(
    variables: dict[str, str], service: str | None
) -> None:
    assert otel_settings(variables).get("GATEWAY_TRACE_SERVICE") == service


@pytest.mark.parametrize(
    "endpoint", ["http://c:4318", "http://c:4318/", "http://c:4318/v1/traces", "http://c:4318/v1/traces/"]
)
def test_the_url_of_a_collector_has_the_path_of_its_signal_once(endpoint: str) -> None:
    assert signal_url(endpoint, "traces") == "http://c:4318/v1/traces"
    assert signal_url("https://c/otlp/", "metrics") == "https://c/otlp/v1/metrics"
