"""Warnings about a route plan: what loads, and is perhaps not what was meant.

A mistake that no plan may have is a problem of ``config.route_file`` instead, and keeps the plan from loading.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from authcore.permissions import ALL
from config.routes import DEFAULT_UPSTREAM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.route_file import RoutePlan
    from config.settings import Settings


def plan_warnings(plan: RoutePlan, settings: Settings) -> Iterator[str]:
    """Yield each warning as a line that says what is odd and what to do."""
    yield from _unknown_permissions(plan)
    yield from _unreached_upstreams(plan, settings)


def _unknown_permissions(plan: RoutePlan) -> Iterator[str]:
    """A permission that Whatomate does not have is a slip, unless the installation added it."""
    for planned in plan.routes:
        for permission in [*(planned.entry.require or ()), *(planned.entry.any or ())]:
            if permission not in ALL:
                yield (
                    f"{planned.origin}: route {planned.entry.name}: {permission} is none of Whatomate's permissions; "
                    "unless this installation has it, super admins alone may"
                )


def _unreached_upstreams(plan: RoutePlan, settings: Settings) -> Iterator[str]:
    """An upstream that no route leads to is off the air: with a plan, a path that no route matches is 404."""
    reached = {planned.entry.upstream for planned in plan.routes}
    if settings.upstream.url and DEFAULT_UPSTREAM not in reached:
        yield (
            "no route leads to GATEWAY_UPSTREAM_URL: its paths are 404, for only what a route matches is forwarded; "
            "set GATEWAY_PRESET=whatomate if it is Whatomate, or add a last route: "
            "{name: rest, match: {path: /*}, auth: required}"
        )
    for name in plan.upstreams:
        if name not in reached:
            yield f"no route leads to the upstream {name}; give a route `upstream: {name}`, or leave the upstream out"
