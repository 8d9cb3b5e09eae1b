"""Authorizer: the pipeline phases that turn a request's question into its permit, and the upstream request's start.

::

    route       = match(target)                  404 405
    limit(network)                               429
    credential  = read_credential(headers)       400 401
    principal   = await authenticate(credential) 401, store unreachable 503
    permit      = authorize(principal, route)    403
    limit(caller)                                429
    start       = prepare(question, permit)      500

Laws:

- One code decides for all: for forwarded requests, for those that other proxies describe, and for those that an
  operator asks about.
- Only ``authorize`` makes a permit and only a permit opens ``prepare``: the check cannot be forgotten. Results that
  follow from the same caller, route and field lines are computed once (:mod:`gateway.proxy.memo`); the caller is
  authenticated every time.
- On a route in shadow the verdict is recorded and the request goes on, with the identity that was proven or with none.
  Other refusals than verdicts on the caller (no route, a malformed request, an error of ours) apply as everywhere.
- Nothing here reads a body, writes to a connection or knows one.
- The coroutine is driven by hand (:mod:`gateway.wire.drive`); while the caller is cached, it never waits.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from authcore.authorize import OPTIONAL, authorize, permit_in_shadow
from authcore.credentials import ApiKey, BearerToken, CookieToken, CookieTwins, SocketToken, Ticket
from authcore.errors import AuthError, CredentialMissing, PermissionDenied, TokenRejected
from authcore.principal import ANONYMOUS, AuthMethod
from gateway.faults import CsrfRefused, LoopDetected, MethodNotAllowed, NotFound, OriginRefused
from gateway.limits.hold import Hold
from gateway.limits.keys import CallerKeys
from gateway.proxy.browsers import own_page_line
from gateway.proxy.credentials import read_ticket
from gateway.proxy.matching import host_of
from gateway.proxy.memo import CredentialMemo, PermitMemo, UpstreamHeadersMemo
from gateway.proxy.parsed_headers import ORGANIZATION, ParsedHeaders
from gateway.proxy.twins import Twins
from gateway.proxy.unproven import EXTENSIONS, is_same, is_unproven
from gateway.wire.drive import offload

if TYPE_CHECKING:
    from authcore.identity.authenticator import Authenticator
    from authcore.principal import Permit, Principal
    from authcore.store.clock import DatabaseClock
    from gateway.limits.limit import RouteLimits
    from gateway.metrics import Metrics
    from gateway.proxy.browsers import BrowserPolicy
    from gateway.proxy.decision_context import DecisionContext
    from gateway.proxy.forwarded import Origins
    from gateway.proxy.headers import HeaderPolicy
    from gateway.proxy.routes import Route, RouteTable
    from gateway.proxy.signing import Signing
    from gateway.proxy.target import Target

_KINDS: Final = {
    BearerToken: "jwt",
    CookieToken: "cookie",
    CookieTwins: "cookie",
    ApiKey: "api_key",
    Ticket: "ws",
    SocketToken: "ws",
}

_NONE: Final[frozenset[bytes]] = frozenset()
_COOKIE: Final = AuthMethod.COOKIE  # compiled code finds a member of an enumeration through its metaclass
_WITHHELD: Final = frozenset({ORGANIZATION})
VERDICTS: Final = (AuthError, CsrfRefused, OriginRefused)
"""Verdicts on a caller: a refusal, or the impossibility to decide. Only these refusals are forwarded in shadow."""


class Authorizer:
    """Authorizer: it decides questions.

    Attributes:
        routes: The current route table.
    """

    def __init__(  # noqa: PLR0913 -- the collaborators of the phases, each used by one
        self,
        *,
        routes: RouteTable,
        authenticator: Authenticator,
        laws: HeaderPolicy,
        origins: Origins,
        metrics: Metrics,
        clock: DatabaseClock,
        browsers: BrowserPolicy | None = None,
        signing: Signing | None = None,
        limiting: bool = True,
    ) -> None:
        """`browsers` is the cookie policy and `signing` signs identities; each is None if it is off.

        Unless `limiting`, requests take nothing of limits, and none refuses.
        """
        self._limiting = limiting
        self._signing = signing
        self._clock = clock
        self.routes = routes
        self._authenticator = authenticator
        self._laws = laws
        self._origins = origins
        self._verdicts = metrics.verdicts
        self._browsers = browsers

    def read(self, question: DecisionContext, peer: str, secured: bytes | None = None) -> ParsedHeaders:
        """Parse the field lines, as sent by `peer`. This is the first phase; ``parse_target`` is the next.

        `secured` has the field lines about the client certificate of a TLS connection; it is None without TLS.
        """
        head = question.head
        reading = head.notes
        if not isinstance(reading, ParsedHeaders):  # these lines have not been parsed before
            origin = self._origins.read(head, peer, secured)
            reading = head.notes = ParsedHeaders(head, origin, self._laws)
        question.reading = reading
        if reading.origin.request_id is not None:
            question.request_id = reading.origin.request_id
        return reading

    async def decide(self, question: DecisionContext) -> tuple[Route, Permit]:
        """Return the route and the permit of a question whose field lines and target are parsed.

        Raises:
            GatewayFault: there is no route, the request contradicts itself, or a limit refuses it.
            AuthError: the caller is not known or may not do this, or the store does not answer.
        """
        head, reading, target = question.head, question.reading, question.target
        if reading is None or target is None:
            raise RuntimeError("decide before read")
        routes, method = self.routes, head.method
        preflight = reading.preflight and method == b"OPTIONS"
        if preflight:
            method = head.first[b"access-control-request-method"]
        host = host_of(head.first.get(b"host", b"")) if routes.by_host else ""
        question.route = route = routes.match(method, target.path, host, preflight=preflight)
        if route.limits is not None and self._limiting and question.hold is None:
            _enter(question, route.limits, reading)
        if route.requirement.public:
            return route, self._open_to_all(question, reading, route)
        proven = ANONYMOUS
        try:
            principal = self._known(question, reading, target, route) or await self._authenticate(
                question, reading, target, route
            )
            if self._browsers is not None:
                self._browsers.check(question, reading, principal, route)
            question.principal = proven = principal
            permit = self._authorize(question, reading, principal, route)
        except VERDICTS as refusal:
            if not route.shadow:
                raise
            question.shadowed = refusal
            permit = permit_in_shadow(proven, refusal)
        question.permit = permit
        if question.hold is not None and not (route.unproven and proven is ANONYMOUS):
            _settle(question, question.hold, proven, time.monotonic())
        return route, permit

    def _open_to_all(self, question: DecisionContext, reading: ParsedHeaders, route: Route) -> Permit:
        """Return the permit of a request for a public route."""
        if self._browsers is not None:
            self._browsers.check(question, reading, ANONYMOUS, route)
        question.permit = permit = self._rule(reading, ANONYMOUS, route)
        if question.hold is not None:
            _settle(question, question.hold, ANONYMOUS, question.started)
        return permit

    def asked_about(self, question: DecisionContext) -> Route | None:
        """Return the route that a CORS preflight asks about; None if there is none."""
        if question.target is None:
            raise RuntimeError("asked before read")
        first = question.head.first
        host = host_of(first.get(b"host", b"")) if self.routes.by_host else ""
        method = first[b"access-control-request-method"]
        try:
            return self.routes.match(method, question.target.path, host, preflight=False)
        except (NotFound, MethodNotAllowed):
            return None

    def _known(
        self, question: DecisionContext, reading: ParsedHeaders, target: Target, route: Route
    ) -> Principal | None:
        """Return the cached principal; None if the cache has none, or has a refusal."""
        try:
            key = self._presented(question, reading, target, route).key
            return None if key is None else self._authenticator.recall(key, time.time() + self._clock.ahead)
        except Exception:  # noqa: BLE001 -- raised again, and counted, by _authenticate
            return None

    async def _authenticate(
        self, question: DecisionContext, reading: ParsedHeaders, target: Target, route: Route
    ) -> Principal:
        """Authenticate the caller, with the store if needed."""
        question.waited = True
        try:
            presented = self._presented(question, reading, target, route)
            credential, organization, now = presented.credential, presented.organization, self._clock.now()
            if isinstance(credential, CookieTwins):
                twins = Twins(self._authenticator, self._browsers, credential)
                return await offload(twins.tell_apart(question, reading, organization, now))
            where = reading.origin.client
            return await offload(self._authenticator.authenticate(credential, organization, now, where))
        except AuthError as error:
            if route.requirement.optional and isinstance(error, CredentialMissing):
                return ANONYMOUS
            if route.unproven and is_unproven(question, error):
                return ANONYMOUS
            self._verdicts.record(question.credential, error.reason)
            raise

    def _presented(
        self, question: DecisionContext, reading: ParsedHeaders, target: Target, route: Route
    ) -> CredentialMemo:
        """Return the credential that counts on this route, and the organization asked for."""
        question.credential = "none"  # until a credential of some kind is found
        if route.tickets:
            ticket = read_ticket(question.head, target.forwarded.partition(b"?")[2])
            if ticket is not None:
                question.credential = kind = _KINDS[Ticket]
                opens = route.message and question.head.upgrade
                return CredentialMemo(SocketToken(ticket.secret) if opens else ticket, None, kind, None)
        presented = reading.presented
        if presented is None or not presented.counts_on(route):
            credential = reading.credential(question.head)
            question.credential = kind = _KINDS[type(credential)]
            organization = None if route.own_organization_only else reading.organization(question.head)
            key = self._authenticator.key_of(credential, organization)
            presented = CredentialMemo(
                credential, organization, kind, key, own_organization_only=route.own_organization_only
            )
            reading.presented = presented
        question.credential = presented.kind
        return presented

    def _authorize(
        self, question: DecisionContext, reading: ParsedHeaders, principal: Principal, route: Route
    ) -> Permit:
        """Hold the caller against the route's requirement, and count the verdict."""
        try:
            permit = self._rule(reading, principal, route)
        except PermissionDenied as error:
            self._verdicts.record(question.credential, error.reason)
            raise
        if principal is not ANONYMOUS:
            self._verdicts.record(question.credential, "stale" if principal.is_stale else "ok")
        return permit

    @staticmethod
    def _rule(reading: ParsedHeaders, principal: Principal, route: Route) -> Permit:
        """Authorize, unless this principal was authorized for this route with these field lines before."""
        ruling = reading.ruling
        if ruling is None or not ruling.is_about(principal, route):
            # Only a socket comes here anonymously: this permit is for its handshake, and not for its messages.
            nobody = principal is ANONYMOUS and route.unproven
            permit = authorize(principal, OPTIONAL if nobody else route.requirement)
            ruling = reading.ruling = PermitMemo(principal, route, permit)
        return ruling.permit

    async def admit(self, question: DecisionContext, token: bytes) -> Permit:
        """Return the permit of a socket whose first message contained `token`, for a question with a permit already.

        Raises:
            AuthError: the token opens no socket here, or its principal is another than the handshake's; or the store
                does not answer.
            LimitExceeded: the caller has used up a limit of the route.
        """
        reading, route, proven = question.reading, question.route, question.principal
        if reading is None or route is None or proven is None:
            raise RuntimeError("admit before decide")
        question.credential = kind = _KINDS[SocketToken]
        try:
            now = self._clock.now()
            principal = await offload(self._authenticator.authenticate(SocketToken(token), None, now))
            if proven is not ANONYMOUS and not is_same(proven, principal):
                raise TokenRejected
        except AuthError as error:
            self._verdicts.record(kind, error.reason)
            raise
        permit = self._authorize(question, reading, principal, route)
        if question.hold is not None:
            _settle(question, question.hold, principal, time.monotonic())
        return permit

    def identity(self, question: DecisionContext, route: Route, permit: Permit) -> bytes:
        """Return the identity headers for the upstream, and the signed identity if signing is on."""
        target = question.target
        if self._signing is None or target is None:
            return self._laws.identity(permit.principal, route.withheld)
        signed = self._signing.line(question, route, permit, target.forwarded)
        return self._laws.identity(permit.principal, route.withheld) + signed

    def prepare(self, question: DecisionContext, permit: Permit) -> bytes:
        """Build the start of the upstream request: the client's fields that pass, and the identity of the permit.

        Raises:
            BadRequest: the path cannot be rewritten as the route demands.
            LoopDetected: the request was forwarded by this gateway before.
            UnsafeIdentity: the account has a value that no header may hold.
        """
        reading, target, route = question.reading, question.target, question.route
        if reading is None or target is None or route is None:
            raise RuntimeError("prepare before decide")
        principal, lines = permit.principal, reading.sent
        if lines is None or not lines.suits(principal, route):
            sends = self._lines(question, reading, principal, route)
            contradicted = reading.contradicts(question.head, principal)
            lines = UpstreamHeadersMemo(principal, route, sends, contradicted=contradicted)
            reading.sent = lines
        sent = target.forwarded if route.rewrite is None else route.rewrite.apply(target)
        return b"%b %b HTTP/1.1\r\n%b%b%bX-Request-ID: %b\r\n" % (
            question.head.method,
            sent,
            lines.lines,
            b"" if self._signing is None else self._signing.line(question, route, permit, sent),
            self._laws.trace.line(reading.trace, question.own_id),
            question.request_id,
        )

    def _lines(
        self, question: DecisionContext, reading: ParsedHeaders, principal: Principal, route: Route
    ) -> bytes:
        """Return the field lines to forward for this principal's requests with these lines, on a route like this."""
        without = _WITHHELD if reading.contradicts(question.head, principal) else _NONE
        authority = route.upstream.authority
        if route.cookies:
            passing = reading.passing(question.head, authority, strip=False, ours=True, without=without)
            passing += own_page_line(question.head, reading, route)
        else:
            if route.message:
                without |= EXTENSIONS
            passing = reading.passing(
                question.head, authority, strip=route.strip_credential, edits=route.edits, without=without
            )
            if principal.method is _COOKIE and not route.strip_credential:
                passing += reading.bearer(question.head, question.cookie)
        laws = self._laws
        if route.internal:
            return passing + laws.internal(principal) + reading.origin.lines
        if laws.loop.is_on(question.head):
            raise LoopDetected("The request has come back to the gateway that forwarded it")
        return passing + laws.identity(principal, route.withheld) + reading.origin.lines + laws.loop.line


def _enter(question: DecisionContext, limits: RouteLimits, reading: ParsedHeaders) -> None:
    """Take of the limits that count before the credential is read: the phase limit(network)."""
    keys = reading.keys
    if keys is None:
        keys = reading.keys = CallerKeys(reading.origin.client)
    hold = question.hold = Hold(limits, keys, question.started, concurrent=not question.decision)
    try:
        hold.enter()
    finally:
        question.shadowed = hold.shadowed


def _settle(question: DecisionContext, hold: Hold, principal: Principal, now: float) -> None:
    """Take of the limits that count callers: the phase limit(caller)."""
    try:
        hold.settle(principal, now)
    finally:
        if question.shadowed is None:
            question.shadowed = hold.shadowed
