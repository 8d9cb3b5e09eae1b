"""Selection of the upstream of one request under a traffic policy, and the wait for one that is away.

Laws:

- An upstream that cannot be reached, or none of whose endpoints is usable, hands the request on to the next one by
  priority.
- A request counts at a stand-in as well, which may be at a bound of its own breaker.
- An endpoint at a bound of the breaker gets no request. No balancing policy overrides this, nor does a connection to
  another endpoint that cannot be opened.
- If none can be reached and the policy waits, the request joins the upstream's waiting room. It leaves it when the
  upstream is reached, when its client leaves, or when a deadline passes. Its body is not read meanwhile.
- The time until a request's first connection is its wait, failed tries included. The upstream's own time begins then.
- A request that finds others waiting queues behind them, unless an idle connection proves that the upstream is there.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Final

import structlog

from authcore.pause_aware import PauseAwareTimer
from gateway.proxy.choosing import choose
from gateway.proxy.traffic_faults import BreakerOpen, WaitedTooLong, WaitingRoomFull
from gateway.traffic.breaker import ENDPOINTS, WAITING, BreakerCount
from gateway.wire.drive import Signal
from gateway.wire.faults import UpstreamNotConnected, UpstreamTlsFailed, UpstreamUnreachable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.proxy.delivery import Delivery
    from gateway.proxy.exchange import Exchange
    from gateway.proxy.upstreams import Upstream
    from gateway.traffic.breaker import Breaker
    from gateway.wire.endpoint import Endpoint
    from gateway.wire.upstream import UpstreamConnection

UNREACHED: Final = (UpstreamUnreachable, UpstreamNotConnected)
"""Faults of connections that could not be opened: nothing was sent."""
_HANDED_ON: Final = (*UNREACHED, UpstreamTlsFailed)
_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 0.5

log = structlog.get_logger()


async def asleep(seconds: float) -> None:
    """Wait, in a driven coroutine."""
    signal: Signal[None] = Signal()
    timer = asyncio.get_running_loop().call_later(seconds, signal.set, None)
    try:
        await signal
    finally:
        timer.cancel()


def is_usable(upstream: Upstream) -> bool:
    """Return whether an upstream has an endpoint that is neither ejected nor fails its checks, as far as is known.

    A panic does not count: it makes all endpoints available because none is usable, but here a stand-in is left.
    """
    endpoints = [endpoint for endpoint in upstream.cluster.endpoints if endpoint.weight]
    return not endpoints or any(endpoint.usable for endpoint in endpoints)


class UpstreamSelection:
    """Selection of the upstream of one request.

    Attributes:
        serving: The upstream that the last connection leads to, which is another after a failover.
        avoid: Endpoints that failed the request already: another one is chosen, if there is any.
        waited: Seconds that the request waited for an upstream to come back.
    """

    __slots__ = (
        *("_delivery", "_exchange", "_has_tried", "_must_be_alive", "_stand_in"),
        *("avoid", "serving", "waited"),
    )

    def __init__(
        self, exchange: Exchange, upstream: Upstream, delivery: Delivery, *, must_be_alive: bool
    ) -> None:
        """With `must_be_alive`, the request is not put on a connection that the upstream has closed already."""
        self._exchange = exchange
        self._delivery = delivery
        self._must_be_alive = must_be_alive
        self._has_tried = False
        self._stand_in = BreakerCount()
        self.serving = upstream
        self.avoid: list[Endpoint] = []
        self.waited = 0.0

    @property
    def is_awaited(self) -> bool:
        """True if other requests wait for the upstream now."""
        return len(self._delivery.room) > 0

    async def connection(self, *, fresh: bool) -> UpstreamConnection:
        """Return a lent connection to the first upstream that can be reached; with `fresh`, no idle one.

        Raises:
            UpstreamFault: there is none.
        """
        delivery, failover = self._delivery, self._delivery.failover
        if len(delivery.upstreams) == 1:
            return await self._lent(delivery.upstreams[0], fresh=fresh)
        # Emptied when it is raised: a frame that refers to its own error is a cycle, and holds all of the request.
        refusals: list[Exception] = []
        order = failover.order(time.monotonic())
        for number in sorted(order, key=lambda number: not is_usable(delivery.upstreams[number])):
            upstream, began = delivery.upstreams[number], time.monotonic()
            failover.begin(number, began)
            try:
                connection = await self._lent(upstream, fresh=fresh)
            except _HANDED_ON as error:
                refusals = refusals or [error.with_traceback(None)]
                if failover.failed(number, began, time.monotonic()):
                    log.warning("upstream_away", upstream=upstream.name, error=str(error))
            except BaseException:
                failover.left(number, time.monotonic())
                raise
            else:
                if failover.reached(number):
                    log.info("upstream_back", upstream=upstream.name)
                self.serving = upstream
                return connection
        raise refusals.pop() if refusals else UpstreamUnreachable("there is no upstream")

    async def _lent(self, upstream: Upstream, *, fresh: bool) -> UpstreamConnection:
        """Return a connection of one upstream's pool; the time until the request's first one is measured.

        Raises:
            BreakerOpen: every endpoint that can be reached has as much at work as it may have, or the stand-in has.
        """
        breaker = self._breaker(upstream)
        if not self._stand_in.move(None if upstream is self._delivery.upstreams[0] else breaker):
            raise BreakerOpen("the stand-in's breaker has reached its bound of requests")
        passed_over: list[Endpoint] = []
        while True:
            endpoint, only_that_endpoint = self._endpoint(upstream, passed_over)
            is_first_try, self._has_tried = not self._has_tried, True
            connection = (
                None
                if fresh
                else upstream.pool.idle_connection(must_be_alive=self._must_be_alive, endpoint=endpoint)
            )
            if connection is None:
                upstream.make_room()
                connection = await upstream.pool.acquire(
                    fresh=fresh,
                    must_be_alive=self._must_be_alive,
                    endpoint=endpoint,
                    only_that_endpoint=only_that_endpoint,
                )
            elif is_first_try:
                # Nothing was awaited since: the clock is not read again.
                self._exchange.sent = self._exchange.decided
                upstream.meter.at_once += 1
            there = connection.endpoint
            if there is None or there is endpoint or not breaker.is_over(there.active):
                self._measure(upstream)
                return connection
            # The pool connected to another endpoint than the chosen one, and that one has no place left.
            connection.retired = True
            upstream.pool.release(connection)
            if endpoint is None:
                breaker.refuse(ENDPOINTS)
                raise BreakerOpen("the endpoint has reached the breaker's bound")
            passed_over.append(endpoint)

    def _breaker(self, upstream: Upstream) -> Breaker:
        return self._delivery.breaker if upstream.terms is None else upstream.terms.breaker

    def _measure(self, upstream: Upstream) -> None:
        """Record how long the request waited for its first connection, once."""
        exchange = self._exchange
        if not exchange.sent:
            exchange.sent = time.monotonic()
            upstream.meter.waits.add(exchange.sent - exchange.decided)

    def over(self) -> None:
        """Count the request out, and record the wait of one that ends without ever having had a connection."""
        self._stand_in.move(None)
        if self._has_tried:
            self._measure(self.serving)

    def _endpoint(
        self, upstream: Upstream, passed_over: Sequence[Endpoint] = ()
    ) -> tuple[Endpoint | None, bool]:
        """Return the endpoint for the next attempt, and whether it has to be that one; see :func:`choose`.

        It is none of `passed_over`, to which no connection could be opened.

        Raises:
            BreakerOpen: every endpoint has as much at work as it may have.
        """
        cluster = upstream.cluster
        full: list[Endpoint] = []
        breaker = self._breaker(upstream)
        if breaker.bounds_endpoints:
            full = [
                one
                for one in cluster.endpoints
                if one in passed_over or breaker.is_full(one.active, one.open + one.dialling, one.idle)
            ]
            if full and len(full) == len(cluster.endpoints):
                upstream.downloads.give_way(upstream.capacity)
                breaker.refuse(ENDPOINTS)
                raise BreakerOpen("every endpoint has reached the breaker's bound")
        if cluster.plain:
            return None, False
        chosen = choose(self._exchange, upstream, time.monotonic(), [*self.avoid, *full])
        if chosen[0] in full:  # one that failed the request already is better than one that is full
            chosen = choose(self._exchange, upstream, time.monotonic(), full)
        if chosen[0] in full:
            breaker.refuse(ENDPOINTS)
            raise BreakerOpen("the endpoints that are left have reached the breaker's bound")
        return chosen

    def at_hand(self) -> UpstreamConnection | None:
        """Return an idle connection to the upstream itself, if there is one.

        Raises:
            BreakerOpen: every endpoint has as much at work as it may have.
        """
        exchange, upstream = self._exchange, self._delivery.upstreams[0]
        endpoint = self._endpoint(upstream)[0] if self._breaker(upstream).bounds_endpoints else None
        connection = upstream.pool.idle_connection(must_be_alive=self._must_be_alive, endpoint=endpoint)
        if connection is not None and not exchange.sent:
            exchange.sent = time.monotonic()
            upstream.meter.at_once += 1
        return connection

    async def patient(self) -> UpstreamConnection:
        """Return a connection when the upstream can be reached again.

        Raises:
            WaitingRoomFull: too many requests wait for that.
            WaitedTooLong: it took too long.
        """
        delivery, began = self._delivery, time.monotonic()
        away = WaitedTooLong("the upstream cannot be reached, and did not come back in time")
        throw = self._exchange.inbound.connection.throw
        late = PauseAwareTimer(delivery.wait_seconds, lambda: throw(away))
        try:
            connection: UpstreamConnection | None = None
            while connection is None:
                connection = await self._in_turn()
            return connection
        finally:
            late.cancel()
            self.waited += time.monotonic() - began

    async def _in_turn(self) -> UpstreamConnection | None:
        """Wait in the upstream's room once; return None if the upstream is away again when the turn has come."""
        delivery = self._delivery
        room = delivery.room
        turn: Signal[None] = Signal()
        if not len(room):
            log.warning(
                "upstream_awaited", upstream=delivery.upstreams[0].name, seconds=delivery.wait_seconds
            )
        if not room.join(turn):
            delivery.breaker.refuse(WAITING)
            raise WaitingRoomFull("too many requests wait for the upstream to come back")
        try:
            if not room.leads(turn):
                await turn
            seconds = _FIRST_PAUSE_SECONDS
            while room.leads(turn):
                await asleep(seconds * (0.5 + random.random() / 2))  # noqa: S311 -- no secret
                seconds = min(seconds * 2, _LONGEST_PAUSE_SECONDS)
                connection = await self._tried()
                if connection is not None:
                    turns = room.open()
                    log.info("upstream_back", upstream=delivery.upstreams[0].name, waited=len(turns))
                    for other in turns:
                        other.set(None)
                    return connection
            return await self._tried()
        finally:
            leader = room.leave(turn)
            if leader is not None:
                asyncio.get_running_loop().call_soon(leader.set, None)

    async def _tried(self) -> UpstreamConnection | None:
        """Return a connection; None if the upstream cannot be reached."""
        try:
            return await self.connection(fresh=False)
        except UNREACHED:
            return None
