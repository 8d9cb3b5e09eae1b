"""Route table: compiled once, immutable, and replaced as a whole.

Laws:

- Every route has a requirement; there is no default that admits anybody. An unmatched path is 404; one that matches for
  other methods only is 405 with Allow.
- The most specific rule wins, in the order of :mod:`gateway.proxy.matching`. Hosted routes come before any rule.
- A rule that needs a credential matches in any case (``/API/users`` is not outside ``/api``); a rule that admits
  anonymous callers matches exactly.
- A path with an encoded segment is taken by a rule that declares it opaque, and by no other. It is refused where one of
  its decodings is a hosted path, or falls under a rule that is not the same or a wider one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from authcore.authorize import Requirement
from config.patterns import PathPattern, Relation, compare
from gateway.faults import GatewayFault, MethodNotAllowed, NotFound
from gateway.limits.limit import RouteLimits
from gateway.metrics import RouteMeter
from gateway.proxy.cors import CorsPolicy
from gateway.proxy.header_edits import HeaderEdits
from gateway.proxy.matching import Tree
from gateway.proxy.prefixes import PrefixGuard
from gateway.proxy.rewriting import Rewrite
from gateway.proxy.target import is_encoded, readings, refusal_of
from gateway.proxy.upstreams import Upstream
from gateway.wire.faults import caused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

REMEMBERED: Final = 2048
"""Most paths whose route is remembered; all are forgotten when there are more."""
_LONGEST: Final = 256
"""A longer path, method and host included, is not remembered: a preflight may ask for any method."""

_PATTERN: Final = re.compile(r"(?:(?P<methods>[A-Z]+(?:\|[A-Z]+)*) +)?(?P<path>/\S*)")


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """Route: how the gateway treats the requests of one kind.

    Attributes:
        name: Short and stable: the label of metrics and logs.
        requirement: What the caller must be or have.
        upstream: Where it goes, and the timeouts.
        meter: The route's metrics, bound.
        methods: The methods of a hosted route; None for any.
        body_limit: Most bytes of body; 0 for no limit.
        strip_credential: The credential is not forwarded.
        internal: The gateway's own application answers, and gets the session id.
        own_organization_only: X-Organization-ID is ignored: the route acts for the organization of the credential.
        tickets: A WebSocket ticket in the query is a credential here.
        message: The first message of a WebSocket is read, and a token in it checked; a query may hold an access token.
        unproven: A WebSocket may be opened anonymously: its first message authenticates it.
        shadow: A refusal is recorded, and the request forwarded.
        rewrite: How the path is changed for the upstream; None if it is not.
        edits: The field lines that are set or added for the upstream; None if there are none.
        cookies: The gateway's own application reads and sets its cookies here.
        cors: The CORS policy; None leaves CORS to the upstream.
        withheld: Keys of the identity headers that the upstream is not sent; equal sets are one object.
        limits: Its rate and concurrency limits; None if it has none.
    """

    name: str
    requirement: Requirement
    upstream: Upstream
    meter: RouteMeter
    methods: frozenset[bytes] | None = None
    body_limit: int = 0
    strip_credential: bool = False
    internal: bool = False
    own_organization_only: bool = False
    tickets: bool = False
    message: bool = False
    unproven: bool = False
    shadow: bool = False
    rewrite: Rewrite | None = None
    edits: HeaderEdits | None = None
    cookies: bool = False
    cors: CorsPolicy | None = None
    withheld: frozenset[str] = frozenset()
    limits: RouteLimits | None = None


@dataclass(frozen=True, slots=True)
class Pattern:
    """Match condition of a route: the requests that it is for.

    Attributes:
        path: The paths it matches.
        methods: Only these methods; None for any.
        host: Only this host; ``*.`` and a host for any one label before it; empty for any.
        layer: Of two rules for the same path, the one of the higher layer wins.
        prefix: Other spellings of its path are held to it as well (:mod:`gateway.proxy.prefixes`).
    """

    path: PathPattern
    methods: frozenset[bytes] | None = None
    host: str = ""
    layer: int = 0
    prefix: bool = False

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Parse ``[METHOD[|METHOD] ]/path[/*]``.

        Raises:
            ValueError: the text is not of that form.
        """
        match = _PATTERN.fullmatch(text.strip())
        try:
            if match is not None:
                methods = of_method(*match["methods"].split("|")) if match["methods"] else None
                return cls(PathPattern.parse(match["path"]), methods)
        except ValueError as error:
            wrong = ValueError(f"{text!r} is not of the form [METHOD[|METHOD] ]/path[/*]: {error}")
            raise caused(wrong, error) from error
        raise ValueError(f"{text!r} is not of the form [METHOD[|METHOD] ]/path[/*]")


def of_method(*names: str) -> frozenset[bytes]:
    """Return methods in the form that routes use: GET includes HEAD (RFC 9110 section 9.3.2)."""
    return frozenset(name.encode() for name in (*names, *(["HEAD"] if "GET" in names else [])))


_AROUND: Final = frozenset({Relation.SAME, Relation.WIDER})


@dataclass(frozen=True, slots=True)
class _Rule:
    path: PathPattern
    methods: frozenset[bytes] | None
    host: str
    layer: int
    allows_anonymous: bool
    route: Route
    preflight: Route | None


class RouteTable:
    """Route table of a gateway.

    Attributes:
        hosted: The routes of each path that the gateway answers itself.
        by_host: Some rule names a host, so `match` needs the request's host.
        opaque: Some rule has an opaque segment, so targets are parsed with it.
        size: How many routes there are besides the hosted ones.
    """

    def __init__(
        self,
        hosted: Mapping[str, Route | Sequence[Route]],
        rules: Iterable[tuple[Pattern, Route]],
        preflight: Route | None,
        preflights: Mapping[Route, Route] | None = None,
        *,
        endings: bool = True,
    ) -> None:
        """Compile the table.

        Args:
            hosted: Exact paths that the gateway answers itself, with their routes by method. A final ``/{id}`` stands
                for any one segment.
            rules: Patterns and their routes.
            preflight: The route of a CORS preflight, which carries no credential; None if there is none.
            preflights: In place of `preflight`, the preflight route of each route.
            endings: What follows a dot or a colon is left out, too, when a path is held to a prefix.
        """
        self.hosted = {
            path: (found,) if isinstance(found, Route) else tuple(found) for path, found in hosted.items()
        }
        self._preflight = preflight
        self._each = preflights is not None
        self._remembered: dict[tuple[bytes, str, str], _Rule] = {}
        rules = list(rules)
        self.size = len({route.name for _, route in rules})
        compiled = [
            _Rule(
                pattern.path,
                pattern.methods,
                pattern.host,
                pattern.layer,
                route.requirement.allows_anonymous,
                route,
                (preflights or {}).get(route),
            )
            for pattern, route in rules
        ]
        self._tree = Tree(compiled)
        prefixes = [
            rule
            for rule, (pattern, _) in zip(compiled, rules, strict=True)
            if pattern.prefix and not rule.allows_anonymous
        ]
        self._guard = PrefixGuard(prefixes, endings=endings) if prefixes else None
        self.by_host = self._tree.by_host
        # Without routes of their own, preflights have one route whatever their path, and none can be refused by it.
        self.opaque = self._each and any(rule.path.opaque for rule in compiled)

    def __repr__(self) -> str:
        return (
            f"<route table: {self.size} routes and {len(self.hosted)} hosted paths, "
            f"{len(self._remembered)} of {REMEMBERED} paths remembered>"
        )

    def match(self, method: bytes, path: str, host: str = "", *, preflight: bool) -> Route:
        """Return the route of a request; for a preflight, `method` is the one that it asks for.

        Raises:
            NotFound: no route matches.
            MethodNotAllowed: a route matches, but not for this method.
            ProtocolError: 400, the path has an encoded segment, and its route declares none.
        """
        if preflight and not self._each:
            return self._given(self._preflight)
        known = self._remembered.get((method, path, host))
        if known is not None:
            return self._given(known.preflight) if preflight else known.route
        if self.opaque and is_encoded(path):
            rule = self._of_opaque(method, path, host)
        else:
            hosted = self._of_hosted(method, path)
            if hosted is not None:
                return self._given(self._preflight) if preflight else hosted
            rule = self._of_rules(method, path, host)
        if len(method) + len(path) + len(host) <= _LONGEST:
            if len(self._remembered) >= REMEMBERED:
                self._remembered.clear()
            self._remembered[method, path, host] = rule
        return self._given(rule.preflight) if preflight else rule.route

    def _of_rules(self, method: bytes, path: str, host: str) -> _Rule:
        refused: set[bytes] = set()
        rule = self._tree.find(host, method, path, refused)
        if rule is None:
            if refused:
                raise MethodNotAllowed(", ".join(sorted(name.decode() for name in refused)))
            raise NotFound("Not found")
        return rule if self._guard is None else self._guard.hold(rule, host, method, path)

    def _of_opaque(self, method: bytes, path: str, host: str) -> _Rule:
        rule = self._tree.find(host, method, path, set())
        if rule is None or not rule.path.opaque:
            raise refusal_of(path)
        for reading in (path, *readings(path)):
            if self._is_of_another(rule, method, reading, host):
                raise refusal_of(path)
        return rule

    def _is_of_another(self, rule: _Rule, method: bytes, path: str, host: str) -> bool:
        """Return whether a path belongs to what is neither `rule` nor wider than it."""
        try:
            if self._of_hosted(method, path) is not None:
                return True
        except GatewayFault:
            return True
        found = self._tree.find(host, method, path, set())
        spelt = [] if self._guard is None else self._guard.spelt(host, method, path)
        others = spelt if found is None else [found, *spelt]
        return any(compare(other.path, rule.path) not in _AROUND for other in others)

    def _of_hosted(self, method: bytes, path: str) -> Route | None:
        fixed, routes = path, self.hosted.get(path.lower())
        if routes is None:
            fixed, _, last = path.rpartition("/")
            routes = self.hosted.get(fixed.lower() + "/{id}") if last else None
            if routes is None:
                return None
        # Another case of a hosted path: gateway and upstream might read it differently.
        if fixed != fixed.lower():
            raise NotFound("Not found")
        allowed: set[bytes] = set()
        for route in routes:
            if route.methods is None or method in route.methods:
                return route
            allowed |= route.methods
        raise MethodNotAllowed(", ".join(sorted(name.decode() for name in allowed)))

    @staticmethod
    def _given(route: Route | None) -> Route:
        if route is None:
            raise NotFound("Not found")
        return route
