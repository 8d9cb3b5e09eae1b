"""Builder of the access log, and of the senders of spans and metrics to collectors.

Law: at the end of the process the senders have ``END_SECONDS`` together, and no time after a second signal. They are
waited for without blocking the event loop.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.logs import AccessLog
from gateway.version import running_version

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AsyncExitStack

    from config.settings import Settings
    from gateway.metrics import Metrics
    from gateway.metrics.otlp import MetricsSender
    from gateway.tracing.spans import SpanSender


END_SECONDS: Final = 3.0
_SPANS_SECONDS: Final = 2.0
"""The part of ``END_SECONDS`` for spans, so that metrics have the rest."""
_LOOK_SECONDS: Final = 0.02


class Records(NamedTuple):
    """Access log and senders of telemetry; a sender is None if no collector is configured."""

    access_log: AccessLog
    spans: SpanSender | None
    metrics: MetricsSender | None


def open_records(
    settings: Settings, metrics: Metrics, closing: AsyncExitStack, is_hurried: Callable[[], bool]
) -> Records:
    """Build and start them. The sender of metrics ends last, so that its last reading is complete.

    `is_hurried` returns whether there was a second signal; then no sender is waited for.
    """
    records = Records(
        build_access_log(settings), build_spans(settings, metrics), build_sender(settings, metrics)
    )
    closing.push_async_callback(_close_senders, (records.spans, records.metrics), is_hurried)
    for one in (records.metrics, records.access_log, records.spans):
        if one is not None:
            one.start()
    closing.callback(records.access_log.stop)
    return records


async def _close_senders(
    senders: tuple[SpanSender | None, MetricsSender | None], is_hurried: Callable[[], bool]
) -> None:
    """End the senders one after the other, and give each time to send what is left."""
    now = asyncio.get_running_loop().time
    until = now() + END_SECONDS
    for sender, its_end in zip(senders, (now() + _SPANS_SECONDS, until), strict=True):
        if sender is None:
            continue
        sender.finish()
        while sender.is_sending and now() < its_end and not is_hurried():  # noqa: ASYNC110 -- the end of a thread sets no event of the loop
            await asyncio.sleep(_LOOK_SECONDS)
        sender.abandon()


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

        scheme = "https" if settings.tls.cert_file else "http"
        sender = MetricsSender(
            metrics, settings.metrics.endpoint, settings.trace.service, running_version(), scheme
        )
    metrics.read_counters(
        "gateway_metrics_exports",
        "Readings of the metrics for a collector, by what became of them: sent, failed or dropped.",
        ("outcome",),
        dict if sender is None else sender.outcomes,
    )
    return sender
