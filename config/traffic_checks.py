"""Checks of traffic policies: words of a route file that contradict each other, and what is perhaps not meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.route_file import RoutePlan
    from config.routes import UpstreamEntry
    from config.settings import Settings


def balance_problems(upstream: UpstreamEntry) -> Iterator[str]:
    """Yield the contradictions among the endpoints of an upstream."""
    if upstream.endpoints is None:
        return
    if not any(endpoint.weight for endpoint in upstream.endpoints):
        yield "every weight is 0, so no endpoint would get requests"
    for url in dict.fromkeys(url for url in upstream.urls if upstream.urls.count(url) > 1):
        yield f"{url} is there twice; give it once, with a greater weight"


def balance_doubts(plan: RoutePlan, settings: Settings) -> Iterator[str]:
    """Yield what is perhaps not meant: a zone that no endpoint is in, and a key where there is nothing to choose."""
    for name, upstream in plan.upstreams.items():
        zone = settings.upstream.zone if upstream.zone is None else upstream.zone
        zones = sorted({place.zone for place in upstream.places} - {""})
        if zone and zones and zone not in zones:
            yield (
                f"upstream {name}: no endpoint is in the zone {zone}, so none comes first; "
                f"its endpoints are in {', '.join(zones)}"
            )
        if upstream.zone and not zones:
            yield f"upstream {name}: `zone` has no effect, for no endpoint has a zone; use `endpoints`"
