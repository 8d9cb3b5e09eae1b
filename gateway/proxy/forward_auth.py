"""Forward-auth endpoints for other proxies: they describe a request, and learn whether it may pass and who sent it.

==================  ===================================  ============================================
endpoint            asked by                             the request it is about
==================  ===================================  ============================================
``<path>/nginx``    nginx ``auth_request``               ``X-Original-Method``, ``-URI``; ``Host``
``<path>/forward``  Traefik ForwardAuth,                 ``X-Forwarded-Method``, ``-Uri``, ``-Host``
                    Caddy forward_auth
``<path>/envoy…``   Envoy ext_authz over HTTP            the decision request's method and ``Host``, and
                                                         what follows the prefix of its path
==================  ===================================  ============================================

``<path>/nginx/organization`` and ``<path>/forward/organization`` are the same for a proxy that replaces the client's
``X-Organization-ID`` by the answer's.

Laws:

- The answers are 200 with the identity headers, 401, 403 and 503, and no others: nginx takes any other for an error of
  its own. A refusal that would be 400, 404 or 405 to a client is 403 here, with the same message; every 5xx is 503.
  A 429 stays one for proxies that pass it on with its Retry-After, and is 403 for nginx.
- A description is believed only from a trusted peer, and only if it is there exactly once. One that is missing, doubled
  or ambiguous is refused. There is no default, which would be a way in. Of each proxy only those fields are read that
  it always sets over the client's (for nginx, those that its configuration has to name).
- A decision request that holds an identity header is refused: it does not contain what the proxy removes or
  replaces, so what it contains would reach the service. nginx, above all, cannot remove the client's headers by prefix.
- A service never gets an X-Organization-ID of the client's that differs from the organization decided on. A proxy that
  asks at ``/organization`` replaces it by the answer's value. Envoy removes it. Other proxies would send it on, so the
  request is refused. Only the path says this: it is configuration, while a field or a query could be the client's.
- The described request passes the same phases as a forwarded one, with its own method and path. Its field lines, and so
  its credential, are those of the decision request.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from gateway.faults import Fault, GatewayFault
from gateway.proxy.clock import http_date
from gateway.proxy.parsed_headers import ORGANIZATION
from gateway.proxy.target import parse_target
from gateway.wire.framing import HOST
from gateway.wire.messages import BodyKind

if TYPE_CHECKING:
    from authcore.principal import Principal
    from gateway.proxy.authorizer import Authorizer
    from gateway.proxy.exchange import Exchange
    from gateway.proxy.quotas import QuotaGate
    from gateway.proxy.routes import Route
    from gateway.proxy.upstream_start import UpstreamStart
    from gateway.wire.messages import RequestHead

NGINX: Final = "nginx"
FORWARD: Final = "forward"
ENVOY: Final = "envoy"

_METHOD: Final = re.compile(rb"[A-Z][A-Z-]{0,31}")
_TARGET: Final = re.compile(rb"/[\x21-\x7e]*")
"""A request line cannot hold some bytes that a field's value may: a space, a tab, bytes over 0x7F."""

_OK, _BAD_REQUEST, _UNAUTHORIZED, _FORBIDDEN, _SERVER_ERROR, _UNAVAILABLE = 200, 400, 401, 403, 500, 503
_TOO_MANY: Final = 429
_CREDENTIALS: Final = ("authorization", "x-api-key")
_REPLACING: Final = b"/organization"
"""Suffix of the path by which a proxy states that it replaces the client's X-Organization-ID by the answer's."""


class IdentityClaimed(GatewayFault):
    """The client sends an identity header, and the asking proxy would let it through."""

    status = _BAD_REQUEST
    reason = "identity_claimed"


class OrganizationPassedOn(GatewayFault):
    """The client's X-Organization-ID differs from the caller's organization, and the proxy would send it on."""

    status = _FORBIDDEN
    reason = "organization_passed_on"


class NotDescribed(GatewayFault):
    """The decision request cannot be understood, or may not be believed."""

    status = _FORBIDDEN
    reason = "not_described"


def narrowed(fault: Fault, endpoint: str) -> Fault:
    """Return `fault` as one of the answers that the proxies understand that ask `endpoint`."""
    if fault.status in {_UNAUTHORIZED, _FORBIDDEN, _UNAVAILABLE}:
        return fault
    if fault.status == _TOO_MANY and endpoint in {FORWARD, ENVOY}:
        return fault
    if fault.status < _SERVER_ERROR:
        return Fault(_FORBIDDEN, fault.message, fault.reason)
    return Fault(_UNAVAILABLE, fault.message, fault.reason, (("Retry-After", "1"),))


class ForwardAuth:
    """Forward-auth endpoints.

    Attributes:
        prefix: The start of every decision request's target.
    """

    def __init__(
        self,
        path: str,
        authorizer: Authorizer,
        upstream_start: UpstreamStart,
        quotas: QuotaGate | None,
    ) -> None:
        """Serve the endpoints below `path`; `quotas` charges the described requests, and is None if it is off."""
        self._quotas = quotas
        self.prefix = path.encode("ascii") + b"/"
        self._nginx = self.prefix + NGINX.encode()
        self._forward = self.prefix + FORWARD.encode()
        self._envoy = self.prefix + ENVOY.encode()
        self._authorizer = authorizer
        self._upstream_start = upstream_start
        self._header_policy = upstream_start.header_policy

    async def answer(self, exchange: Exchange) -> None:
        """Answer a decision request with 200, or raise the refusal.

        Raises:
            NotDescribed: the decision request cannot be understood, or may not be believed.
            IdentityClaimed: an identity header of the client's would go through.
            OrganizationPassedOn: another organization's X-Organization-ID would go through.
            ProtocolError: the described target is ambiguous.
            GatewayFault: as of :meth:`~gateway.proxy.authorizer.Authorizer.decide`.
            AuthError: as of :meth:`~gateway.proxy.authorizer.Authorizer.decide`.
        """
        inbound = exchange.inbound
        asked = inbound.head
        endpoint, replaces = self._endpoint(asked.target)
        exchange.decision = endpoint
        if inbound.fault is not None:
            raise inbound.fault
        parsed = self._authorizer.read(exchange, inbound.connection.peer)
        if not parsed.origin.trusted:
            raise NotDescribed(
                "Decisions are for trusted proxies: add this one's network to GATEWAY_TRUSTED_PROXIES"
            )
        claimed = self._header_policy.names_identity(asked)
        if claimed is not None:
            raise IdentityClaimed(
                f"{claimed.decode('ascii', 'replace')} is an identity header's name: the proxy has to remove it, "
                "or to leave it out of its decision request if services may have it (docs/integrations)"
            )
        exchange.head = head = self._described(endpoint, asked)
        exchange.target = parse_target(head, opaque=self._authorizer.routes.opaque)
        route, permit = await self._authorizer.decide(exchange)
        contradicted = parsed.contradicts(asked, permit.principal)
        replaced = _organization(asked, permit.principal, contradicted=contradicted) if replaces else b""
        if contradicted and not replaced and endpoint != ENVOY and not route.shadow:
            raise OrganizationPassedOn(
                "X-Organization-ID is not the organization that the caller acts in, and the proxy would send it on: "
                f"let the proxy ask {self.prefix.decode()}{endpoint}/organization, and replace the client's "
                "X-Organization-ID by the answer's (docs/integrations)"
            )
        if self._quotas is not None:
            await self._quotas.charge(exchange, route, permit)
        identity = self._upstream_start.identity(exchange, route, permit)
        exchange.status = _OK
        start = b"HTTP/1.1 200 OK\r\nDate: %b\r\nCache-Control: no-store\r\n%b%bX-Request-ID: %b\r\n" % (
            http_date(),
            identity,
            self._removal(identity, route, contradicted=contradicted) if endpoint == ENVOY else replaced,
            exchange.request_id,
        )
        inbound.answer(start, BodyKind.LENGTH, 0, pieces=[], complete=True)

    def _endpoint(self, target: bytes) -> tuple[str, bool]:
        """Return the endpoint, and whether the proxy replaces the client's X-Organization-ID by the answer's."""
        if target.startswith(self._envoy):
            return ENVOY, False
        path = target.partition(b"?")[0]  # Caddy leaves the client's query in the target; it is not read here
        asked = path.removesuffix(_REPLACING)
        if asked == self._nginx:
            return NGINX, asked != path
        if asked == self._forward:
            return FORWARD, asked != path
        return "unknown", False

    def _described(self, endpoint: str, asked: RequestHead) -> RequestHead:
        """Return the head of the described request."""
        if endpoint == NGINX:
            method, target = _once(asked, b"X-Original-Method"), _once(asked, b"X-Original-URI")
        elif endpoint == FORWARD:
            method, target = _once(asked, b"X-Forwarded-Method"), _once(asked, b"X-Forwarded-Uri")
        elif endpoint == ENVOY:
            method, target = asked.method, asked.target[len(self._envoy) :]
        else:
            raise NotDescribed("No such decision endpoint: there are nginx, forward and envoy")
        if not _METHOD.fullmatch(method):
            raise NotDescribed("The method described is no method")
        if not _TARGET.fullmatch(target):
            raise NotDescribed("The target described is no path")
        head = asked.with_line(method, target)
        head.upgrade = asked.upgrade
        if endpoint == FORWARD:
            host = _once(asked, b"X-Forwarded-Host")
            if not HOST.fullmatch(host):
                raise NotDescribed("The host described is no host")
            head.first = {**asked.first, b"host": host}
        return head

    def _removal(self, identity: bytes, route: Route, *, contradicted: bool) -> bytes:
        """Return the line that makes Envoy remove the headers that the answer does not set.

        Envoy overwrites the client's identity headers with those of the answer. It would let through those that the
        answer lacks (a user without a role has no ``X-User-Role``). Envoy's configuration has to remove other spellings
        of them: Envoy does not send us all field lines.
        """
        names = self._header_policy.absent(identity)
        if contradicted:
            names = (*names, ORGANIZATION.decode())
        return _removed((*names, *_CREDENTIALS) if route.strip_credential else names)


def _organization(asked: RequestHead, principal: Principal, *, contradicted: bool) -> bytes:
    """Return the line that replaces the client's X-Organization-ID; empty if the client sent none.

    It is the client's own value, or, where that is contradicted, the organization that `principal` acts in.
    """
    value = asked.first.get(ORGANIZATION)
    if contradicted:
        value = str(principal.organization_id).encode()
    return b"X-Organization-ID: %b\r\n" % value if value else b""


def _removed(names: tuple[str, ...]) -> bytes:
    return b"X-Envoy-Auth-Headers-To-Remove: %b\r\n" % ",".join(names).encode("ascii") if names else b""


def _once(asked: RequestHead, name: bytes) -> bytes:
    """Return the value of a field that must be there exactly once."""
    lower = name.lower()
    value = asked.first.get(lower)
    if value is None:
        raise NotDescribed(f"{name.decode()} is missing: the proxy that asks has to set it")
    if asked.occurs_twice(lower):
        raise NotDescribed(f"{name.decode()} is there twice: the proxy that asks has to replace the client's")
    return value
