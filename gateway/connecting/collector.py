"""Connection check of an OpenTelemetry collector: it is sent a request without spans or metrics, which OTLP permits.

Law: the request has the headers, authorities and client certificate of ``OTEL_EXPORTER_OTLP_*``, as those of the
exporters that ``serve`` uses.
"""

from __future__ import annotations

import ssl
from typing import Final
from urllib.parse import unquote

from aiohttp import ClientError, ClientSession, ClientTimeout

from config.collectors import exporter_variable, signal_url

SECONDS: Final = 5.0
_SUCCESSES: Final = range(200, 300)
_ADVICE: Final = "check that it takes OTLP over HTTP there, which is port 4318 as a rule (4317 is gRPC)"


async def collector(signal: str, setting: str, endpoint: str) -> list[str]:
    """Return the problem of the collector at `endpoint`, the value of `setting`, for ``traces`` or ``metrics``."""
    url, path = signal_url(endpoint, signal), f"/v1/{signal}"
    try:
        headers = {
            "Content-Type": "application/x-protobuf",
            **_headers(exporter_variable(signal, "HEADERS")),
        }
        async with (
            ClientSession(timeout=ClientTimeout(total=SECONDS), trust_env=True) as session,
            session.post(url, data=b"", headers=headers, ssl=_context(signal)) as response,
        ):
            status = response.status
    except TimeoutError:
        return [f"{setting}: no answer within {SECONDS:g} s; {_ADVICE}"]
    except (ClientError, OSError, ValueError) as error:
        return [f"{setting}: {' '.join(str(error).split()) or type(error).__name__}; {_ADVICE}"]
    if status in {401, 403}:
        return [f"{setting}: it answers {status} to {path}; check OTEL_EXPORTER_OTLP_HEADERS"]
    if status not in _SUCCESSES:
        return [f"{setting}: it answers {status} to {path}; {_ADVICE}"]
    return []


def _headers(written: str) -> dict[str, str]:
    """Return the headers of a variable, ``name=value`` with commas between, percent-encoded as in W3C Baggage."""
    pairs = (pair.partition("=") for pair in written.split(","))
    return {unquote(name.strip()): unquote(value.strip()) for name, equals, value in pairs if equals}


def _context(signal: str) -> ssl.SSLContext | bool:
    """Return the context with the files of the variables; True, for the usual one, if there are none."""
    authorities = exporter_variable(signal, "CERTIFICATE")
    certificate = exporter_variable(signal, "CLIENT_CERTIFICATE")
    if not authorities and not certificate:
        return True
    context = ssl.create_default_context(cafile=authorities or None)
    if certificate:
        context.load_cert_chain(certificate, exporter_variable(signal, "CLIENT_KEY") or None)
    return context
