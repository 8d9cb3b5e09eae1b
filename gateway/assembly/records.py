"""Builder of what records requests and numbers: the access log, and the senders of spans and of metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.logs import AccessLog
from gateway.version import running_version

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from config.settings import Settings
    from gateway.metrics import Metrics
    from gateway.metrics.otlp import MetricsSender
    from gateway.tracing.spans import SpanSender


class Records(NamedTuple):
    """Access log and senders of telemetry; a sender is None if no collector is configured."""

    access_log: AccessLog
    spans: SpanSender | None
    metrics: MetricsSender | None


def open_records(settings: Settings, metrics: Metrics, closing: AsyncExitStack) -> Records:
    """Build and start them. The sender of metrics is stopped last, so that its last reading is complete."""
    records = Records(
        build_access_log(settings), build_spans(settings, metrics), build_sender(settings, metrics)
    )
    for one in (records.metrics, records.access_log, records.spans):
        if one is not None:
            one.start()
            closing.callback(one.stop)
    return records


def build_access_log(settings: Settings) -> AccessLog:
    """Build the access log."""
    log = settings.log
    return AccessLog(enabled=log.access, sample=log.sample, form=log.format, query=log.query)


def build_spans(settings: Settings, metrics: Metrics) -> SpanSender | None:
    """Build the sender of spans; None if no endpoint is set."""
    spans = None
    if settings.trace.endpoint is not None:
        from gateway.tracing.spans import SpanSender  # noqa: PLC0415 -- nothing of OpenTelemetry without an endpoint

        spans = SpanSender(settings.trace.endpoint, settings.trace.service, running_version())
    metrics.read_counters(
        "gateway_trace_requests",
        "Requests recorded in traces, by what became of their spans: sent, failed or dropped.",
        ("outcome",),
        dict if spans is None else spans.outcomes,
    )
    return spans


def build_sender(settings: Settings, metrics: Metrics) -> MetricsSender | None:
    """Build the sender of metrics; None if no endpoint is set."""
    sender = None
    if settings.metrics.endpoint is not None:
        from gateway.metrics.otlp import MetricsSender  # noqa: PLC0415 -- nothing of OpenTelemetry without an endpoint

        sender = MetricsSender(metrics, settings.metrics.endpoint, settings.trace.service, running_version())
    metrics.read_counters(
        "gateway_metrics_exports",
        "Readings of the metrics for a collector, by what became of them: sent, failed or dropped.",
        ("outcome",),
        dict if sender is None else sender.outcomes,
    )
    return sender
