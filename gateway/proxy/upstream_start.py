"""Builder of the start of an upstream request: its request line, the client's fields that pass, and the identity.

Laws:

- Nothing is built without a permit, which only ``authorize`` makes: the check cannot be forgotten.
- Lines that follow from the same principal, route and field lines are built once (:mod:`gateway.proxy.memo`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from authcore.principal import AuthMethod
from gateway.faults import LoopDetected
from gateway.proxy.browsers import own_page_line
from gateway.proxy.max_forwards import FIELD, counted_down
from gateway.proxy.memo import UpstreamHeadersMemo
from gateway.proxy.parsed_headers import ORGANIZATION
from gateway.proxy.unproven import EXTENSIONS

if TYPE_CHECKING:
    from authcore.permit import Permit
    from authcore.principal import Principal
    from gateway.proxy.decision_context import DecisionContext
    from gateway.proxy.headers import HeaderPolicy
    from gateway.proxy.parsed_headers import ParsedHeaders
    from gateway.proxy.routes import Route
    from gateway.proxy.signing import Signing

_NONE: Final[frozenset[bytes]] = frozenset()
_WITHHELD: Final = frozenset({ORGANIZATION})
_ANSWERED_HERE: Final = frozenset({b"expect"})
"""Field that the gateway itself meets before its own application: that gets a body which has come whole."""
_MAX_FORWARDS: Final = FIELD
_COOKIE: Final = AuthMethod.COOKIE  # compiled code finds a member of an enumeration through its metaclass


class UpstreamStart:
    """Builder of the starts of upstream requests.

    Attributes:
        header_policy: It determines which field lines pass, and which are identity headers.
    """

    def __init__(self, header_policy: HeaderPolicy, signing: Signing | None) -> None:
        """`signing` signs identities; None if that is off."""
        self.header_policy = header_policy
        self._signing = signing

    def identity(self, context: DecisionContext, route: Route, permit: Permit) -> bytes:
        """Return the identity headers for the upstream, and the signed identity if signing is on."""
        target = context.target
        if self._signing is None or target is None:
            return self.header_policy.identity(permit.principal, route.withheld)
        signed = self._signing.line(context, route, permit, target.forwarded)
        return self.header_policy.identity(permit.principal, route.withheld) + signed

    def prepare(self, context: DecisionContext, permit: Permit) -> bytes:
        """Build the start of the upstream request: the client's fields that pass, and the identity of the permit.

        Raises:
            BadRequest: the path cannot be rewritten as the route demands.
            LoopDetected: the request was forwarded by this gateway before.
            UnsafeIdentity: the account has a value that no header may hold.
        """
        parsed, target, route = context.parsed, context.target, context.route
        if parsed is None or target is None or route is None:
            raise RuntimeError("prepare before decide")
        principal, lines = permit.principal, parsed.sent
        if lines is None or not lines.suits(principal, route):
            contradicted = parsed.contradicts(context.head, principal)
            sends = self._lines(context, parsed, principal, route, _WITHHELD if contradicted else _NONE)
            lines = UpstreamHeadersMemo(principal, route, sends, contradicted=contradicted)
            parsed.sent = lines
        sent = target.forwarded if route.rewrite is None else route.rewrite.apply(target)
        return b"%b %b HTTP/1.1\r\n%b%b%bX-Request-ID: %b\r\n" % (
            context.head.method,
            sent,
            lines.lines,
            b"" if self._signing is None else self._signing.line(context, route, permit, sent),
            self.header_policy.trace.line(parsed.trace, context.own_id),
            context.request_id,
        )

    def _lines(
        self,
        context: DecisionContext,
        parsed: ParsedHeaders,
        principal: Principal,
        route: Route,
        without: frozenset[bytes],
    ) -> bytes:
        """Return the field lines to forward for this principal's requests with these lines, but for `without`."""
        authority = route.upstream.authority
        if route.internal:
            without |= _ANSWERED_HERE
        if route.cookies:
            passing = parsed.passing(context.head, authority, strip=False, ours=True, without=without)
            passing += own_page_line(context.head, parsed, route)
        else:
            if route.message:
                without |= EXTENSIONS
            passing = parsed.passing(
                context.head, authority, strip=route.strip_credential, edits=route.edits, without=without
            )
            if principal.method is _COOKIE and not route.strip_credential:
                passing += parsed.bearer(context.head, context.cookie)
        header_policy = self.header_policy
        if _MAX_FORWARDS in context.head.first:
            passing = counted_down(passing)
        if route.internal:
            return passing + header_policy.internal(principal) + parsed.origin.lines
        if header_policy.loop.is_on(context.head):
            raise LoopDetected("The request has come back to the gateway that forwarded it")
        return (
            passing
            + header_policy.identity(principal, route.withheld)
            + parsed.origin.lines
            + header_policy.loop.line
        )
