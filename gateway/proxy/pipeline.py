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
from itertools import count
from typing import TYPE_CHECKING, Final

import structlog

from authcore.authorize import authorize
from authcore.credentials import ApiKey, BearerToken, Ticket
from authcore.errors import AuthError
from authcore.principal import ANONYMOUS
from gateway.credentials import read_ticket
from gateway.faults import INTERNAL, ContentTooLarge
from gateway.proxy.clock import http_date
from gateway.proxy.exchange import Exchange
from gateway.proxy.reading import Reading
from gateway.proxy.refusals import answer_start, refuse
from gateway.proxy.target import parse_target
from gateway.wire.drive import offload
from gateway.wire.inbound import ClientGone
from gateway.wire.messages import BodyKind

if TYPE_CHECKING:
    from uuid import UUID

    from authcore.authenticate import Authenticator
    from authcore.credentials import Credential
    from authcore.principal import Permit, Principal
    from gateway.metrics import Metrics
    from gateway.proxy.forward import Forwarder
    from gateway.proxy.forwarded import Origins
    from gateway.proxy.headers import HeaderLaws
    from gateway.proxy.record import Recorder
    from gateway.proxy.routes import Route, RouteTable
    from gateway.proxy.target import Target
    from gateway.wire.inbound import Inbound

CLIENT_CLOSED: Final = 499
"""Logged when the client left before its answer, as nginx does; never sent."""

_KINDS: Final = {BearerToken: "jwt", ApiKey: "api_key", Ticket: "ws"}

_ASTERISK: Final = b"HTTP/1.1 204 No Content\r\nAllow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"

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
        forwarder: Forwarder,
        recorder: Recorder,
        metrics: Metrics,
    ) -> None:
        self.routes = routes
        self._authenticator = authenticator
        self._laws = laws
        self._origins = origins
        self._forwarder = forwarder
        self._recorder = recorder
        self._metrics = metrics
        # Ids of requests: unique across processes by the prefix, within one by the count.
        self._prefix = secrets.token_hex(8).encode("ascii")
        self._count = count(secrets.randbits(32))
        self.in_flight = 0

    async def serve(self, inbound: Inbound) -> None:
        """Serve one request, whatever comes of it."""
        exchange = Exchange(inbound, b"%b%016x" % (self._prefix, next(self._count)), time.monotonic())
        self.in_flight += 1
        try:
            await self._forward(exchange)
        except ClientGone as gone:
            exchange.status, exchange.reason, exchange.detail = CLIENT_CLOSED, "client_gone", str(gone)
        except Exception as error:  # noqa: BLE001 -- any exception denies
            self._rescue(exchange, error)
        finally:
            self.in_flight -= 1
            self._recorder.record(exchange)

    async def _forward(self, exchange: Exchange) -> None:
        inbound = exchange.inbound
        if inbound.fault is not None:
            raise inbound.fault
        head = inbound.head
        reading = self._read(exchange)
        exchange.target = target = parse_target(head)
        if target.path == "*":
            exchange.status = 204
            start = b"%bDate: %b\r\nX-Request-ID: %b\r\n" % (_ASTERISK, http_date(), exchange.request_id)
            inbound.answer(start, BodyKind.NONE, None, pieces=[], complete=True)
            return
        preflight = reading.preflight and head.method == b"OPTIONS"
        exchange.route = route = self.routes.match(head.method, target.path, preflight=preflight)
        if route.requirement.public:
            principal = ANONYMOUS
        else:
            principal = self._known(exchange, route) or await self._authenticate(exchange, route)
        exchange.permit = authorize(principal, route.requirement)
        start = self._prepare(exchange, reading, target, route, exchange.permit)
        await self._forwarder.send(exchange, route.upstream, start)

    def _read(self, exchange: Exchange) -> Reading:
        """Return the meaning of the field lines; worked out when these lines come for the first time."""
        head = exchange.inbound.head
        reading = head.notes
        if not isinstance(reading, Reading):
            origin = self._origins.read(head, exchange.inbound.connection.peer)
            reading = head.notes = Reading(head, origin, self._laws)
        exchange.reading = reading
        if reading.origin.request_id is not None:
            exchange.request_id = reading.origin.request_id
        return reading

    def _known(self, exchange: Exchange, route: Route) -> Principal | None:
        """Answer who is asking, from memory; None when that is not enough, or is a refusal."""
        try:
            credential, organization = _presented(exchange, route)
            principal = self._authenticator.recall(credential, organization, time.time())
        except Exception:  # noqa: BLE001 -- raised again, and counted, by _authenticate
            return None
        if principal is not None:
            self._metrics.authenticated(_kind(credential), "ok")
        return principal

    async def _authenticate(self, exchange: Exchange, route: Route) -> Principal:
        """Answer who is asking, by way of the store."""
        kind = "none"
        try:
            credential, organization = _presented(exchange, route)
            kind = _kind(credential)
            principal = await offload(self._authenticator.authenticate(credential, organization, time.time()))
        except AuthError as error:
            self._metrics.authenticated(kind, error.reason)
            raise
        self._metrics.authenticated(kind, "stale" if principal.is_stale else "ok")
        return principal

    def _prepare(
        self, exchange: Exchange, reading: Reading, target: Target, route: Route, permit: Permit
    ) -> bytes:
        """Build the upstream request's start: the client's fields that may go on, the identity the permit proves."""
        inbound = exchange.inbound
        inbound.limit = limit = route.body_limit
        if limit and max(inbound.head.length, inbound.received) > limit:
            raise ContentTooLarge(f"Request body larger than {limit} bytes")
        return b"%b %b HTTP/1.1\r\n%b%b%bX-Request-ID: %b\r\n" % (
            inbound.head.method,
            target.forwarded,
            reading.passing(strip=route.strip_credential),
            self._laws.identity(permit.principal),
            reading.origin.lines,
            exchange.request_id,
        )

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
        body = fault.body()
        inbound.answer(
            answer_start(fault, exchange.request_id),
            BodyKind.LENGTH,
            len(body),
            pieces=[] if inbound.head.method == b"HEAD" else [body],
            complete=True,
        )


def _presented(exchange: Exchange, route: Route) -> tuple[Credential, UUID | None]:
    """Return the credential that counts on this route, and the organization asked for."""
    reading, target = exchange.reading, exchange.target
    if reading is None or target is None:  # the phases before this one set them
        raise RuntimeError("authenticate before match")
    if route.tickets:
        ticket = read_ticket(exchange.inbound.head, target.forwarded.partition(b"?")[2])
        if ticket is not None:
            return ticket, None
    return reading.credential(), None if route.hosted else reading.organization()


def _kind(credential: Credential) -> str:
    return _KINDS[type(credential)]
