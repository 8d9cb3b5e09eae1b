"""OpenTelemetry's own variables: which of them set an endpoint of the gateway's.

Law: they count only where the extra ``otel`` is installed, since they may be set for a whole cluster; and below every
setting of the gateway's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

COLLECTOR: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
_OF_METRICS: Final = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"
_EXPORTER: Final = "OTEL_METRICS_EXPORTER"
_DEFAULT: Final = "http://localhost:4318"


def endpoints(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that OpenTelemetry's variables stand for.

    Spans are sent where there is an endpoint for all. Metrics are sent where there is one for metrics, or where
    ``OTEL_METRICS_EXPORTER`` is ``otlp``; never where that names another exporter or ``none``.
    """
    found = {}
    whole, of_metrics = environment.get(COLLECTOR), environment.get(_OF_METRICS)
    if whole:
        found["GATEWAY_TRACE_ENDPOINT"] = whole
    exporters = {name.strip().lower() for name in environment.get(_EXPORTER, "").split(",")} - {""}
    if "otlp" in exporters:
        found["GATEWAY_METRICS_ENDPOINT"] = of_metrics or whole or _DEFAULT
    elif of_metrics and not exporters:
        found["GATEWAY_METRICS_ENDPOINT"] = of_metrics
    return found
