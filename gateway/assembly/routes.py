"""Builder of the route table: the routes that the gateway hosts, and those that it forwards."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from authcore.authorize import AUTHENTICATED, PUBLIC, Requirement
from config.route_plan import DEFAULT_UPSTREAM, read_plan
from gateway.assembly.route_compiler import planned_rules, preflights_of, refuse_hosted
from gateway.endpoints.hosted import hosted_endpoints
from gateway.proxy.cors import build_policy
from gateway.proxy.routes import Pattern, Route, RouteTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from config.route_plan import RoutePlan
    from config.settings import Settings
    from gateway.assembly.limits import PlannedLimits
    from gateway.endpoints.endpoint import Endpoint
    from gateway.limits.limit import RouteLimits
    from gateway.metrics import Metrics
    from gateway.proxy.upstreams import Upstream

TICKET_PATH: Final = "/ws"
"""The only path whose query may hold a token, unless the path is made public."""

SSO_REST: Final = "auth-sso-rest"
"""Route of what is below ``/api/auth/sso`` and is no endpoint, where single sign-on is hosted."""
_ABOVE_ALL: Final = 1 << 30


def build_routes(  # noqa: PLR0913, PLR0917 -- what a table is made of
    settings: Settings,
    metrics: Metrics,
    upstreams: Mapping[str, Upstream],
    hosted: Upstream,
    plan: RoutePlan | None,
    limits: PlannedLimits,
) -> RouteTable:
    """Build the table: the hosted routes, and the plan's routes; without a plan, those of the path settings.

    Raises:
        RoutesRefused: the route file has a route for a hosted path.
    """
    ours = _hosted_routes(settings, metrics, hosted, limits)
    closed = _closed(settings, metrics, hosted, limits)
    preflight = None
    if DEFAULT_UPSTREAM in upstreams:
        # A preflight is forwarded only if no CORS policy answers it.
        forwarded = _forwarded(settings, metrics, upstreams, "preflight", PUBLIC, None)
        of_all = limits.of_route("preflight", public=False)
        preflight = replace(forwarded, cors=None, limits=None if of_all is None else of_all.of_preflights())
    if plan is None:
        # Without endings: /api.html and /ws.js may be pages that are meant to be public.
        rules = _rules_of_settings(settings, metrics, upstreams, limits) + closed
        return RouteTable(ours, rules, preflight, endings=False)
    refuse_hosted(plan, ours)
    rules = planned_rules(plan, settings, metrics, upstreams, limits) + closed
    return RouteTable(ours, rules, preflight, preflights_of(rules, metrics))


def check_routes(settings: Settings) -> RoutePlan | None:
    """Read the plan and check it as :func:`build_routes` does, without building anything.

    Raises:
        RoutesRefused: the plan cannot be used.
    """
    plan = read_plan(settings)
    if plan is not None:
        refuse_hosted(plan, (endpoint.path for endpoint in hosted_endpoints(settings)))
    return plan


def _forwarded(  # noqa: PLR0913, PLR0917 -- what a route is made of
    settings: Settings,
    metrics: Metrics,
    upstreams: Mapping[str, Upstream],
    name: str,
    requirement: Requirement,
    limits: RouteLimits | None,
) -> Route:
    return Route(
        name,
        requirement,
        upstreams[DEFAULT_UPSTREAM],
        metrics.route(name),
        body_limit=settings.limit.body_bytes,
        shadow=settings.shadow and not requirement.public,
        cors=build_policy(settings.cors),
        withheld=upstreams[DEFAULT_UPSTREAM].withheld,
        limits=limits,
    )


def _closed(
    settings: Settings, metrics: Metrics, hosted: Upstream, limits: PlannedLimits
) -> list[tuple[Pattern, Route]]:
    """Return the rule by which nothing of single sign-on is forwarded where it is hosted.

    Whatomate has no part in it then: its own rules on who is who are weaker. The hosted application answers 404.
    """
    if settings.sso != "hosted":
        return []
    route = Route(
        SSO_REST,
        PUBLIC,
        hosted,
        metrics.route(SSO_REST),
        body_limit=settings.limit.auth_body_bytes,
        internal=True,
        cors=build_policy(settings.cors),
        limits=limits.of_hosted(SSO_REST, public=True),
    )
    return [(replace(Pattern.parse("/api/auth/sso/*"), layer=_ABOVE_ALL), route)]


def _rules_of_settings(
    settings: Settings, metrics: Metrics, upstreams: Mapping[str, Upstream], limits: PlannedLimits
) -> list[tuple[Pattern, Route]]:
    def forwarded(name: str, requirement: Requirement) -> Route:
        limited = limits.of_route(name, public=requirement.public, shadow=settings.shadow)
        return _forwarded(settings, metrics, upstreams, name, requirement, limited)

    public, protected = forwarded("public", PUBLIC), forwarded("protected", AUTHENTICATED)
    rules = [(Pattern.parse(text), public) for text in settings.public_paths]
    rules += [(_guarded(Pattern.parse(text)), protected) for text in settings.protected_paths]
    if TICKET_PATH not in settings.public_paths:
        socket_route = replace(
            forwarded("ws", AUTHENTICATED),
            tickets=True,
            message=True,
            unproven=settings.ws.auth == "message",
        )
        rules.append((Pattern.parse(TICKET_PATH), socket_route))
    return rules


def _guarded(pattern: Pattern) -> Pattern:
    """Return the pattern of a protected path; one of everything below holds other spellings of it, too."""
    return replace(pattern, prefix=pattern.path.below and pattern.path.segments != ())


def _limits_of(endpoint: Endpoint[Any], limits: PlannedLimits) -> RouteLimits | None:
    if not endpoint.limited:
        return None
    return limits.of_hosted(endpoint.route_name, public=endpoint.access.requirement.public)


def _hosted_routes(
    settings: Settings, metrics: Metrics, hosted: Upstream, limits: PlannedLimits
) -> dict[str, list[Route]]:
    """Return the routes of the hosted endpoints, by path."""
    cors = build_policy(settings.cors)
    ours: dict[str, list[Route]] = {}
    for endpoint in hosted_endpoints(settings):
        route = Route(
            endpoint.route_name,
            endpoint.access.requirement,
            hosted,
            metrics.route(endpoint.route_name),
            methods=frozenset(method.encode() for method in endpoint.methods),
            body_limit=settings.limit.auth_body_bytes,
            internal=True,
            own_organization_only=endpoint.organization == "own",
            cookies=settings.cookies and endpoint.cookies,
            cors=cors,
            limits=_limits_of(endpoint, limits),
        )
        ours.setdefault(endpoint.path, []).append(route)
    return ours
