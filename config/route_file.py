"""Route plan reader: it merges route file and preset into one plan, or reports every problem with its file and line.

Laws:

- The file goes over the preset: a route of the same name replaces the preset's, and for the same path the file's route
  wins. A more specific route of the preset still wins: a wide route of a file opens nothing by accident.
- A plan is complete, or there is none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Final, TypeVar

from pydantic import ValidationError

from config.checks import identity_problems
from config.loop_checks import loop_problems
from config.overlaps import MatchClaim, overlaps
from config.route_checks import entry_problems
from config.route_text import read_text
from config.routes import DEFAULT_UPSTREAM, Entry, RouteEntry, RouteFile
from config.tls_checks import entry_problems as entry_tls_problems

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from config.patterns import PathPattern
    from config.route_checks import Problem
    from config.route_text import Place, RouteText
    from config.routes import UpstreamEntry
    from config.settings import Settings

E = TypeVar("E", bound=Entry)

_PLAIN: Final = {
    "missing": "is missing",
    "extra_forbidden": "is no key of this place",
    "list_type": "should be a list",
    "too_short": "should have at least one entry",
    "dict_type": "should be keys with values",
    "model_type": "should be keys with values",
}


class RoutesRefused(Exception):
    """A route file that cannot be used.

    Attributes:
        problems: Each problem as one line, ``file:line: what is wrong and what to do``; never empty.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Case:
    """One path of one host with its methods: a part of a route's match condition.

    Attributes:
        host: A host, a wildcard, or empty for any host.
        methods: The methods as written; None for any.
        path: The path pattern.
        prefix: It was written as a prefix: other spellings of the path are meant as well.
    """

    host: str
    methods: tuple[str, ...] | None
    path: PathPattern
    prefix: bool = False

    def __str__(self) -> str:
        return f"{' '.join(self.methods or ('*',))} {self.host}{self.path}"


def _cases(entry: RouteEntry) -> Iterator[Case]:
    for match in entry.match:
        methods = None if match.methods is None else tuple(match.methods)
        for host in match.host or [""]:
            for path, is_prefix in match.patterns:
                yield Case(host, methods, path, is_prefix)


@dataclass(frozen=True, slots=True)
class PlannedRoute:
    """Route of a plan, and where it was written.

    Attributes:
        entry: The route as written.
        cases: Its match condition, split into one path of one host each.
        origin: ``file:line``.
        layer: 0 for a route of the preset, 1 for one of the file.
    """

    entry: RouteEntry
    cases: tuple[Case, ...]
    origin: str
    layer: int

    @property
    def allows_anonymous(self) -> bool:
        """True if it admits callers without a credential."""
        return self.entry.auth != "required"

    def claims(self, owner: int) -> Iterator[MatchClaim]:
        """Yield its match conditions for the overlap check."""
        for case in self.cases:
            methods = None if case.methods is None else frozenset(with_head(case.methods))
            yield MatchClaim(case.host, case.path, methods, self.layer, self.allows_anonymous, owner)


@dataclass(frozen=True, slots=True)
class RoutePlan:
    """Upstreams and routes that a gateway forwards to."""

    upstreams: dict[str, UpstreamEntry]
    routes: tuple[PlannedRoute, ...]


@dataclass(slots=True)
class Written:
    """Upstreams and routes of one text.

    Attributes:
        upstreams: By name; None for one with a problem.
        routes: Routes without a problem, each with its index in the text.
    """

    upstreams: dict[str, UpstreamEntry | None] = field(default_factory=dict)
    routes: list[tuple[int, RouteEntry]] = field(default_factory=list)


def with_head(methods: Iterable[str]) -> list[str]:
    """Return methods as routes accept them: GET includes HEAD (RFC 9110 section 9.3.2)."""
    named = list(methods)
    return [*named, "HEAD"] if "GET" in named else named


def read_plan(settings: Settings) -> RoutePlan | None:
    """Return the configured plan; None if neither route file nor preset is set.

    Raises:
        RoutesRefused: with every problem found.
    """
    if settings.routes is None and settings.preset == "none":
        return None
    problems: list[tuple[str, int, str]] = []
    upstreams: dict[str, UpstreamEntry | None] = {}
    routes: dict[str, PlannedRoute] = {}
    for layer, (called, raw) in enumerate(_sources(settings)):
        text = read_text(raw)
        written = _Reader(text, called, problems).written()
        for place, entry in written.routes:
            line = text.line(("routes", place))
            for where, problem in entry_problems(entry, settings):
                problems.append(
                    (called, text.line(("routes", place, *where)), f"route {entry.name}: {problem}")
                )
            known = routes.get(entry.name)
            if known is not None and known.layer == layer:
                problems.append((called, line, f"route {entry.name}: named twice, first at {known.origin}"))
            routes[entry.name] = PlannedRoute(entry, tuple(_cases(entry)), f"{called}:{line}", layer)
        problems += [
            (called, text.line(("upstreams", name, *where)), f"upstream {name}: {problem}")
            for name, upstream in written.upstreams.items()
            if upstream is not None
            for where, problem in _upstream_problems(upstream, settings)
        ]
        upstreams |= written.upstreams
    plan = RoutePlan(
        {name: entry for name, entry in upstreams.items() if entry is not None}, tuple(routes.values())
    )
    lines = [
        f"{called}:{line}: {problem}" for called, line, problem in sorted(problems, key=lambda one: one[:2])
    ]
    lines += _unknown_upstreams(plan, {*upstreams, *([DEFAULT_UPSTREAM] if settings.upstream.url else [])})
    lines += _unordered(plan)
    if lines:
        raise RoutesRefused(list(dict.fromkeys(lines)))
    return plan


def _sources(settings: Settings) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the text of each layer, the lowest first."""
    if settings.preset == "none":
        yield "preset none", b""
    else:
        yield f"preset {settings.preset}", preset_text(settings.preset)
    if settings.routes is not None:
        try:
            raw = settings.routes.read_bytes()
        except OSError as error:
            raise RoutesRefused([f"{settings.routes}:1: cannot be read: {error.strerror}"]) from error
        yield str(settings.routes), raw


def preset_text(name: str) -> bytes:
    """Return the text of a preset."""
    return (resources.files("config") / "presets" / f"{name}.yaml").read_bytes()


@dataclass(frozen=True, slots=True)
class _Reader:
    """Validator of one text, which collects the problems."""

    text: RouteText
    called: str
    problems: list[tuple[str, int, str]]

    def written(self) -> Written:
        """Return the usable upstreams and routes of the text.

        Each part is validated by itself, so that a mistake in one hides none in another; the frame around them comes
        last.
        """
        self.problems.extend((self.called, line, problem) for line, problem in self.text.problems)
        written, frame = Written(), self.text.value
        if frame is None:
            return written
        if isinstance(frame, dict):
            frame = dict(frame)
            if isinstance(upstreams := frame.get("upstreams"), dict):
                frame["upstreams"] = {}
                for name, value in upstreams.items():
                    read = self._read(RouteFile, {"upstreams": {name: value}}, ())
                    written.upstreams[name] = None if read is None else read.upstreams[name]
            if isinstance(routes := frame.get("routes"), list):
                frame["routes"] = []
                entries = [self._read(RouteEntry, value, ("routes", n)) for n, value in enumerate(routes)]
                written.routes += [(n, entry) for n, entry in enumerate(entries) if entry is not None]
        self._read(RouteFile, frame, ())
        return written

    def _read(self, kind: type[E], value: object, place: Place) -> E | None:
        try:
            return kind.model_validate(value)
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_context=False):
                at = (*place, *detail["loc"])
                message = _PLAIN.get(detail["type"]) or detail["msg"].removeprefix("Value error, ")
                if at[2:4] == ("match", 0) and at[:4] not in self.text.lines:
                    # A single match, not written as a list: its place in the file has no index.
                    at = (*at[:3], *at[4:])
                self.problems.append((self.called, self.text.line(at), f"{_path_text(at)}: {message}"))
        return None


def _path_text(place: tuple[str | int, ...]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return text.removeprefix(".") or "the file"


def _upstream_problems(upstream: UpstreamEntry, settings: Settings) -> Iterator[Problem]:
    """Yield every contradiction in one upstream: its place in the upstream, and the message."""
    for problem in identity_problems(upstream.identity or (), settings):
        yield ("identity",), problem
    for key, problem in entry_tls_problems(upstream.tls, upstream.url):
        yield ("tls", key), f"tls: {key}: {problem}"
    for problem in loop_problems(upstream.url, settings):
        yield ("url",), problem


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
