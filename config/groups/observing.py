"""Settings of what the gateway tells about itself: logs, traces, and metrics that it sends."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from config.fields import CollectorUrl, Group


class Trace(Group):
    """Distributed traces (W3C Trace Context), and spans for a collector (OpenTelemetry)."""

    endpoint: CollectorUrl | None = Field(
        None,
        description="Collector that takes spans by OTLP over HTTP, http://host:4318; needs the extra otel. Without one "
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_EXPORTER_OTLP_ENDPOINT counts, where the extra is installed.",
    )
    service: str = Field(
        "whatomate-gateway",
        min_length=1,
        max_length=255,
        description="What this gateway is called in traces. Unset: as OTEL_SERVICE_NAME says, where the extra otel is "
        "installed.",
    )

    sample: float = Field(
        1,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Share of the traces that begin at the gateway which are marked as sampled; of those that "
        "callers began, they decide.",
    )


class Metrics(Group):
    """Metrics that are sent to a collector (OpenTelemetry). /metrics of the admin listener is there in any case."""

    endpoint: CollectorUrl | None = Field(
        None,
        description="Collector that takes metrics by OTLP over HTTP, http://host:4318; needs the extra otel. Without "
        "one OTEL_EXPORTER_OTLP_METRICS_ENDPOINT counts, or with OTEL_METRICS_EXPORTER=otlp "
        "OTEL_EXPORTER_OTLP_ENDPOINT, where the extra is installed.",
    )
    interval_seconds: float = Field(
        60, ge=1, le=3600, allow_inf_nan=False, description="How often metrics are sent."
    )


class Log(Group):
    """Records on standard output."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severity written.")
    access: bool = Field(default=True, description="One line for each request.")
    format: Literal["json", "text"] = Field(
        "json", description="json: an object a line; text: for people at a terminal."
    )
    sample: float = Field(
        1,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Share of successful requests (status below 400) that are written; all others always are.",
    )
    query: Literal["names", "values", "off"] = Field(
        "names",
        description="Of a query, what is written: its names; its values too, but for those of known credentials; "
        "nothing.",
    )
