"""OpenTelemetry span sender: a thread turns finished requests into spans and sends them by OTLP over HTTP.

Only this module imports OpenTelemetry, and it is imported only if an endpoint is set. Laws:

- A request costs the loop one small object; the thread makes spans of it after the fact.
- Nothing waits for the collector: what does not fit into the queue is dropped and counted, and so is what the collector
  refuses.
- A request waits ``GATHER_SECONDS`` at most for others to be sent with, however many follow it.
- Each request has one server span and a child for each phase it reached: ``authenticate``, ``connect``, and a client
  span for the upstream, whose id the upstream received in ``traceparent``.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Final

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from config.collectors import signal_url
from gateway.metrics.meters import METHODS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.tracing.ended import Ended

MAX_PENDING: Final = 8192
BATCH: Final = 256
GATHER_SECONDS: Final = 1.0
SEND_SECONDS: Final = 5.0
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_SERVER, _AUTHENTICATE, _CONNECT = 0x5A5A5A5A5A5A5A5A, 0x3C3C3C3C3C3C3C3C, 0x6969696969696969
"""Masks that make span ids differ from the upstream's: ids only have to differ within one trace."""

log = structlog.get_logger()


class SpanSender:
    """Bounded queue of finished requests, and the thread that sends their spans.

    Attributes:
        sent: Number of requests whose spans the collector accepted.
        failed: Number of requests whose spans the collector did not accept.
        dropped: Number of requests that did not fit into the queue.
    """

    def __init__(self, endpoint: str, service: str, version: str) -> None:
        """`endpoint` is a collector's base URL, or its URL for traces."""
        self._maker = SpanMaker(service, version)
        url = signal_url(endpoint, "traces")
        self._exporter = OTLPSpanExporter(endpoint=url, timeout=SEND_SECONDS)
        self._queue: queue.SimpleQueue[Ended | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._send_all, name="spans", daemon=True)
        self.sent = self.failed = self.dropped = 0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def add(self, ended: Ended) -> None:
        """Queue a finished request; this never waits."""
        if self._queue.qsize() >= MAX_PENDING:
            self.dropped += 1
        else:
            self._queue.put(ended)

    @property
    def is_sending(self) -> bool:
        """Return whether the thread has not ended."""
        return self._thread.is_alive()

    def finish(self) -> None:
        """Have the thread send what is left, and end."""
        self._queue.put(None)

    def abandon(self) -> None:
        """Have the thread try nothing again: it ends with what it is sending."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]  # the library's

    def outcomes(self) -> dict[tuple[str, ...], float]:
        """Return the counts, by outcome."""
        return {("sent",): self.sent, ("failed",): self.failed, ("dropped",): self.dropped}

    def _send_all(self) -> None:
        while (first := self._queue.get()) is not None:
            batch, goes_on = self._gathered(first)
            try:
                spans = [span for ended in batch for span in self._maker.make(ended)]
                taken = self._exporter.export(spans) is SpanExportResult.SUCCESS
            except Exception:  # a library's exception of any kind: the next batch may succeed
                log.exception("spans_failed")
                taken = False
            if taken:
                self.sent += len(batch)
            else:
                self.failed += len(batch)
            if not goes_on:
                return

    def _gathered(self, first: Ended) -> tuple[list[Ended], bool]:
        """Wait briefly for more requests; return them, and whether the thread goes on."""
        batch = [first]
        until = time.monotonic() + GATHER_SECONDS
        while len(batch) < BATCH:
            try:
                ended = self._queue.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if ended is None:
                return batch, False
            batch.append(ended)
        return batch, True


class SpanMaker:
    """Maker of the spans of one request."""

    def __init__(self, service: str, version: str) -> None:
        """`service` is the name of this program in traces."""
        self._resource = Resource.create({"service.name": service, "service.version": version})
        self._scope = InstrumentationScope("whatomate-gateway", version)

    def make(self, ended: Ended) -> list[ReadableSpan]:
        """Return a request's server span and its children."""
        theirs = ended.context
        trace_id = int(ended.own_id if theirs is None else theirs.trace_id, 16)
        own = int(ended.own_id[16:], 16)
        server = _context(trace_id, own ^ _SERVER)
        caller = None if theirs is None else _context(trace_id, int(theirs.parent_id, 16), is_remote=True)
        status = Status(StatusCode.UNSET)
        if ended.blame:
            status = Status(StatusCode.ERROR, ended.reason or None)
        whole = (ended.started, ended.ended)
        method, _ = _methods(ended)
        name = f"{method} {ended.route}".strip()
        made = [self._span(ended, name, server, caller, whole, SpanKind.SERVER, _of_request(ended), status)]

        def child(
            name: str,
            span_id: int,
            times: tuple[float, float],
            kind: SpanKind = SpanKind.INTERNAL,
            attributes: Mapping[str, str | int | float] | None = None,
        ) -> None:
            context = _context(trace_id, span_id)
            outcome = status if kind is SpanKind.CLIENT else Status(StatusCode.UNSET)
            made.append(self._span(ended, name, context, server, times, kind, attributes or {}, outcome))

        if ended.route:
            child("authenticate", own ^ _AUTHENTICATE, (ended.started, ended.decided or ended.ended))
        if ended.sent > ended.decided:
            child("connect", own ^ _CONNECT, (ended.decided, ended.sent))
        if ended.attempts:
            times = (ended.sent, ended.ended)
            child(f"{method} {ended.upstream}", own, times, SpanKind.CLIENT, _of_upstream(ended))
        return made

    def _span(  # noqa: PLR0913, PLR0917 -- what a span is made of
        self,
        ended: Ended,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        times: tuple[float, float],
        kind: SpanKind,
        attributes: Mapping[str, str | int | float],
        status: Status,
    ) -> ReadableSpan:
        began, end = (round((ended.ended_at - (ended.ended - moment)) * 1e9) for moment in times)
        return ReadableSpan(
            name,
            context,
            parent,
            self._resource,
            attributes,
            kind=kind,
            status=status,
            start_time=began,
            end_time=end,
            instrumentation_scope=self._scope,
        )


def _context(trace_id: int, span_id: int, *, is_remote: bool = False) -> SpanContext:
    return SpanContext(trace_id, span_id or 1, is_remote=is_remote, trace_flags=_SAMPLED)


def _methods(ended: Ended) -> tuple[str, dict[str, str]]:
    """Return the method for names of spans, and the attributes of it, by OpenTelemetry's conventions for HTTP.

    A method that is none of HTTP's usual ones is ``HTTP`` in a name, so that names are bounded and never empty.
    """
    if ended.method.encode() in METHODS:
        return ended.method, {"http.request.method": ended.method}
    original = {"http.request.method_original": ended.method} if ended.method else {}
    return "HTTP", {"http.request.method": "_OTHER", **original}


def _of_request(ended: Ended) -> dict[str, str | int]:
    """Return a server span's attributes by OpenTelemetry's conventions for HTTP; our own begin with ``gateway``."""
    attributes: dict[str, str | int] = {
        **_methods(ended)[1],
        "http.response.status_code": ended.status,
        "url.path": ended.path,
        "url.scheme": ended.scheme,
        "client.address": ended.client,
        "http.request.body.size": ended.received,
        "http.response.body.size": ended.answered,
        "gateway.route": ended.route,
        "gateway.credential": ended.credential,
        "gateway.reason": ended.reason,
        "gateway.request_id": ended.request_id,
        "user.id": "" if ended.user_id is None else str(ended.user_id),
        "gateway.organization_id": "" if ended.organization_id is None else str(ended.organization_id),
    }
    if ended.blame:
        attributes["error.type"] = ended.reason or str(ended.status)
    return {name: value for name, value in attributes.items() if value != ""}


def _of_upstream(ended: Ended) -> dict[str, str | int | float]:
    attributes: dict[str, str | int | float] = {
        **_methods(ended)[1],
        "gateway.upstream": ended.upstream,
    }
    if ended.headed:
        attributes["http.response.status_code"] = ended.status
        attributes["gateway.head_seconds"] = round(ended.headed - ended.sent, 6)
    if ended.attempts > 1:
        attributes["http.request.resend_count"] = ended.attempts - 1
    return attributes
