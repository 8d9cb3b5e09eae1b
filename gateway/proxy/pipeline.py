"""Request pipeline: the path of one request, as one readable function.

::

    observe( rescue(
       target      = read(head)                     400
       answer_options(target)                       204 403   of the server, and preflights of CORS
       route       = match(target)                  404 405   from here
       limit(network)                               429
       credential  = read_credential(headers)       400 401
       principal   = await authenticate(credential) 401, store unreachable 503
       permit      = authorize(principal, route)    403
       limit(caller)                                429       to here: authorizer.py
       admit(body length, load, uploads)            413 503
       charge(permit)                               429       where quotas are on
       start       = prepare(exchange, permit)      400 500 508   upstream_start.py
       response    = await send(request)            502 503 504
       relay(response)
    )) -> one record, always

Laws:

- Only ``authorize`` makes a permit and only a permit opens ``prepare``: the check cannot be forgotten.
- Everything is decided from the head. The body is taken, and an expectation forwarded, after the permit.
- Any exception denies: it ends in ``_rescue``, which answers or breaks off, and never forwards. One exception: on a
  route in shadow a refusal of the caller, and an outage of the store, are recorded, and the request is forwarded.
- The coroutine is driven by hand (:mod:`gateway.wire.drive`): work that needs the event loop goes through ``offload``.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import structlog

from gateway.faults import INTERNAL, ContentTooLarge
from gateway.logs.limited import LimitedEvents
from gateway.logs.verdicts import EXCHANGE_HEADER, detail_of
from gateway.proxy.clock import http_date
from gateway.proxy.exchange import Exchange
from gateway.proxy.forward_auth import narrowed
from gateway.proxy.max_forwards import asks_gateway
from gateway.proxy.preflights import grant_preflight
from gateway.proxy.refusals import answer_start, refuse
from gateway.proxy.shedding import Shed
from gateway.proxy.streams import YOUNG_SECONDS
from gateway.proxy.target import parse_target
from gateway.tracing.context import OwnIds
from gateway.wire.descriptors import descriptor_limit
from gateway.wire.faults import DescriptorsExhausted, UpstreamFault, UpstreamTlsFailed
from gateway.wire.inbound import ClientGone, ClientStalled
from gateway.wire.messages import BodyKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from authcore.permit import Permit
    from gateway.metrics import Metrics
    from gateway.proxy.admission import Admission
    from gateway.proxy.authorizer import Authorizer
    from gateway.proxy.cors import CorsPolicy
    from gateway.proxy.forward import Forwarder
    from gateway.proxy.forward_auth import ForwardAuth
    from gateway.proxy.head_size_report import Heads
    from gateway.proxy.quotas import QuotaGate
    from gateway.proxy.record import Recorder
    from gateway.proxy.routes import Route
    from gateway.proxy.second_verdict import SecondVerdict
    from gateway.proxy.shedding import Shedder
    from gateway.proxy.upstream_start import UpstreamStart
    from gateway.wire.inbound import Inbound

CLIENT_CLOSED: Final = 499
"""Status in the log when the client left before its answer, as in nginx; never sent."""
_monotonic: Final = time.monotonic  # compiled, an attribute of a module is looked up by its name in each call

_METHODS: Final = b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"

log = structlog.get_logger()


class Pipeline:
    """Request pipeline of a gateway: it serves every request."""

    def __init__(  # noqa: PLR0913 -- the collaborators of the phases, each used by one
        self,
        *,
        authorizer: Authorizer,
        second_verdict: SecondVerdict,
        upstream_start: UpstreamStart,
        forward_auth: ForwardAuth | None,
        forwarder: Forwarder,
        admission: Admission,
        recorder: Recorder,
        metrics: Metrics,
        heads: Heads,
        whole_by: Callable[[], float],
        cors: CorsPolicy | None,
        quotas: QuotaGate | None,
        shedder: Shedder | None,
    ) -> None:
        """`cors` is the CORS policy of requests that match no route.

        `quotas` charges requests, and `shedder` refuses some while too much is asked; each is None if it is off.
        `whole_by` returns the loop's time by which a request for a hosted endpoint that comes now has to be there.
        """
        self._whole_by = whole_by
        self.authorizer = authorizer
        self._second_verdict = second_verdict
        self._upstream_start = upstream_start
        self._forward_auth = forward_auth
        self.forwarder = forwarder
        forwarder.reauthorize = self._reauthorize
        self._admission = admission
        self.recorder = recorder
        self._metrics = metrics
        self._heads = heads
        self._cors = cors
        self._quotas = quotas
        self._shedder = shedder
        self._ids = OwnIds()
        self._events = LimitedEvents()
        self.in_flight = 0

    async def serve(self, inbound: Inbound) -> None:
        """Serve one request, and record it whatever happens."""
        exchange = Exchange(inbound, self._ids.next(), _monotonic())
        self.in_flight += 1
        try:
            await self._forward(exchange)
        except ClientGone as gone:
            exchange.status, exchange.reason, exchange.detail = CLIENT_CLOSED, gone.reason, str(gone)
            if isinstance(gone, ClientStalled):
                self._metrics.refused(CLIENT_CLOSED, gone.reason)
        except Exception as error:  # noqa: BLE001 -- any exception denies
            self._rescue(exchange, error)
            # A fault of the wire is held by its request, and its traceback refers to frames that hold the request.
            error.__traceback__ = None
        finally:
            self.in_flight -= 1
            if exchange.hold is not None:
                exchange.hold.release()
            if exchange.upload is not None:
                exchange.upload.over()
            self.recorder.record(exchange)

    async def _forward(self, exchange: Exchange) -> None:
        inbound, authorizer, head = exchange.inbound, self.authorizer, exchange.head
        if self._forward_auth is not None and head.target.startswith(self._forward_auth.prefix):
            await self._forward_auth.answer(exchange)
            return
        if inbound.fault is not None:
            raise inbound.fault
        authorizer.read(exchange, inbound.connection.peer, inbound.connection.secured)
        exchange.target = target = parse_target(head, opaque=authorizer.routes.opaque)
        if head.method == b"OPTIONS" and self._answer_options(exchange, target.path):
            return
        route, permit = await authorizer.decide(exchange)
        exchange.decided = time.monotonic() if exchange.waited else exchange.started
        if route.cors is not None:
            exchange.cors = route.cors.lines(inbound.head)
        self._admit(exchange, target.path, route, permit)
        if self._quotas is not None:
            await self._quotas.charge(exchange, route, permit)
        if route.internal:
            inbound.whole_by = self._whole_by()
            await self._host(exchange, route, self._hosted_start(exchange, permit))
            return
        start = self._upstream_start.prepare(exchange, permit)
        try:
            if route.message and head.upgrade:
                await self._admission.send(exchange, route, start)
            else:
                await self.forwarder.send(exchange, route.upstream, start)
        finally:
            if exchange.head_refused:
                self._heads.refused(exchange, route, start)

    def _admit(self, exchange: Exchange, path: str, route: Route, permit: Permit) -> None:
        """Bound the body of a permitted request, and shed the request if the process has too much to do.

        Raises:
            ContentTooLarge: the body is, or announces to be, larger than the route accepts.
            Shed: other requests come first.
            TooManyUploads: the client's network has too many uploads at work.
        """
        inbound = exchange.inbound
        inbound.limit = limit = route.body_limit
        if limit and max(exchange.head.length, inbound.received) > limit:
            raise ContentTooLarge(f"Request body larger than {limit} bytes")
        if self._shedder is not None:
            try:
                self._shedder.admit(exchange.head, path, route, permit)
            except Shed:
                if exchange.hold is not None:  # what is shed takes nothing of rate limits
                    exchange.hold.withdraw(time.monotonic())
                raise
        if not (inbound.complete or route.internal) and exchange.parsed is not None:
            client, upstream = exchange.parsed.origin.client, route.upstream
            exchange.upload = upstream.uploads.begin(inbound, client, upstream.capacity)

    async def _reauthorize(self, exchange: Exchange) -> bytes:
        """Decide again about a request that has waited, and return the start of its next attempt."""
        permit = await self._second_verdict.permit(exchange)
        if exchange.route is not None and exchange.route.internal:
            return self._hosted_start(exchange, permit)
        return self._upstream_start.prepare(exchange, permit)

    async def _host(self, exchange: Exchange, route: Route, start: bytes) -> None:
        """Have the gateway's own application answer, when there is a place for the caller's network.

        A caller who waited for longer than ``YOUNG_SECONDS`` is judged again.
        """
        places, parsed = route.upstream.places, exchange.parsed
        if places is None or parsed is None:
            await self.forwarder.send(exchange, route.upstream, start)
            return
        if not exchange.inbound.complete:
            await self.forwarder.gather(exchange)
        place = await places.enter(parsed.origin.client, route.name)
        try:
            now = time.monotonic()
            if now - exchange.decided > YOUNG_SECONDS:  # its caller's access may have ended meanwhile
                start = self._hosted_start(exchange, await self._second_verdict.permit(exchange))
            exchange.decided = now  # what it waited for its place is no time of the upstream's
            await self.forwarder.send(exchange, route.upstream, start)
        finally:
            places.leave(place)

    def _hosted_start(self, exchange: Exchange, permit: Permit) -> bytes:
        """Return the start of a request to the gateway's own application, with the exchange's id."""
        start = self._upstream_start.prepare(exchange, permit)
        return b"%b%b: %b\r\n" % (start, EXCHANGE_HEADER, exchange.own_id)

    def _answer_options(self, exchange: Exchange, path: str) -> bool:
        """Answer an OPTIONS request that asks the gateway itself; else it goes on like any request.

        One for the server as a whole is answered, one that may pass no further proxy, and a CORS preflight that a
        policy covers.
        """
        if asks_gateway(exchange.head, path):
            more: bytes | None = _METHODS
        else:
            more = grant_preflight(exchange, self.authorizer.routes, self._cors)
        if more is None:
            return False
        exchange.status = 204
        start = b"HTTP/1.1 204 No Content\r\nDate: %b\r\nX-Request-ID: %b\r\n%b"
        exchange.inbound.answer(
            start % (http_date(), exchange.request_id, more), BodyKind.NONE, None, pieces=[], complete=True
        )
        return True

    def _rescue(self, exchange: Exchange, error: Exception) -> None:
        """Answer in place of the upstream; if its answer has begun, break that off."""
        fault = refuse(error)
        if fault is INTERNAL:
            log.error("request_failed", exc_info=error)
        if exchange.decision:
            fault = narrowed(fault, exchange.decision)
        exchange.reason = fault.reason
        exchange.detail = detail_of(error)
        self._metrics.refused(fault.status, fault.reason)
        if isinstance(error, DescriptorsExhausted):
            self._events.warning(
                "descriptors_exhausted",
                descriptors=descriptor_limit(),
                advice="raise the hard limit of open files (ulimit -Hn, LimitNOFILE=), or lower "
                "GATEWAY_LIMIT_CONNECTIONS and GATEWAY_UPSTREAM_CONNECTIONS",
            )
        if isinstance(error, UpstreamFault) and exchange.route is not None:
            kind = error.kind if isinstance(error, UpstreamTlsFailed) else ""
            stand_in = None if exchange.delivered is None else exchange.delivered.meter
            (stand_in or exchange.route.upstream.meter).failed(fault.reason, kind)
        inbound = exchange.inbound
        if inbound.answered:
            inbound.abort()
            return
        exchange.status = fault.status
        inbound.sink = None  # the rest of the body is dropped
        body = fault.body()
        policy = self._cors if exchange.route is None else exchange.route.cors
        more = b"" if policy is None else policy.lines(inbound.head)
        if exchange.hold is not None:
            more += exchange.hold.lines(time.monotonic())
        inbound.answer(
            answer_start(fault, exchange.request_id) + more,
            BodyKind.LENGTH,
            len(body),
            pieces=[] if inbound.head.method == b"HEAD" else [body],
            complete=True,
        )
