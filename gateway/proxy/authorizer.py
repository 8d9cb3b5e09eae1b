"""Authorizer: it runs the phases of the pipeline from the matched route to the permit.

::

    route       = match(target)                  404 405
    limit(network)                               429
    credential  = read_credential(headers)       400 401
    principal   = await authenticate(credential) 401, store unreachable 503
    permit      = authorize(principal, route)    403
    limit(caller)                                429

Laws:

- One code decides on forwarded requests, on those that other proxies describe, and on those that an operator explains.
- Only ``authorize`` makes a permit, and nothing is forwarded without one (:mod:`gateway.proxy.upstream_start`). Results
  that follow from the same caller, route and field lines are computed once (:mod:`gateway.proxy.memo`); the caller is
  authenticated every time.
- On a route in shadow a refusal of the caller, and an outage of the store, are recorded, and the request is forwarded:
  with the identity that was proved, or with none. Other errors (no route, a malformed request, an internal error) deny
  as everywhere.
- Nothing here reads a body, writes to a connection or knows one.
- The coroutine is driven by hand (:mod:`gateway.wire.drive`); while the caller is cached, it never waits.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from authcore.authorize import OPTIONAL, authorize, permit_in_shadow
from authcore.credentials import BearerToken, CookieTwins, SocketToken, Ticket
from authcore.errors import AuthError, CredentialMalformed, CredentialMissing, PermissionDenied, TokenRejected
from authcore.principal import ANONYMOUS
from gateway.faults import CsrfRefused, OriginRefused
from gateway.proxy.credentials import KINDS, is_token, read_ticket
from gateway.proxy.duplicate_cookies import DuplicateCookies
from gateway.proxy.limiting import enter, settle
from gateway.proxy.matching import host_of
from gateway.proxy.memo import CredentialMemo, PermitMemo
from gateway.proxy.parsed_headers import ParsedHeaders
from gateway.proxy.unproven import is_same, is_unproven
from gateway.wire.drive import offload

if TYPE_CHECKING:
    from authcore.identity.authenticator import Authenticator
    from authcore.permit import Permit
    from authcore.principal import Principal
    from authcore.store.clock import DatabaseClock
    from gateway.metrics import Metrics
    from gateway.proxy.browsers import BrowserPolicy
    from gateway.proxy.decision_context import DecisionContext
    from gateway.proxy.forwarded import Origins
    from gateway.proxy.headers import HeaderPolicy
    from gateway.proxy.routes import Route, RouteTable
    from gateway.proxy.target import Target
    from gateway.wire.messages import RequestHead

FORWARDED_IN_SHADOW: Final = (AuthError, CsrfRefused, OriginRefused)
"""Errors in spite of which a route in shadow forwards: refusals of the caller, and outages of what decides."""


class Authorizer:
    """Authorizer of requests, each described by its decision context.

    Attributes:
        routes: The current route table.
    """

    def __init__(  # noqa: PLR0913 -- the collaborators of the phases, each used by one
        self,
        *,
        routes: RouteTable,
        authenticator: Authenticator,
        header_policy: HeaderPolicy,
        origins: Origins,
        metrics: Metrics,
        clock: DatabaseClock,
        browsers: BrowserPolicy | None,
        spends: bool,
    ) -> None:
        """`browsers` is the policy of requests that cookies authenticate; None if cookies are off.

        Unless it `spends`, nothing is used up: limits count nothing and refuse nothing, and tickets stay good.
        """
        self._spends = spends
        self._clock, self._steady = clock, clock.steady
        self.routes = routes
        self._authenticator = authenticator
        self._header_policy = header_policy
        self._origins = origins
        self._verdicts = metrics.verdicts
        self._browsers = browsers

    def read(self, context: DecisionContext, peer: str, secured: bytes | None = None) -> ParsedHeaders:
        """Parse the field lines, as sent by `peer`. This is the first phase; ``parse_target`` is the next.

        `secured` has the field lines about the client certificate of a TLS connection; it is None without TLS.
        """
        head = context.head
        parsed = head.notes
        if not isinstance(parsed, ParsedHeaders):  # these lines have not been parsed before
            origin = self._origins.read(head, peer, secured)
            parsed = head.notes = ParsedHeaders(head, origin, self._header_policy)
        context.parsed = parsed
        if parsed.origin.request_id is not None:
            context.request_id = parsed.origin.request_id
        return parsed

    async def decide(self, context: DecisionContext) -> tuple[Route, Permit]:
        """Return the route and the permit of a request whose field lines and target are parsed.

        A request that has a route already keeps it: it has waited, and there may be another table by now.

        Raises:
            GatewayFault: there is no route, the request contradicts itself, or a limit refuses it.
            AuthError: the caller is not known or may not do this, or the store does not answer.
        """
        parsed, target, route = context.parsed, context.target, context.route
        if parsed is None or target is None:
            raise RuntimeError("decide before read")
        if route is None:
            context.route = route = self._match(context.head, parsed, target)
        if route.limits is not None and self._spends and context.hold is None:
            enter(context, route.limits, parsed)
        if route.requirement.public:
            return route, self._open_to_all(context, parsed, route)
        proven = ANONYMOUS
        try:
            principal = self._known(context, parsed, target, route)
            if principal is None:
                principal = await self._authenticate(context, parsed, target, route)
            if self._browsers is not None:
                self._browsers.check(context, parsed, principal, route)
            context.principal = proven = principal
            permit = self._authorize(context, parsed, principal, route)
        except FORWARDED_IN_SHADOW as refusal:
            if not route.shadow:
                raise
            context.shadowed = refusal
            permit = permit_in_shadow(proven, refusal)
        context.permit = permit
        if context.hold is not None and not (route.unproven and proven is ANONYMOUS):
            settle(context, context.hold, proven, time.monotonic())
        return route, permit

    def _match(self, head: RequestHead, parsed: ParsedHeaders, target: Target) -> Route:
        """Return the route of a request, or for a CORS preflight that of the request that it asks about."""
        routes, method = self.routes, head.method
        preflight = parsed.preflight and method == b"OPTIONS"
        if preflight:
            method = head.first[b"access-control-request-method"]
        host = host_of(head.first.get(b"host", b"")) if routes.by_host else ""
        return routes.match(method, target.path, host, preflight=preflight)

    def _open_to_all(self, context: DecisionContext, parsed: ParsedHeaders, route: Route) -> Permit:
        """Return the permit of a request for a public route."""
        if self._browsers is not None:
            self._browsers.check(context, parsed, ANONYMOUS, route)
        context.permit = permit = self._rule(parsed, ANONYMOUS, route)
        if context.hold is not None:
            settle(context, context.hold, ANONYMOUS, context.started)
        return permit

    def _known(
        self, context: DecisionContext, parsed: ParsedHeaders, target: Target, route: Route
    ) -> Principal | None:
        """Return the cached principal; None if the cache has none, or has a refusal."""
        try:
            key, clock = self._presented(context, parsed, target, route).key, self._clock
            # As `now` does, without interpreted code.
            now = self._steady() + clock.epoch if clock.measured else clock.now()
            return None if key is None else self._authenticator.recall(key, now)
        except Exception:  # noqa: BLE001 -- raised again, and counted, by _authenticate
            return None

    async def _authenticate(
        self, context: DecisionContext, parsed: ParsedHeaders, target: Target, route: Route
    ) -> Principal:
        """Authenticate the caller, with the store if needed."""
        context.waited = True
        try:
            memo = self._presented(context, parsed, target, route)
            credential, organization, now = memo.credential, memo.organization, self._clock.now()
            if isinstance(credential, CookieTwins):
                twins = DuplicateCookies(self._authenticator, self._browsers, credential)
                return await offload(twins.tell_apart(context, parsed, organization, now))
            if isinstance(credential, BearerToken) and not is_token(credential.secret):
                context.credential = "none"  # it is no credential of any kind
                raise CredentialMalformed
            where = parsed.origin.client
            return await offload(
                self._authenticator.authenticate(credential, organization, now, where, spends=self._spends)
            )
        except AuthError as error:
            if route.requirement.optional and isinstance(error, CredentialMissing):
                return ANONYMOUS
            if route.unproven and is_unproven(context, error):
                return ANONYMOUS
            self._verdicts.record(context.credential, error.reason)
            raise

    def _presented(
        self, context: DecisionContext, parsed: ParsedHeaders, target: Target, route: Route
    ) -> CredentialMemo:
        """Return the credential that counts on this route, and the organization asked for."""
        context.credential = "none"  # until a credential of some kind is found
        if route.tickets:
            ticket = read_ticket(context.head, target.forwarded.partition(b"?")[2])
            if ticket is not None:
                context.credential = kind = KINDS[Ticket]
                opens = route.message and context.head.upgrade
                return CredentialMemo(SocketToken(ticket.secret) if opens else ticket, None, kind, None)
        memo = parsed.credential_memo
        if memo is None or not memo.counts_on(route):
            credential = parsed.credential(context.head)
            context.credential = kind = KINDS[type(credential)]
            organization = None if route.own_organization_only else parsed.organization(context.head)
            key = self._authenticator.key_of(credential, organization)
            memo = CredentialMemo(
                credential, organization, kind, key, own_organization_only=route.own_organization_only
            )
            parsed.credential_memo = memo
        context.credential = memo.kind
        return memo

    def _authorize(
        self, context: DecisionContext, parsed: ParsedHeaders, principal: Principal, route: Route
    ) -> Permit:
        """Hold the caller against the route's requirement, and count the verdict."""
        try:
            permit = self._rule(parsed, principal, route)
        except PermissionDenied as error:
            self._verdicts.record(context.credential, error.reason)
            raise
        if principal is not ANONYMOUS:
            self._verdicts.record(context.credential, "stale" if principal.is_stale else "ok")
        return permit

    @staticmethod
    def _rule(parsed: ParsedHeaders, principal: Principal, route: Route) -> Permit:
        """Authorize, unless this principal was authorized for this route with these field lines before."""
        memo = parsed.permit_memo
        if memo is None or not memo.is_about(principal, route):
            # Only a socket comes here anonymously: this permit is for its handshake, and not for its messages.
            nobody = principal is ANONYMOUS and route.unproven
            permit = authorize(principal, OPTIONAL if nobody else route.requirement)
            memo = parsed.permit_memo = PermitMemo(principal, route, permit)
        return memo.permit

    async def admit(self, context: DecisionContext, token: bytes) -> Permit:
        """Return the permit of a socket whose first message contained `token`, for a request that has a permit already.

        Raises:
            AuthError: the token opens no socket here, or its principal is another than the handshake's; or the store
                does not answer.
            LimitExceeded: the caller has used up a limit of the route.
        """
        parsed, route, proven = context.parsed, context.route, context.principal
        if parsed is None or route is None or proven is None:
            raise RuntimeError("admit before decide")
        context.credential = kind = KINDS[SocketToken]
        try:
            now = self._clock.now()
            principal = await offload(self._authenticator.authenticate(SocketToken(token), None, now))
            if proven is not ANONYMOUS and not is_same(proven, principal):
                raise TokenRejected
        except AuthError as error:
            self._verdicts.record(kind, error.reason)
            raise
        permit = self._authorize(context, parsed, principal, route)
        if context.hold is not None:
            settle(context, context.hold, principal, time.monotonic())
        return permit
