"""Builder of the route table: the routes that the gateway hosts, and those that it forwards."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from authcore.authorize import AUTHENTICATED, PUBLIC, Requirement
from authcore.principal import FOUNDING, AuthMethod
from config.route_file import read_plan
from config.routes import DEFAULT_UPSTREAM
from gateway.assembly.route_compiler import planned_rules, preflights_of, refuse_hosted
from gateway.endpoints.api_keys import COLLECTION, PERMISSIONS
from gateway.endpoints.auth import OPEN_PATHS, TOKEN_PATHS
from gateway.endpoints.invitations import COLLECTION as INVITATIONS
from gateway.endpoints.invitations import PERMISSIONS as INVITATION_PERMISSIONS
from gateway.endpoints.key_set import PATH as KEY_SET_PATH
from gateway.endpoints.openapi import PATHS as DESCRIPTION_PATHS
from gateway.endpoints.password import OF_WHATOMATE as ME_PASSWORD_PATH
from gateway.endpoints.password import PATH as PASSWORD_PATH
from gateway.endpoints.sessions import METHODS as SESSION_METHODS
from gateway.endpoints.tickets import PATH as WS_TOKEN_PATH
from gateway.metrics import Metrics
from gateway.proxy.cors import build_policy
from gateway.proxy.routes import Pattern, Route, RouteTable, of_method

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from config.route_file import RoutePlan
    from config.settings import Settings
    from gateway.proxy.upstreams import Upstream

TICKET_PATH = "/ws"
"""The only path whose query may hold a token, unless the path is made public."""


def build_routes(
    settings: Settings,
    metrics: Metrics,
    upstreams: Mapping[str, Upstream],
    hosted: Upstream,
    plan: RoutePlan | None,
) -> RouteTable:
    """Build the table: the hosted routes, and the plan's routes; without a plan, those of the path settings.

    Raises:
        RoutesRefused: the route file has a route for a hosted path.
    """
    ours = _hosted_routes(settings, metrics, hosted)
    preflight = None
    if DEFAULT_UPSTREAM in upstreams:
        # A preflight is forwarded only if no CORS policy answers it.
        preflight = replace(_forwarded(settings, metrics, upstreams, "preflight", PUBLIC), cors=None)
    if plan is None:
        # Without endings: /api.html and /ws.js may be pages that are meant to be public.
        return RouteTable(ours, _rules_of_settings(settings, metrics, upstreams), preflight, endings=False)
    refuse_hosted(plan, ours)
    rules = planned_rules(plan, settings, metrics, upstreams)
    return RouteTable(ours, rules, preflight, preflights_of(rules, metrics))


def check_routes(settings: Settings) -> RoutePlan | None:
    """Read the plan and check it as :func:`build_routes` does, without building anything.

    Raises:
        RoutesRefused: the plan cannot be used.
    """
    plan = read_plan(settings)
    if plan is not None:
        refuse_hosted(plan, _hosted_routes(settings, Metrics(), cast("Upstream", None)))
    return plan


def _forwarded(
    settings: Settings,
    metrics: Metrics,
    upstreams: Mapping[str, Upstream],
    name: str,
    requirement: Requirement,
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
    )


def _rules_of_settings(
    settings: Settings, metrics: Metrics, upstreams: Mapping[str, Upstream]
) -> list[tuple[Pattern, Route]]:
    public = _forwarded(settings, metrics, upstreams, "public", PUBLIC)
    protected = _forwarded(settings, metrics, upstreams, "protected", AUTHENTICATED)
    rules = [(Pattern.parse(text), public) for text in settings.public_paths]
    rules += [(_guarded(Pattern.parse(text)), protected) for text in settings.protected_paths]
    if TICKET_PATH not in settings.public_paths:
        socket_route = replace(
            _forwarded(settings, metrics, upstreams, "ws", AUTHENTICATED),
            tickets=True,
            message=True,
            unproven=settings.ws.auth == "message",
        )
        rules.append((Pattern.parse(TICKET_PATH), socket_route))
    return rules


def _guarded(pattern: Pattern) -> Pattern:
    """Return the pattern of a protected path; one of everything below holds other spellings of it, too."""
    return replace(pattern, prefix=pattern.path.below and pattern.path.segments != ())


def _hosted_routes(
    settings: Settings, metrics: Metrics, hosted: Upstream
) -> dict[str, Route | Sequence[Route]]:
    limit = settings.limit
    cors = build_policy(settings.cors)

    def here(path: str, requirement: Requirement) -> Route:
        name = path.removeprefix("/api/").replace("/", "-")
        return Route(
            name,
            requirement,
            hosted,
            metrics.route(name),
            methods=frozenset({b"POST"}),
            body_limit=limit.auth_body_bytes,
            internal=True,
            own_organization_only=True,
            cors=cors,
        )

    by_token = Requirement(methods=FOUNDING)
    ours: dict[str, Route | Sequence[Route]] = {
        path: replace(here(path, PUBLIC), cookies=settings.cookies) for path in OPEN_PATHS
    }
    ours |= {path: here(path, by_token) for path in TOKEN_PATHS}
    own = here("/api/auth/sessions", by_token)
    ours |= {path: replace(own, methods=of_method(method)) for path, method in SESSION_METHODS.items()}
    for path in (PASSWORD_PATH, *([ME_PASSWORD_PATH] if settings.password.hosted else ())):
        ours[path] = replace(here(path, by_token), methods=of_method("PUT"))
    ours |= _by_permission(here(INVITATIONS, AUTHENTICATED), INVITATION_PERMISSIONS, FOUNDING)
    # It acts for the organization that the caller asks for: a browser's socket cannot ask for one by a header.
    ours[WS_TOKEN_PATH] = replace(
        here(WS_TOKEN_PATH, by_token), methods=frozenset({b"GET"}), own_organization_only=False
    )
    ours |= {path: replace(here(path, PUBLIC), methods=of_method("GET")) for path in DESCRIPTION_PATHS}
    ours[KEY_SET_PATH] = replace(here(KEY_SET_PATH, PUBLIC), name="jwks", methods=of_method("GET"))
    if settings.keys.hosted:
        minting = FOUNDING | {AuthMethod.API_KEY} if settings.keys.mint_keys else FOUNDING
        ours |= _by_permission(here(COLLECTION, AUTHENTICATED), PERMISSIONS, minting)
    return ours


def _by_permission(
    route: Route, permissions: Mapping[str, Mapping[str, str]], founding: frozenset[AuthMethod]
) -> dict[str, Route | Sequence[Route]]:
    """Return the routes of `permissions` (path -> method -> permission), each like `route`.

    What lives on is made by POST, and by the `founding` ways of authenticating alone (docs/founding.md).
    They are not bound to the credential's organization: the caller may ask for another one, as on forwarded routes.
    """
    return {
        path: [
            replace(
                route,
                requirement=Requirement(
                    all_of=frozenset({permission}), methods=founding if method == "POST" else None
                ),
                methods=of_method(method),
                own_organization_only=False,
            )
            for method, permission in methods.items()
        ]
        for path, methods in permissions.items()
    }
