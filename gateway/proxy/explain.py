"""Explainer: a dry run that reports what would happen to a request.

Laws:

- The phases are the :class:`~gateway.proxy.authorizer.Authorizer`'s own. To ask in the name of a user, an access token
  is made for them, as by signing in: there is no second way to act as a user.
- Nothing is sent or used up, and no credential is revealed: neither those in the question, in a header or the query,
  nor the token that was made. A value that a route sets or adds may be a service's secret, and is not revealed either.
- An explained request counts in none of the gateway's metrics.
"""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from authcore.errors import AuthError, PermissionDenied
from authcore.identity_headers import in_words
from authcore.principal import ANONYMOUS
from gateway.faults import BadRequest, GatewayFault
from gateway.limits.explained import explained
from gateway.proxy.decision_context import DecisionContext
from gateway.proxy.explained_delivery import balance_of, policy_of
from gateway.proxy.max_forwards import asks_gateway
from gateway.proxy.preflights import grant_preflight
from gateway.proxy.refusals import refuse
from gateway.proxy.target import parse_target
from gateway.wire.drive import attend
from gateway.wire.framing import HOST, check_request, connection_tokens, is_declined
from gateway.wire.messages import ProtocolError, RequestHead

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from authcore.principal import Principal
    from authcore.tokens.issuer import Tokens
    from gateway.proxy.authorizer import Authorizer
    from gateway.proxy.cors import CorsPolicy
    from gateway.proxy.routes import Route
    from gateway.proxy.upstream_start import UpstreamStart

PEER: Final = "192.0.2.1"
"""Peer of an explained request that names none, for the trust in proxies: an address that nobody has (RFC 5737)."""

REDACTED: Final = "(redacted)"
_SECRET: Final = frozenset({"authorization", "x-api-key", "cookie"})
_TOKEN: Final = re.compile(r"((?:^|&)(?:t|%74)(?:o|%6f)(?:k|%6b)(?:e|%65)(?:n|%6e)=)[^&]*", re.IGNORECASE)
"""Parameter of a query that may hold a ticket, in any spelling."""
_METHOD: Final = re.compile(r"[A-Z][A-Z-]{0,31}")
_TARGET: Final = re.compile(r"[\x21-\x7e]{1,8192}")
_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}")
_VALUE: Final = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]{0,65536}")


@dataclass(frozen=True, slots=True)
class Asked:
    """Request to explain.

    Attributes:
        method: The request's method.
        target: Its path and query.
        host: Its Host.
        headers: Its other field lines.
        client: The address that it comes from, for the limits by network.
        person: The user and the organization in whose name it is asked; None for what the headers prove.
    """

    method: str
    target: str
    host: str = "localhost"
    headers: tuple[tuple[str, str], ...] = ()
    person: tuple[UUID, UUID] | None = None
    client: str = PEER


class Explainer:
    """Explainer of requests under the current routes."""

    def __init__(
        self,
        authorizer: Callable[[], Authorizer],
        upstream_start: UpstreamStart,
        tokens: Tokens,
        *,
        signed: str,
        cors: CorsPolicy | None,
    ) -> None:
        """`authorizer` returns one with the current routes; `signed` names a further field whose value is secret.

        `cors` is the CORS policy of what matches no route.
        """
        self._cors = cors
        self._secret = _SECRET | {signed.lower()}
        self._authorizer = authorizer
        self._upstream_start = upstream_start
        self._tokens = tokens

    async def explain(self, asked: Asked, now: float) -> dict[str, object]:
        """Return a document that describes what would happen to `asked`.

        Raises:
            BadRequest: it cannot be a request.
        """
        context = DecisionContext(
            self._head(asked, now), secrets.token_hex(16).encode("ascii"), time.monotonic()
        )
        authorizer = self._authorizer()
        explanation: dict[str, object] = {
            "request": {"method": asked.method, "target": _without_tokens(asked.target), "host": asked.host}
        }
        try:
            _frame(context.head)
            authorizer.read(context, asked.client)
            context.target = parse_target(context.head, opaque=authorizer.routes.opaque)
            if asks_gateway(context.head, context.target.path):
                return {**explanation, "verdict": {"allowed": True}, "answered_by_gateway": True}
            if grant_preflight(context, authorizer.routes, self._cors) is not None:
                return {**explanation, "verdict": {"allowed": True}, **_learnt(context), "preflight": True}
            route, permit = await attend(authorizer.decide(context))
            start = self._upstream_start.prepare(context, permit)
        except (AuthError, GatewayFault, ProtocolError) as error:
            fault = refuse(error)
            verdict: dict[str, object] = {
                "allowed": False,
                "status": fault.status,
                "reason": str(fault.reason),
                "message": fault.message,
            }
            return {**explanation, "verdict": verdict | _missing(error), **_learnt(context)}
        verdict = {"allowed": True}
        if context.shadowed is not None:
            fault = refuse(context.shadowed)
            verdict["shadow"] = {
                "status": fault.status,
                "reason": str(fault.reason),
                "message": fault.message,
            } | _missing(context.shadowed)
        return {
            **explanation,
            "verdict": verdict,
            **_learnt(context),
            "upstream": self._sent(route, start, context.head) | {"balance": balance_of(route, context)},
        }

    def _head(self, asked: Asked, now: float) -> RequestHead:
        if not _METHOD.fullmatch(asked.method):
            raise BadRequest("method should be a method, such as GET")
        if not _TARGET.fullmatch(asked.target):
            raise BadRequest(
                "path should be a path with its query, such as /api/users?page=2, percent-encoded"
            )
        if not HOST.fullmatch(asked.host.encode("utf-8", "replace")):
            raise BadRequest("host should be a host, such as app.example.com")
        lines = [("Host", asked.host), *asked.headers]
        for name, value in asked.headers:
            if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value) or name.lower() == "host":
                raise BadRequest("headers should be fields of a request, without Host, which stands apart")
        if asked.person is not None:
            if {"authorization", "x-api-key"} & {name.lower() for name, _ in asked.headers}:
                raise BadRequest("ask in somebody's name or with a credential, not with both")
            user, organization = asked.person
            token = self._tokens.issue_access(
                user_id=user,
                organization_id=organization,
                email="",
                role_id=None,
                is_super_admin=False,
                session_id=None,
                now=now,
            )
            lines.append(("Authorization", f"Bearer {token}"))
        fields = [(name.encode("ascii"), value.strip().encode("utf-8")) for name, value in lines]
        head = RequestHead(fields, method=asked.method.encode(), target=asked.target.encode("ascii"))
        head.index()
        return head

    def _sent(self, route: Route, start: bytes, asked: RequestHead) -> dict[str, object]:
        """Return the request as the upstream would receive it, without credentials and what the route sets."""
        first, *rest = start.decode("utf-8", "replace").removesuffix("\r\n").split("\r\n")
        lines = [(name, value) for name, _, value in (line.partition(": ") for line in rest)]
        secret = self._secret if route.edits is None else self._secret | route.edits.names
        forwarded = {name.lower() for name, _ in lines}
        endpoints = route.upstream.pool.endpoints
        every = [] if endpoints is None else endpoints.every()
        return {
            "name": route.upstream.name,
            "addresses": [endpoint.name for endpoint in every],
            "away": [endpoint.name for endpoint in every if not endpoint.available],
            **policy_of(route.upstream.delivery),
            "target": _without_tokens(first.split(" ")[1]),
            "headers": [[name, REDACTED if name.lower() in secret else value] for name, value in lines],
            "removed": sorted(
                {
                    name.decode("ascii")
                    for name, _ in asked.fields
                    if name.decode("ascii").lower() not in forwarded
                }
            ),
        }


def _frame(head: RequestHead) -> None:
    """Check a head, and find whether it asks for an upgrade, as the parser does with one that has come whole.

    Raises:
        ProtocolError: the request would be refused before it is routed.
    """
    head.upgrade = b"upgrade" in head.first and b"upgrade" in connection_tokens(head)
    if head.upgrade and is_declined(head):
        head.upgrade = False
    check_request(head)


def _without_tokens(target: str) -> str:
    """Return a target without the tokens in its query."""
    path, mark, query = target.partition("?")
    return path + mark + _TOKEN.sub(rf"\g<1>{REDACTED}", query)


def _missing(error: Exception) -> dict[str, object]:
    if isinstance(error, PermissionDenied) and error.missing:
        return {"missing": list(error.missing)}
    if isinstance(error, PermissionDenied) and error.any_of:
        return {"missing_any_of": list(error.any_of)}
    return {}


def _learnt(context: DecisionContext) -> dict[str, object]:
    """Return what the phases that ran have found."""
    explanation: dict[str, object] = {}
    if context.target is not None:
        explanation["path"] = context.target.path
    if context.route is not None:
        explanation["route"] = _route(context.route)
    if context.credential:
        explanation["credential"] = context.credential
    principal = context.principal if context.permit is None else context.permit.principal
    if principal is not None:
        explanation["principal"] = _principal(principal)
    limits = None if context.route is None else context.route.limits
    if limits is not None and context.parsed is not None:
        permitted = None if context.permit is None else context.permit.principal
        client = context.parsed.origin.client
        explanation["limits"] = explained(limits, client, permitted, context.started)
    return explanation


def _route(route: Route) -> dict[str, object]:
    requirement = route.requirement
    explanation: dict[str, object] = {
        "name": route.name,
        "auth": "public" if requirement.public else "optional" if requirement.optional else "required",
        "upstream": route.upstream.name,
        "shadow": route.shadow,
        "identity": in_words(route.withheld),
    }
    if route.unproven:
        explanation["websocket"] = "opened without a credential; the first message brings it"
    if requirement.all_of:
        explanation["require"] = sorted(requirement.all_of)
    if requirement.any_of:
        explanation["any"] = sorted(requirement.any_of)
    if requirement.methods is not None:
        explanation["credentials"] = sorted(requirement.methods)
    return explanation


def _principal(principal: Principal) -> dict[str, object]:
    if principal is ANONYMOUS:
        return {"anonymous": True}
    return {
        "user_id": str(principal.user_id),
        "email": principal.email,
        "organization_id": str(principal.organization_id),
        "role": principal.role,
        "super_admin": principal.is_super_admin,
        "permissions": sorted(principal.permissions),
        "auth_method": str(principal.method),
    }
