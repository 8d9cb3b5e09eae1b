"""Warnings about a route plan: what loads, and is perhaps not what was meant.

A mistake that no plan may have is a problem of :mod:`config.route_file` instead, and keeps the plan from loading.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from authcore.authorize import asks_at_least
from authcore.permissions import ALL
from config.former_names import FORMER
from config.health_checks import health_doubts
from config.limit_checks import planned_limit_doubts
from config.overlaps import ClaimIndex
from config.patterns import Relation, compare
from config.route_plan import DEFAULT_UPSTREAM, HOSTED_UPSTREAM
from config.traffic_checks import balance_doubts
from gateway.assembly.delivery_warnings import delivery_warnings
from gateway.assembly.route_compiler import requirement_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.overlaps import MatchClaim
    from config.route_plan import PlannedRoute, RoutePlan
    from config.settings import Settings


_ROLES_WRITE: Final = "roles:write"
"""A user with this permission can give themselves any other, so a route that requires it, such as a preset's
``unlisted``, gives nothing away."""


def plan_warnings(plan: RoutePlan, settings: Settings) -> Iterator[str]:
    """Yield each warning as a line that says what is odd and what to do."""
    yield from _former_names(plan)
    yield from _names_of_upstreams(plan, settings)
    yield from _unknown_permissions(plan)
    yield from _unreached_upstreams(plan, settings)
    yield from health_doubts(plan, settings)
    yield from _other_spellings(plan)
    yield from delivery_warnings(plan, settings)
    yield from balance_doubts(plan, settings)
    yield from planned_limit_doubts(plan, settings)


def _former_names(plan: RoutePlan) -> Iterator[str]:
    for origin in plan.former:
        yield f"{origin}: `{FORMER}` is called `{DEFAULT_UPSTREAM}` now, as in log and metrics; write that"


def _names_of_upstreams(plan: RoutePlan, settings: Settings) -> Iterator[str]:
    """An upstream whose name is taken: by the service of the settings, or by the gateway's own application."""
    own, url = plan.upstreams.get(DEFAULT_UPSTREAM), settings.upstream.url
    if own is not None and url is not None and url not in own.urls:
        yield (
            f"upstream `{DEFAULT_UPSTREAM}` of the route file takes the place of GATEWAY_UPSTREAM_URL, which has no "
            "effect; leave one of them out, or call the upstream otherwise"
        )
    if HOSTED_UPSTREAM in plan.upstreams:
        yield (
            f"upstream `{HOSTED_UPSTREAM}`: log and metrics call the gateway's own application so, and would mix "
            "them up; call it otherwise"
        )


def _unknown_permissions(plan: RoutePlan) -> Iterator[str]:
    """A permission that Whatomate does not have is a slip, unless the installation added it."""
    for planned in plan.routes:
        for permission in [*(planned.entry.require or ()), *(planned.entry.any or ())]:
            if permission not in ALL:
                yield (
                    f"{planned.origin}: route {planned.entry.name}: {permission} is none of Whatomate's permissions; "
                    "unless this installation has it, super admins alone may"
                )


def off_the_air(plan: RoutePlan, settings: Settings) -> Iterator[str]:
    """Yield a line if no route leads to GATEWAY_UPSTREAM_URL, which is then set in vain."""
    if settings.upstream.url and DEFAULT_UPSTREAM not in _reached(plan):
        yield (
            "no route leads to GATEWAY_UPSTREAM_URL: its paths are 404, for only what a route matches is forwarded; "
            "set GATEWAY_PRESET=whatomate if it is Whatomate, or add a last route: "
            "{name: rest, match: {path: /*}, auth: required}; or leave GATEWAY_UPSTREAM_URL out"
        )


def _reached(plan: RoutePlan) -> set[str]:
    reached = {planned.entry.upstream for planned in plan.routes}
    return reached | {other for entry in plan.upstreams.values() for other in entry.failover or ()}


def _unreached_upstreams(plan: RoutePlan, settings: Settings) -> Iterator[str]:
    """An upstream that no route leads to is off the air: with a plan, a path that no route matches is 404."""
    reached = _reached(plan)
    yield from off_the_air(plan, settings)
    for name in plan.upstreams:
        if name not in reached:
            yield f"no route leads to the upstream {name}; give a route `upstream: {name}`, or leave the upstream out"


def _other_spellings(plan: RoutePlan) -> Iterator[str]:
    """A path above a weaker wildcard leaves it every spelling but its own. A preset knows its server."""
    claims = [list(planned.claims(owner)) for owner, planned in enumerate(plan.routes)]
    index = ClaimIndex([claim for some in claims for claim in some])
    for planned, some in zip(plan.routes, claims, strict=True):
        if not planned.layer or planned.allows_anonymous:
            continue
        for case, claim in zip(planned.cases, some, strict=True):
            weaker = None if case.prefix else _weaker(plan, planned, list(index.wider(claim)))
            if weaker is not None:
                path = "/" + str(replace(case.path, opaque=False)).strip("/").removesuffix("/*")
                quoted = f'"{path}"' if "{" in path else path
                yield (
                    f"{planned.origin}: route {planned.entry.name}: other spellings of {path}, such as {path}/, "
                    f"{path}. or {path}.json, fall to route {weaker.entry.name}, {weaker.origin}, which asks for less; "
                    f"write match: {{prefix: {quoted}}}"
                )
                break


def _weaker(plan: RoutePlan, planned: PlannedRoute, wider: list[MatchClaim]) -> PlannedRoute | None:
    """Return the route of the same upstream that would take another spelling, if it asks for less than `planned`."""
    for pool in (wider, [claim for claim in wider if claim.path.below]):
        nearest = None
        for claim in pool:
            if nearest is None or compare(claim.path, nearest.path) is Relation.NARROWER:
                nearest = claim
        if nearest is not None:
            other = plan.routes[nearest.owner]
            asks_as_much = _ROLES_WRITE in (other.entry.require or ()) or asks_at_least(
                requirement_of(other.entry), requirement_of(planned.entry)
            )
            if other.entry.upstream == planned.entry.upstream and not asks_as_much:
                return other
    return None
