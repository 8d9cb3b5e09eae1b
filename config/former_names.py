"""Former name in route files: the upstream of GATEWAY_UPSTREAM_URL was called ``default`` there, which is still read.

Law: it has one name everywhere else, in log, metrics, status page and signed identities: ``upstream``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.route_text import RouteText, YamlPath

FORMER: Final = "default"
PRESENT: Final = "upstream"


def take_former_name(text: RouteText) -> list[int]:
    """Write the present name in the place of the former one; return the lines that have the former one."""
    if not isinstance(text.value, dict):
        return []
    upstreams = text.value.get("upstreams")
    entries = upstreams if isinstance(upstreams, dict) else {}
    if FORMER in entries:
        line = text.line(("upstreams", FORMER))
        if PRESENT in entries:
            text.problems.append(
                (
                    line,
                    f"upstreams.{FORMER}: is the former name of `{PRESENT}`, which is there as well; keep one",
                )
            )
            text.value = None
            return []
        text.value["upstreams"] = {
            PRESENT if name == FORMER else name: entry for name, entry in entries.items()
        }
        text.lines = {_present(place): where for place, where in text.lines.items()}
    lines = [text.line(("upstreams", PRESENT))] if FORMER in entries else []
    for holder, key, place in _references(text.value):
        if holder[key] == FORMER:
            holder[key] = PRESENT
            lines.append(text.line(place))
    return sorted(set(lines))


def _present(place: YamlPath) -> YamlPath:
    return ("upstreams", PRESENT, *place[2:]) if place[:2] == ("upstreams", FORMER) else place


def _references(frame: dict[str, Any]) -> Iterator[tuple[Any, Any, YamlPath]]:
    """Yield each place that names an upstream: what holds it, its key there, and its place in the file."""
    upstreams, routes = frame.get("upstreams"), frame.get("routes")
    for name, entry in upstreams.items() if isinstance(upstreams, dict) else ():
        if isinstance(entry, dict) and "failover" in entry:
            others = entry["failover"]
            if isinstance(others, list):
                yield from ((others, at, ("upstreams", name, "failover", at)) for at in range(len(others)))
            else:
                yield entry, "failover", ("upstreams", name, "failover")
    for at, route in enumerate(routes) if isinstance(routes, list) else ():
        if isinstance(route, dict) and "upstream" in route:
            yield route, "upstream", ("routes", at, "upstream")
