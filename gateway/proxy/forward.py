"""Forwarder: it sends a request to its upstream and relays the answer.

Laws:

- Without a traffic policy (:mod:`gateway.proxy.attempts`), a request is sent again only when the connection was reused,
  died before any byte of a response, and the request is replayable: a safe method (RFC 9110 9.2.1) without a body.
- A request that is not replayable is not put on a connection that the upstream has closed already.
- A caller who was judged more than ``YOUNG_SECONDS`` ago is judged again before the request is sent, or sent again.
- Whatever happens, the connection goes back to its pool, which decides whether it can be used again.
- Once the answer has begun, a fault can only break it off.
- A body that flows on is a stream (:mod:`gateway.proxy.streams`): it ends when the caller's access has ended.
- Where cookies are on, an upstream's cookies of our names go to our places (``gateway/cookie_places.py``), on every
  route: Whatomate's single sign-on sets them. Those of the gateway's own application are there already.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from gateway.metrics.meters import STALE
from gateway.proxy.attempts import deliver
from gateway.proxy.choosing import choose, observe_answer, observe_fault
from gateway.proxy.head_size_report import TOO_LARGE, UNCLEAR
from gateway.proxy.places import whole
from gateway.proxy.response_headers import interim_start, response_start, with_cookies_moved
from gateway.proxy.second_verdict import judged_again
from gateway.proxy.streams import StreamEnded
from gateway.traffic.retry import SAFE
from gateway.wire.faults import UpstreamFault, UpstreamLost
from gateway.wire.messages import BodyKind

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from gateway.cookie_places import CookiePlaces
    from gateway.proxy.attempts import Attempts
    from gateway.proxy.exchange import Exchange
    from gateway.proxy.sockets import Sockets
    from gateway.proxy.streams import Streams
    from gateway.proxy.upstreams import Upstream
    from gateway.proxy.vary import VaryPolicy
    from gateway.wire.messages import ResponseHead
    from gateway.wire.tunnel import Tunnels
    from gateway.wire.upstream import UpstreamConnection

    Reauthorize = Callable[[Exchange], Coroutine[Any, Any, bytes]]

_SWITCHING: Final = 101
_monotonic: Final = time.monotonic  # compiled, an attribute of a module is looked up by its name in each call
_REFUSED: Final = 400
_NO_CONTENT: Final = 204


class Forwarder:
    """Takes prepared requests to upstreams and their answers back.

    Attributes:
        reauthorize: Judges the caller of a request that has waited, and returns the start of its next attempt.
    """

    def __init__(
        self,
        tunnels: Tunnels,
        sockets: Sockets,
        streams: Streams,
        vary: VaryPolicy,
        places: CookiePlaces | None = None,
    ) -> None:
        """`places` are the cookies', where they are on."""
        self.reauthorize: Reauthorize | None = None
        self._places = places
        self._vary = vary
        self._tunnels = tunnels
        self._sockets = sockets
        self._streams = streams

    async def gather(self, exchange: Exchange) -> None:
        """Wait until a request has come whole.

        Raises:
            StreamEnded: its caller's access has ended meanwhile.
        """
        stream = exchange.stream = self._streams.begin(exchange)
        try:
            await whole(exchange.inbound)
        finally:
            stream.over()
            exchange.stream = None  # they refer to each other

    async def send(self, exchange: Exchange, upstream: Upstream, start: bytes) -> None:
        """Once for each request: send `start` and the exchange's body, and relay what comes of it.

        Raises:
            UpstreamFault: there is no whole answer.
        """
        if upstream.delivery is not None:
            await deliver(self, exchange, upstream, upstream.delivery, start)
            return
        inbound = exchange.inbound
        pool, meter, cluster = upstream.pool, upstream.meter, upstream.cluster
        replayable = inbound.head.method in SAFE and inbound.head.kind is BodyKind.NONE
        endpoint, only = (None, False) if cluster.plain else choose(exchange, upstream, exchange.decided)
        connection = pool.idle_connection(must_be_alive=not replayable, endpoint=endpoint)
        if connection is not None:
            exchange.sent = exchange.decided  # nothing was awaited since: the clock is not read again
            meter.at_once += 1
        else:
            upstream.make_room()
            try:
                connection = await pool.acquire(
                    must_be_alive=not replayable, endpoint=endpoint, only_that_endpoint=only
                )
            finally:
                exchange.sent = time.monotonic()
                meter.waits.add(exchange.sent - exchange.decided)
            start = await judged_again(self.reauthorize, exchange, pool, connection, start)
        while True:
            try:
                await self.attempt(exchange, upstream, upstream, connection, start)
            except UpstreamLost:
                if inbound.answered or connection.touched or connection.served == 1 or not replayable:
                    raise
            else:
                return
            meter.retried(STALE)
            connection = await pool.acquire(fresh=True, endpoint=endpoint, only_that_endpoint=only)
            start = await judged_again(self.reauthorize, exchange, pool, connection, start)

    async def attempt(  # noqa: PLR0913, PLR0917 -- what is sent, where, and under which terms
        self,
        exchange: Exchange,
        upstream: Upstream,
        serving: Upstream,
        connection: UpstreamConnection,
        start: bytes,
        attempts: Attempts | None = None,
    ) -> bool:
        """Once for each attempt: send the request on `connection`, relay the answer, and give the connection back.

        Args:
            exchange: The request.
            upstream: Where its route leads, with its timeouts.
            serving: The upstream that the connection leads to, which is another after a failover.
            connection: A connection that was lent.
            start: Request line and field lines.
            attempts: The attempts of the request under its traffic policy; None without one.

        Returns:
            True if the answer was relayed; False if `attempts` wants another one, and the client has nothing of this.

        Raises:
            UpstreamFault: there is no whole answer.
        """
        inbound = exchange.inbound
        exchange.attempts += 1
        body = None if attempts is None else attempts.repetition.body
        try:
            connection.send(
                start,
                inbound.head,
                inbound.take() if body is None else body.take(inbound),
                complete=inbound.complete,
                head_timeout=upstream.head_timeout_seconds,
                body_timeout=upstream.body_timeout_seconds,
            )
            if not inbound.complete:
                exchange.stream = self._streams.begin(exchange)
                connection.feed_from(inbound)
                inbound.pipe(connection if attempts is None else attempts.towards(connection))
            response = await connection.response()
            while response.interim:
                if attempts is not None:
                    attempts.repetition.committed = True
                inbound.interim(interim_start(response))
                response = await connection.response()
            if attempts is not None and not attempts.accepts(response):
                observe_answer(serving.cluster, connection, response.status, time.monotonic())
                return False
            exchange.headed = now = _monotonic()
            serving.meter.answered(now - exchange.sent)
            if serving.cluster.observers:
                observe_answer(serving.cluster, connection, response.status, now)
            if not self._answer(exchange, connection, response):
                await self._rest(exchange, connection, response, serving)
        except UpstreamFault as fault:
            observe_fault(serving.cluster, connection, fault)
            raise
        else:
            return True
        finally:
            serving.pool.release(connection)
            if exchange.stream is not None:
                exchange.stream.over()
                exchange.stream = None  # they refer to each other

    def _answer(self, exchange: Exchange, connection: UpstreamConnection, response: ResponseHead) -> bool:
        """Answer with what has come of the response; return whether that is all of it.

        The rest is relayed, but for a tunnel, which :meth:`_rest` opens.
        """
        inbound = exchange.inbound
        exchange.status = response.status
        if response.status >= _REFUSED:
            exchange.head_refused = response.status == TOO_LARGE or (
                response.status in UNCLEAR and not response.keep_alive
            )
        if response.status == _SWITCHING:
            return False
        if self._places is not None:
            response = with_cookies_moved(response, exchange, self._places)
        # RFC 9110 section 8.6
        has_length = b"content-length" in response.first and response.status != _NO_CONTENT
        pieces, complete = connection.take(), connection.complete
        start = response_start(response, exchange.request_id, exchange.cors, self._vary)
        if exchange.hold is not None:
            start += exchange.hold.lines(exchange.headed)
            if not complete:
                exchange.hold.flows_on()
        inbound.answer(
            start,
            response.kind,
            response.length if has_length else None,
            pieces=pieces,
            complete=complete,
            source=connection,
        )
        if complete:
            exchange.ended = exchange.headed  # nothing was awaited since: the clock is not read again
            return True
        stream = exchange.stream
        if stream is None:
            stream = exchange.stream = self._streams.begin(exchange)
        connection.relay(stream.answered(response, pieces, measured=has_length))
        if inbound.connection.full:
            connection.pause()
        return False

    async def _rest(
        self, exchange: Exchange, connection: UpstreamConnection, response: ResponseHead, serving: Upstream
    ) -> None:
        """Let the rest of an answer flow until either side ends, the caller's access does, or the gateway stops."""
        if response.status == _SWITCHING:
            if self._places is not None:
                response = with_cookies_moved(response, exchange, self._places)
            await self._tunnel(exchange, connection, response, serving)
            return
        inbound = exchange.inbound
        serving.downloads.begin(exchange)
        try:
            await connection.finished()
        except StreamEnded as ended:
            exchange.reason, exchange.detail = ended.reason, str(ended)
            if ended.whole:
                inbound.closes = True
                inbound.end()
            else:
                inbound.reset()
        finally:
            serving.downloads.end(exchange)

    async def _tunnel(
        self, exchange: Exchange, connection: UpstreamConnection, response: ResponseHead, serving: Upstream
    ) -> None:
        """Pass bytes both ways until either side ends."""
        inbound = exchange.inbound
        far, early = connection.switch()
        serving.pool.has_switched(connection)
        start = response_start(response, exchange.request_id)
        if exchange.hold is not None:
            start += exchange.hold.lines(exchange.headed)
            exchange.hold.flows_on()
        near = inbound.switch(start, early)
        tunnel = self._tunnels.open()
        admission = exchange.admission
        gate = None if admission is None else admission.gate(exchange)
        tunnel.join((near, inbound.connection), (far, connection), early, gate)
        like_ticket = exchange.credential == "ws"
        watched = [
            self._sockets.opened(
                tunnel,
                exchange.permit,
                self._sockets.now(),
                like_ticket=like_ticket,
                since=exchange.started,
            )
        ]
        try:
            if admission is not None and gate is not None:
                watched.append(await admission.attend(exchange, tunnel, gate))
            await tunnel.ended()
        finally:
            for socket in watched:
                self._sockets.ended(socket)
            self._tunnels.ended(tunnel)
            inbound.received, inbound.sent = tunnel.up, tunnel.down + len(early)
            exchange.reason = "idle" if tunnel.idled else tunnel.parted
