"""The path of one request, as one readable function.

::

    observe( rescue(
       route       = match(target)                  404 405
       credential  = read_credential(headers)       400 401
       principal   = await authenticate(credential) 401, store unreachable 503
       permit      = authorize(principal, route)    403
       request     = prepare(exchange, permit)      400 413
       response    = await send(request)            502 503 504
       relay(response)
    )) -> one record, always

Laws:

- Only ``authorize`` makes a permit and only a permit opens ``_prepare``: the check cannot be forgotten.
- Everything is decided from the head; the body is taken, and an expectation passed on, after the permit.
- Any exception denies: it ends in ``_rescue``, which answers or breaks off, and never forwards.
- The coroutine is driven by hand (:mod:`gateway.wire.drive`): whatever needs the event loop goes through ``offload``.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

import structlog

from authcore.authorize import authorize
from authcore.credentials import ApiKey
from authcore.errors import AuthError
from authcore.principal import ANONYMOUS
from gateway.credentials import read_credential, read_organization
from gateway.faults import INTERNAL, ContentTooLarge
from gateway.proxy.exchange import Exchange
from gateway.proxy.headers import interim_start, response_start
from gateway.proxy.refusals import answer_start, refuse
from gateway.proxy.target import parse_target
from gateway.wire.drive import offload
from gateway.wire.inbound import ClientGone
from gateway.wire.messages import BodyKind
from gateway.wire.upstream import UpstreamLost

if TYPE_CHECKING:
    from authcore.authenticate import Authenticator
    from authcore.principal import Permit, Principal
    from gateway.logs import AccessLog
    from gateway.metrics import Metrics
    from gateway.proxy.forwarded import Origins
    from gateway.proxy.headers import HeaderLaws
    from gateway.proxy.routes import Route, RouteTable
    from gateway.proxy.upstreams import Upstream
    from gateway.wire.inbound import Inbound
    from gateway.wire.messages import RequestHead, ResponseHead
    from gateway.wire.tunnel import Tunnels
    from gateway.wire.upstream import UpstreamConnection

CLIENT_CLOSED = 499
"""Logged when the client left before its answer, as nginx does; never sent."""

_SAFE = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE"})
_ASTERISK = b"HTTP/1.1 204 No Content\r\nAllow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"

log = structlog.get_logger()


class Pipeline:
    """What serves every request of a gateway."""

    def __init__(  # noqa: PLR0913 -- the collaborators of the phases, each used by one
        self,
        *,
        routes: RouteTable,
        authenticator: Authenticator,
        laws: HeaderLaws,
        origins: Origins,
        tunnels: Tunnels,
        metrics: Metrics,
        access_log: AccessLog,
    ) -> None:
        self.routes = routes
        self._authenticator = authenticator
        self._laws = laws
        self._origins = origins
        self._tunnels = tunnels
        self._metrics = metrics
        self._access_log = access_log
        self._unrouted = metrics.route("none")
        self.in_flight = 0

    async def serve(self, inbound: Inbound) -> None:
        """Serve one request, whatever comes of it."""
        exchange = Exchange(inbound, time.monotonic())
        self.in_flight += 1
        try:
            await self._forward(exchange)
        except ClientGone:
            exchange.status, exchange.reason = CLIENT_CLOSED, "client_gone"
        except Exception as error:  # noqa: BLE001 -- any exception denies
            self._rescue(exchange, error)
        finally:
            self.in_flight -= 1
            self._observe(exchange)

    async def _forward(self, exchange: Exchange) -> None:
        inbound = exchange.inbound
        if inbound.fault is not None:
            raise inbound.fault
        head = inbound.head
        exchange.origin = self._origins.read(head, inbound.connection.peer)
        exchange.target = target = parse_target(head)
        if target.path == "*":
            exchange.status = 204
            inbound.answer(_ASTERISK, BodyKind.NONE, None, pieces=[], complete=True)
            return
        exchange.route = route = self.routes.match(head.method, target.path, preflight=_is_preflight(head))
        principal = ANONYMOUS if route.requirement.public else await self._authenticate(exchange, route)
        exchange.permit = authorize(principal, route.requirement)
        start = self._prepare(exchange, route, exchange.permit)
        await self._send(exchange, route.upstream, start)

    async def _authenticate(self, exchange: Exchange, route: Route) -> Principal:
        """Answer who is asking: from memory when they are known, else by way of the store."""
        head = exchange.inbound.head
        kind = "none"
        try:
            credential = exchange.credential = read_credential(head)
            kind = "api_key" if isinstance(credential, ApiKey) else "jwt"
            organization = None if route.hosted else read_organization(head)
            now = time.time()
            principal = self._authenticator.recall(credential, organization, now)
            if principal is None:
                principal = await offload(self._authenticator.authenticate(credential, organization, now))
        except AuthError as error:
            self._metrics.authenticated(kind, error.reason)
            raise
        self._metrics.authenticated(kind, "ok")
        return principal

    def _prepare(self, exchange: Exchange, route: Route, permit: Permit) -> bytes:
        """Build the upstream request's start: the client's fields that may go on, the identity the permit proves."""
        inbound, origin, target = exchange.inbound, exchange.origin, exchange.target
        if origin is None or target is None:  # the phases before this one set them
            raise RuntimeError("prepare before match")
        inbound.limit = route.body_limit
        if route.body_limit and max(inbound.head.length, inbound.received) > route.body_limit:
            raise ContentTooLarge(f"Request body larger than {route.body_limit} bytes")
        injected = (self._laws.identity(permit.principal), origin.lines)
        return self._laws.request(inbound.head, target.forwarded, injected, strip=route.strip_credential)

    async def _send(self, exchange: Exchange, upstream: Upstream, start: bytes) -> None:
        """Send the request and relay the answer; once more when a reused connection was dead and nothing is lost."""
        inbound = exchange.inbound
        replayable = inbound.head.method in _SAFE and inbound.head.kind is BodyKind.NONE
        connection = await upstream.pool.acquire()
        while True:
            try:
                response = await self._attempt(exchange, upstream, connection, start)
                await self._relay(exchange, connection, response)
            except UpstreamLost:
                if inbound.answered or connection.touched or connection.served == 1 or not replayable:
                    raise
            else:
                return
            finally:
                upstream.pool.release(connection)
            connection = await upstream.pool.acquire(fresh=True)

    async def _attempt(
        self, exchange: Exchange, upstream: Upstream, connection: UpstreamConnection, start: bytes
    ) -> ResponseHead:
        exchange.attempts += 1
        inbound = exchange.inbound
        head = inbound.head
        connection.send(
            start,
            method=head.method,
            kind=head.kind,
            length=head.length,
            pieces=inbound.take(),
            complete=inbound.complete,
            head_timeout=upstream.head_timeout_seconds,
            body_timeout=upstream.body_timeout_seconds,
            upgrade=head.upgrade,
        )
        if not inbound.complete:
            connection.feed_from(inbound)
            inbound.pipe(connection)
        return await connection.response()

    async def _relay(
        self, exchange: Exchange, connection: UpstreamConnection, response: ResponseHead
    ) -> None:
        inbound, origin = exchange.inbound, exchange.origin
        while response.interim:
            inbound.interim(interim_start(response))
            response = await connection.response()
        exchange.status = response.status
        if response.status == 101:  # noqa: PLR2004 -- RFC 9110 section 15.2.2
            await self._tunnel(exchange, connection, response)
            return
        told = b"content-length" in response.first and response.status != 204  # noqa: PLR2004 -- RFC 9110 section 8.6
        inbound.answer(
            response_start(response, origin.request_id if origin is not None else b""),
            response.kind,
            response.length if told else None,
            pieces=connection.take(),
            complete=connection.complete,
            source=connection,
        )
        if not connection.complete:
            connection.relay(inbound)
            if inbound.connection.full:
                connection.pause()
            await connection.finished()

    async def _tunnel(
        self, exchange: Exchange, connection: UpstreamConnection, response: ResponseHead
    ) -> None:
        """Pass bytes both ways until either side ends."""
        inbound, origin = exchange.inbound, exchange.origin
        far, early = connection.switch()
        near = inbound.switch(
            response_start(response, origin.request_id if origin is not None else b""), early
        )
        tunnel = self._tunnels.open()
        tunnel.join((near, inbound.connection), (far, connection))
        try:
            await tunnel.ended()
        finally:
            self._tunnels.ended(tunnel)
            inbound.received, inbound.sent = tunnel.up, tunnel.down + len(early)
            if tunnel.idled:
                exchange.reason = "idle"

    # -- the two outer layers ----------------------------------------------------------------------------------

    def _rescue(self, exchange: Exchange, error: Exception) -> None:
        """Answer in the upstream's place; when its answer has begun, break it off."""
        fault = refuse(error)
        if fault is INTERNAL:
            log.error("request_failed", exc_info=error)
        cause = error.__cause__
        exchange.reason = fault.reason
        exchange.detail = f"{error} ({cause})" if cause is not None else str(error)
        self._metrics.faults.labels(fault.reason).inc()
        inbound = exchange.inbound
        if inbound.answered:
            inbound.abort()
            return
        exchange.status = fault.status
        inbound.sink = None  # whatever is still to come of the body is for nobody
        request_id = (
            exchange.origin.request_id if exchange.origin is not None else secrets.token_hex(16).encode()
        )
        body = fault.body()
        inbound.answer(
            answer_start(fault, request_id),
            BodyKind.LENGTH,
            len(body),
            pieces=[] if inbound.head.method == b"HEAD" else [body],
            complete=True,
        )

    def _observe(self, exchange: Exchange) -> None:
        """Write the one record of a request: a line of the access log, and the route's metrics."""
        inbound, route, origin, target = exchange.inbound, exchange.route, exchange.origin, exchange.target
        seconds = time.monotonic() - exchange.started
        method = inbound.head.method
        meter = self._unrouted if route is None else route.meter
        meter.record(method, exchange.status, seconds)
        record: dict[str, object] = {
            "time": time.time(),
            "level": "info" if exchange.status < 500 else "error",  # noqa: PLR2004 -- RFC 9110 section 15.6
            "event": "request",
            "request_id": origin.request_id.decode("ascii") if origin is not None else None,
            "client": origin.client if origin is not None else inbound.connection.peer,
            "method": method.decode("ascii"),
            "path": target.path if target is not None else None,
            "status": exchange.status,
            "duration_ms": round(seconds * 1000, 3),
            "bytes_in": inbound.received,
            "bytes_out": inbound.sent,
        }
        if route is not None:
            record["route"] = route.name
            record["upstream"] = route.upstream.name
            record["attempts"] = exchange.attempts
        if exchange.permit is not None and (principal := exchange.permit.principal) is not ANONYMOUS:
            record["user_id"] = principal.user_id
            record["organization_id"] = principal.organization_id
            record["auth"] = principal.method
        if exchange.reason:
            record["reason"] = exchange.reason
            record["detail"] = exchange.detail
        self._access_log.add(record)


def _is_preflight(head: RequestHead) -> bool:
    """A CORS preflight carries no credential (Fetch standard); anything short of a real one does."""
    return (
        head.method == b"OPTIONS"
        and b"origin" in head.first
        and b"access-control-request-method" in head.first
    )
