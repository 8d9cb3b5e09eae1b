"""Route and RouteTable: compiled once, immutable, swapped whole.

Laws:

- Every route says what it requires; there is no default that lets anybody in. An unmatched path is 404.
- The most specific pattern wins: an exact path before a prefix, a longer prefix before a shorter one, one that names
  methods before one that does not; at equal specificity the one that protects.
- A pattern that protects matches in any case (``/API/users`` is not outside ``/api``); one that opens matches exactly.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gateway.faults import MethodNotAllowed, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from authcore.authorize import Requirement
    from gateway.metrics import RouteMeter
    from gateway.proxy.upstreams import Upstream

REMEMBERED: Final = 2048
"""Paths whose route is kept; all are forgotten when there are more."""

_PATTERN: Final = re.compile(r"(?:(?P<methods>[A-Z]+(?:\|[A-Z]+)*) +)?(?P<path>/[^\s?#*]*)(?P<below>\*)?")


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """What happens to the requests of one kind.

    Attributes:
        name: Short and stable: the label of metrics and logs.
        requirement: What the caller must be or have.
        upstream: Where it goes.
        meter: The route's metrics, bound.
        methods: The methods it takes; None for any.
        body_limit: Bytes of body at most; 0 for no limit.
        strip_credential: The upstream does not see the credential.
        hosted: The gateway's own application answers, for the organization of the credential.
        tickets: A WebSocket ticket in the query is a credential here.
    """

    name: str
    requirement: Requirement
    upstream: Upstream
    meter: RouteMeter
    methods: frozenset[bytes] | None = None
    body_limit: int = 0
    strip_credential: bool = False
    hosted: bool = False
    tickets: bool = False


@dataclass(frozen=True, slots=True)
class Pattern:
    """Which requests a route is for.

    Attributes:
        path: The literal path or prefix.
        below: It is a prefix: everything below matches too.
        methods: Only these; None for any.
    """

    path: str
    below: bool
    methods: frozenset[bytes] | None

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Read ``[METHOD[|METHOD] ]/path[/*]``.

        Raises:
            ValueError: it is something else.
        """
        match = _PATTERN.fullmatch(text.strip())
        if match is None or (match["below"] and not match["path"].endswith("/")):
            raise ValueError(f"{text!r} is not of the form [METHOD[|METHOD] ]/path[/*]")
        methods = of_method(*match["methods"].split("|")) if match["methods"] else None
        return cls(match["path"], bool(match["below"]), methods)


def of_method(*names: str) -> frozenset[bytes]:
    """Return methods as routes name them: with GET goes HEAD (RFC 9110 section 9.3.2)."""
    return frozenset(name.encode() for name in (*names, *(["HEAD"] if "GET" in names else [])))


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: Pattern
    route: Route
    protects: bool
    path: str = field(init=False)

    def __post_init__(self) -> None:
        path = self.pattern.path.lower() if self.protects else self.pattern.path
        object.__setattr__(self, "path", path)

    @property
    def rank(self) -> tuple[bool, int, bool, bool]:
        """Most specific first, when sorted in reverse."""
        return (not self.pattern.below, len(self.path), self.pattern.methods is not None, self.protects)

    def matches(self, method: bytes, path: str, lowered: str) -> bool:
        methods = self.pattern.methods
        if methods is not None and method not in methods:
            return False
        subject = lowered if self.protects else path
        if self.pattern.below:  # "/api/*" is "/api" and all below it
            return subject.startswith(self.path) or subject == self.path[:-1]
        return subject == self.path


class RouteTable:
    """All routes of a gateway."""

    def __init__(
        self,
        hosted: Mapping[str, Route | Sequence[Route]],
        rules: Iterable[tuple[Pattern, Route]],
        preflight: Route,
    ) -> None:
        """Compile.

        Args:
            hosted: Exact paths that the gateway answers itself, and their routes by method. A final ``/{id}`` stands
                for any one segment.
            rules: Patterns and their routes.
            preflight: The route of a CORS preflight, which carries no credential.
        """
        self._hosted = {
            path: (found,) if isinstance(found, Route) else tuple(found) for path, found in hosted.items()
        }
        self._preflight = preflight
        self._remembered: dict[tuple[bytes, str], Route] = {}
        compiled = [_Rule(pattern, route, not route.requirement.public) for pattern, route in rules]
        self._rules = tuple(sorted(compiled, key=lambda rule: rule.rank, reverse=True))

    def match(self, method: bytes, path: str, *, preflight: bool) -> Route:
        """Return the route of a request.

        Raises:
            NotFound: there is none.
            MethodNotAllowed: there is one, and not for this method.
        """
        if preflight:
            return self._preflight
        known = self._remembered.get((method, path))
        if known is not None:
            return known
        lowered = path.lower()
        fixed, routes = path, self._hosted.get(lowered)
        if routes is None:
            fixed, _, last = path.rpartition("/")
            routes = self._hosted.get(fixed.lower() + "/{id}") if last else None
        if routes is not None:
            if fixed != fixed.lower():  # neither ours nor the upstream's: which of us would read it how?
                raise NotFound("Not found")
            return _of_method(routes, method)
        for rule in self._rules:
            if rule.matches(method, path, lowered):
                if len(self._remembered) >= REMEMBERED:
                    self._remembered.clear()
                self._remembered[method, path] = rule.route
                return rule.route
        raise NotFound("Not found")


def _of_method(routes: Sequence[Route], method: bytes) -> Route:
    allowed: set[bytes] = set()
    for route in routes:
        if route.methods is None or method in route.methods:
            return route
        allowed |= route.methods
    raise MethodNotAllowed(", ".join(sorted(name.decode() for name in allowed)))
