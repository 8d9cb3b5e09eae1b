"""Checks of traffic policies: words of a route file that contradict each other, and what is perhaps not meant."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.route_plan import RoutePlan
    from config.routes import UpstreamEntry
    from config.settings import Settings


_PORTS: Final = {"http": 80, "https": 443}


def balance_problems(upstream: UpstreamEntry) -> Iterator[str]:
    """Yield the contradictions among the endpoints of an upstream."""
    if not any(place.weight for place in upstream.places):
        yield "every weight is 0, so no endpoint would get requests"
    spellings: defaultdict[tuple[str, str, int], list[str]] = defaultdict(list)
    for url in upstream.urls:
        spellings[place_of(url)].append(url)
    where = "" if upstream.endpoints is not None else "in `endpoints`, "
    for first, *more in spellings.values():
        if more:
            other = "" if more[0] == first else f", as {more[0]}"
            yield f"{first} is there twice{other}; give it once, {where}with a greater weight"


def place_of(url: str) -> tuple[str, str, int]:
    """Return what is equal for every spelling of a URL: case of the host, a port left out, a final slash."""
    parts = urlsplit(url)
    if parts.scheme not in _PORTS:
        return url, "", 0
    return parts.scheme, parts.hostname or "", parts.port or _PORTS[parts.scheme]


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
