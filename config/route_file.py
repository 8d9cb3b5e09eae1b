"""Route plan reader: it merges route file and preset into one plan, or reports every problem with its file and line.

Laws:

- The file goes over the preset: a route of the same name replaces the preset's, and for the same path the file's route
  wins. A more specific route of the preset still wins: a wide route of a file opens nothing by accident.
- A plan is complete, or there is none.
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from config.checks import hash_problems, identity_problems
from config.delivery_checks import failover_problems
from config.files import read_file
from config.former_names import take_former_name
from config.health_checks import entry_problems as entry_health_problems
from config.limit_checks import limit_problems
from config.loop_checks import loop_problems
from config.overlaps import overlaps
from config.route_checks import entry_problems
from config.route_plan import DEFAULT_UPSTREAM, Case, PlannedRoute, RoutePlan, RoutesRefused
from config.route_reader import RouteReader
from config.route_text import read_text
from config.text import printable
from config.tls_checks import entry_problems as entry_tls_problems
from config.traffic_checks import balance_problems

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.limits import LimitEntry
    from config.route_checks import Problem
    from config.routes import RouteEntry, UpstreamEntry
    from config.settings import Settings


def _cases(entry: RouteEntry) -> Iterator[Case]:
    for match in entry.match:
        methods = None if match.methods is None else tuple(match.methods)
        for host in match.host or [""]:
            for path, is_prefix in match.patterns:
                yield Case(host, methods, path, is_prefix)


def read_layers(settings: Settings) -> RoutePlan:
    """Return the plan of the preset and the route file of `settings`.

    Raises:
        RoutesRefused: with every problem found.
    """
    problems: list[tuple[str, int, str]] = []
    upstreams: dict[str, UpstreamEntry | None] = {}
    routes: dict[str, PlannedRoute] = {}
    limits: dict[str, LimitEntry] = {}
    hosted_limits: tuple[str, ...] | None = None
    hosted_at = ""
    former: list[str] = []
    for layer, (source, raw) in enumerate(_sources(settings)):
        text = read_text(raw)
        former += [f"{source}:{line}" for line in take_former_name(text)]
        written = RouteReader(text, source, problems).written()
        for place, entry in written.routes:
            line = text.line(("routes", place))
            for where, problem in entry_problems(entry, settings):
                problems.append(
                    (source, text.line(("routes", place, *where)), f"route {entry.name}: {problem}")
                )
            known = routes.get(entry.name)
            if known is not None and known.layer == layer:
                problems.append((source, line, f"route {entry.name}: named twice, first at {known.origin}"))
            routes[entry.name] = PlannedRoute(entry, tuple(_cases(entry)), f"{source}:{line}", layer)
        problems += [
            (source, text.line(("upstreams", name, *where)), f"upstream {name}: {problem}")
            for name, upstream in written.upstreams.items()
            if upstream is not None
            for where, problem in _upstream_problems(name, upstream, settings)
        ]
        upstreams |= written.upstreams
        problems += [
            (source, text.line(("upstreams", name, *where)), f"upstream {name}: {problem}")
            for name in written.upstreams
            for where, problem in failover_problems(name, upstreams, settings)
        ]
        limits |= written.limits
        if written.hosted_limits is not None:
            hosted_limits, hosted_at = written.hosted_limits, f"{source}:{text.line(('hosted_limits',))}"
    usable = {name: entry for name, entry in upstreams.items() if entry is not None}
    plan = RoutePlan(usable, tuple(routes.values()), limits, hosted_limits, tuple(former))
    lines = [
        f"{source}:{line}: {problem}" for source, line, problem in sorted(problems, key=lambda one: one[:2])
    ]
    lines += _unknown_upstreams(plan, {*upstreams, *([DEFAULT_UPSTREAM] if settings.upstream.url else [])})
    lines += _unordered(plan)
    lines += [] if problems else limit_problems(settings, plan, hosted_at)
    if lines:
        raise RoutesRefused(list(dict.fromkeys(lines)))
    return plan


def _sources(settings: Settings) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the text of each layer, the lowest first."""
    if settings.preset == "none":
        yield "preset none", b"{}"
    else:
        yield f"preset {settings.preset}", preset_text(settings.preset)
    if settings.routes is not None:
        try:
            raw = read_file(settings.routes)
        except OSError as error:
            raise RoutesRefused(
                [printable(f"GATEWAY_ROUTES: cannot read {settings.routes}: {error.strerror}")]
            ) from error
        yield str(settings.routes), raw


def preset_text(name: str) -> bytes:
    """Return the text of a preset."""
    return (resources.files("config") / "presets" / f"{name}.yaml").read_bytes()


def _upstream_problems(name: str, upstream: UpstreamEntry, settings: Settings) -> Iterator[Problem]:
    """Yield every contradiction in one upstream: its place in the upstream, and the message."""
    for problem in identity_problems(upstream.identity or (), settings):
        yield ("identity",), problem
    for key, problem in entry_tls_problems(upstream.tls, upstream.urls):
        yield ("tls", key), f"tls: {key}: {problem}"
    yield from entry_health_problems(upstream, settings, ours=name == DEFAULT_UPSTREAM)
    key = "url" if upstream.endpoints is None else "endpoints"
    for problem in loop_problems(upstream.urls, settings):
        yield (key,), problem
    for problem in balance_problems(upstream):
        yield (key,), problem
    for problem in hash_problems(upstream.hash_by, settings):
        yield ("hash_by",), problem


def _unknown_upstreams(plan: RoutePlan, known: set[str]) -> Iterator[str]:
    unknown: dict[str, list[PlannedRoute]] = {}
    for route in plan.routes:
        if route.entry.upstream not in known:
            unknown.setdefault(route.entry.upstream, []).append(route)
    for upstream, routes in unknown.items():
        if upstream == DEFAULT_UPSTREAM:
            advice = "set GATEWAY_UPSTREAM_URL, or name one of `upstreams`"
        else:
            advice = f"there are {', '.join(sorted(known)) or 'none'}"
        more = f" (and {len(routes) - 1} more)" if routes[1:] else ""
        first = routes[0]
        yield f"{first.origin}: route {first.entry.name}{more}: no upstream {upstream!r}; {advice}"


def _unordered(plan: RoutePlan) -> Iterator[str]:
    """Yield a problem for every two routes that could both match a request while neither is more specific."""
    claims = [claim for owner, route in enumerate(plan.routes) for claim in route.claims(owner)]
    for one, other in overlaps(claims):
        first, second = plan.routes[one.owner], plan.routes[other.owner]
        yield (
            f"{second.origin}: route {second.entry.name}: {other.path} and {one.path} of route {first.entry.name}, "
            f"{first.origin}, can both take a request, and neither is more specific; "
            "narrow one of them, or name their methods apart"
        )
