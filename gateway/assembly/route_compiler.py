"""Route compiler: it turns the routes of a plan (route file, preset) into the rules of a route table."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from authcore.authorize import AUTHENTICATED, OPTIONAL, PUBLIC, Requirement
from authcore.identity_headers import withheld
from config.patterns import PathPattern
from config.route_plan import RoutesRefused
from gateway.assembly.deliveries import of_route
from gateway.proxy.cors import build_policy
from gateway.proxy.hash_key import parse_hash_key
from gateway.proxy.header_edits import HeaderEdits
from gateway.proxy.rewriting import Rewrite
from gateway.proxy.routes import Pattern, Route, of_method

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from config.route_plan import PlannedRoute, RoutePlan
    from config.routes import RouteEntry
    from config.settings import Settings
    from gateway.assembly.limits import PlannedLimits
    from gateway.limits.limit import RouteLimits
    from gateway.metrics import Metrics
    from gateway.proxy.upstreams import Upstream


def planned_rules(
    plan: RoutePlan,
    settings: Settings,
    metrics: Metrics,
    upstreams: Mapping[str, Upstream],
    limits: PlannedLimits | None = None,
) -> list[tuple[Pattern, Route]]:
    """Return the patterns and routes of a plan; without `limits`, no route has any."""
    cors = build_policy(settings.cors)
    rules = []
    counted = {planned.entry.upstream for planned in plan.routes if planned.entry.retry is not None}
    for planned in plan.routes:
        entry = planned.entry
        upstream = upstreams[entry.upstream]
        delivery = of_route(upstream.terms, entry) or upstream.delivery
        if delivery is None and entry.upstream in counted:
            delivery = upstream.terms  # a share of the active requests needs all of them counted
        route = Route(
            entry.name,
            requirement_of(entry),
            replace(
                upstream,
                head_timeout_seconds=entry.head_timeout_seconds or upstream.head_timeout_seconds,
                body_timeout_seconds=entry.body_timeout_seconds or upstream.body_timeout_seconds,
                delivery=delivery,
                hash_key=upstream.hash_key if entry.hash_by is None else parse_hash_key(entry.hash_by),
            ),
            metrics.route(entry.name),
            body_limit=settings.limit.body_bytes
            if entry.body_limit_bytes is None
            else entry.body_limit_bytes,
            strip_credential=entry.credential == "strip",
            tickets=entry.tickets,
            message=entry.socket_auth == "message",
            unproven=entry.socket_auth == "message" and settings.ws.auth == "message",
            shadow=entry.shadow or (settings.shadow and entry.auth != "public"),
            cors=cors if entry.cors is None else build_policy(entry.cors),
            withheld=upstream.withheld if entry.identity is None else withheld(entry.identity),
            edits=_edits(entry),
            limits=None if limits is None else _limits(entry, settings, limits),
        )
        rules += list(_rules(planned, route))
    return rules


def _edits(entry: RouteEntry) -> HeaderEdits | None:
    put, add = ({}, {}) if entry.headers is None else (entry.headers.put, entry.headers.add)
    return HeaderEdits.of(put, add, entry.strip_prefix)


def _limits(entry: RouteEntry, settings: Settings, limits: PlannedLimits) -> RouteLimits | None:
    shadow = entry.shadow or settings.shadow
    return limits.of_route(
        entry.name, entry.limits, public=entry.auth == "public", cost=entry.cost, shadow=shadow
    )


def _rules(planned: PlannedRoute, route: Route) -> Iterator[tuple[Pattern, Route]]:
    for case in planned.cases:
        rewrite = _rewrite(planned.entry, case.path)
        of_path = route if rewrite is None else replace(route, rewrite=rewrite)
        methods = None if case.methods is None else of_method(*case.methods)
        yield Pattern(case.path, methods, case.host, planned.layer, case.prefix), of_path


def _rewrite(entry: RouteEntry, path: PathPattern) -> Rewrite | None:
    if entry.strip_prefix is not None:
        return Rewrite.without(entry.strip_prefix)
    return None if entry.rewrite is None else Rewrite.template(entry.rewrite, path)


def requirement_of(entry: RouteEntry) -> Requirement:
    """Return the requirement of a route."""
    if entry.auth != "required":
        return PUBLIC if entry.auth == "public" else OPTIONAL
    if entry.require is None and entry.any is None:
        return AUTHENTICATED
    return Requirement(all_of=frozenset(entry.require or ()), any_of=frozenset(entry.any or ()))


def preflights_of(rules: Iterable[tuple[Pattern, Route]], metrics: Metrics) -> dict[Route, Route]:
    """Map each route to its preflight variant: the same upstream, without authentication."""
    meter = metrics.route("preflight")
    return {
        route: replace(
            route,
            name="preflight",
            meter=meter,
            requirement=PUBLIC,
            cors=None,
            shadow=False,
            limits=None if route.limits is None else route.limits.of_preflights(),
        )
        for _, route in rules
    }


def _at_or_around(segments: tuple[str | None, ...]) -> tuple[tuple[str | None, ...], ...]:
    """Return the hosted patterns that would cover a path: the path itself, and the path with any last segment."""
    return segments, (*segments[:-1], None)


def refuse_hosted(plan: RoutePlan, hosted: Iterable[str]) -> None:
    """Refuse a route file with routes for paths that the gateway answers itself: they would have no effect.

    Raises:
        RoutesRefused: the file has such a route.
    """
    ours = {PathPattern.parse(path).folded for path in hosted}
    problems = [
        f"{planned.origin}: route {planned.entry.name}: {case.path} is answered by the gateway itself, "
        "and cannot be routed"
        for planned in plan.routes
        if planned.layer
        for case in planned.cases
        if not case.path.below and not ours.isdisjoint(_at_or_around(case.path.folded))
    ]
    if problems:
        raise RoutesRefused(problems)
