"""Counter of what an admin listener refused, in the registry of the process that has the listener."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter

if TYPE_CHECKING:
    from collections.abc import Callable


def admin_refusals(registry: CollectorRegistry) -> Callable[[str], None]:
    """Publish the counter in `registry`; return what counts one refusal, by its reason: host, token or request."""
    refusals = Counter(
        "gateway_admin_refusals",
        "Requests that the admin listener refused: host (a Host that it does not answer to), token, or request.",
        ["reason"],
        registry=registry,
    )
    for reason in ("host", "token", "request"):
        refusals.labels(reason)
    return lambda reason: refusals.labels(reason).inc()
