"""OpenTelemetry's own environment variables, the settings of the gateway that they give, and the URLs of collectors.

Laws:

- They count only where the extra ``otel`` is installed, since they may be set for a whole cluster. Every setting of the
  gateway's goes over them.
- An endpoint counts only if it is for OTLP over HTTP. It is for gRPC if the protocol is ``grpc``, or if it has no
  scheme (``host:port``).
- ``OTEL_SDK_DISABLED=true`` switches spans and metrics off. So does an exporter other than ``otlp``, such as ``none``,
  for its signal.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Mapping

_OTLP: Final = "OTEL_EXPORTER_OTLP"
_SCHEME: Final = "://"
_DISABLED: Final = "OTEL_SDK_DISABLED"
_SERVICE: Final = "OTEL_SERVICE_NAME"
_RESOURCE: Final = "OTEL_RESOURCE_ATTRIBUTES"
_DEFAULT: Final = "http://localhost:4318"


def otel_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the gateway's settings that OpenTelemetry's variables give, by name.

    Spans are sent where there is an endpoint for them, or one for all. Metrics are sent where there is one for metrics,
    or where ``OTEL_METRICS_EXPORTER`` is ``otlp``, as ``/metrics`` is there in any case.
    """
    if environment.get(_DISABLED, "").strip().lower() == "true":
        return {}
    found = {}
    own, whole = _endpoints(environment, "TRACES")
    exporters = _exporters(environment, "TRACES")
    if (own or whole) and (not exporters or "otlp" in exporters):
        found["GATEWAY_TRACE_ENDPOINT"] = own or whole
    own, whole = _endpoints(environment, "METRICS")
    exporters = _exporters(environment, "METRICS")
    if "otlp" in exporters and _speaks_http(environment, "METRICS"):
        found["GATEWAY_METRICS_ENDPOINT"] = own or whole or _DEFAULT
    elif own and not exporters:
        found["GATEWAY_METRICS_ENDPOINT"] = own
    if service := environment.get(_SERVICE) or _attribute(environment.get(_RESOURCE, ""), "service.name"):
        found["GATEWAY_TRACE_SERVICE"] = service
    return found


def signal_url(endpoint: str, signal: str) -> str:
    """Return a collector's URL for a signal, ``traces`` or ``metrics``; `endpoint` may have its path already."""
    path, whole = f"/v1/{signal}", endpoint.rstrip("/")
    return whole if whole.endswith(path) else whole + path


def exporter_variable(signal: str, name: str) -> str:
    """Return the value that the exporter of a signal, ``traces`` or ``metrics``, has for `name`; empty if none is set.

    `name` is the end of a variable, such as ``HEADERS``: OTEL_EXPORTER_OTLP_TRACES_HEADERS goes over
    OTEL_EXPORTER_OTLP_HEADERS.
    """
    own = os.environ.get(f"{_OTLP}_{signal.upper()}_{name}")
    return own or os.environ.get(f"{_OTLP}_{name}", "")


def _exporters(environment: Mapping[str, str], signal: str) -> set[str]:
    names = environment.get(f"OTEL_{signal}_EXPORTER", "").split(",")
    return {name.strip().lower() for name in names} - {""}


def _endpoints(environment: Mapping[str, str], signal: str) -> tuple[str, str]:
    """Return the endpoint of a signal and the one of all; empty if it is none for OTLP over HTTP."""
    if not _speaks_http(environment, signal):
        return "", ""
    own, whole = (environment.get(f"{_OTLP}{name}_ENDPOINT", "").strip() for name in (f"_{signal}", ""))
    return own if _SCHEME in own else "", whole if _SCHEME in whole else ""


def _speaks_http(environment: Mapping[str, str], signal: str) -> bool:
    protocol = environment.get(f"{_OTLP}_{signal}_PROTOCOL") or environment.get(f"{_OTLP}_PROTOCOL", "")
    return protocol.strip().lower() != "grpc"


def _attribute(attributes: str, name: str) -> str:
    """Return one of the resource's attributes, which are written as those of W3C Baggage; empty if it is not there."""
    pairs = (pair.partition("=") for pair in attributes.split(","))
    return next((unquote(value.strip()) for key, _, value in pairs if key.strip() == name), "")
