"""Route plan: upstreams, routes and limits that a gateway forwards by, from route file and preset.

Law: without route file and preset nothing of them is imported: neither their model nor YAML.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from config.former_names import PRESENT
from config.overlaps import MatchClaim

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from config.limits import LimitEntry
    from config.patterns import PathPattern
    from config.routes import RouteEntry, UpstreamEntry
    from config.settings import Settings

DEFAULT_UPSTREAM: Final = PRESENT
"""Name of the upstream of ``GATEWAY_UPSTREAM_URL``, unless the file defines it."""
HOSTED_UPSTREAM: Final = "gateway"
"""Name of the gateway's own application in log and metrics."""


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
    """Upstreams and routes that a gateway forwards to, and the limits that they name.

    Attributes:
        hosted_limits: Names of the limits of the gateway's own endpoints; None for those of the settings.
        former: Each ``file:line`` at which the upstream of GATEWAY_UPSTREAM_URL has its former name.
    """

    upstreams: dict[str, UpstreamEntry]
    routes: tuple[PlannedRoute, ...]
    limits: dict[str, LimitEntry] = field(default_factory=dict)
    hosted_limits: tuple[str, ...] | None = None
    former: tuple[str, ...] = ()


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
    from config.route_file import read_layers  # noqa: PLC0415 -- see the law

    return read_layers(settings)
