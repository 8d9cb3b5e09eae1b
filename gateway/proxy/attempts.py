"""Attempts of one request under a traffic policy: they send it, and repeat it while the policy allows.

``deliver`` runs once for each request, above :meth:`~gateway.proxy.forward.Forwarder.attempt`, which runs once for each
attempt. Laws:

- A request is sent again only if its policy allows a second one for its method, all of its body is stored, and the
  client has no byte of an answer. A connection that could not be opened is another matter: nothing was sent on it.
- The repetition of a request that met a dead kept-alive connection is no retry: each request has one, as it has without
  a policy. Every other one needs room in the budget, an attempt that is left, and time.
- The caller's access may end while the request waits: an attempt that begins more than ``YOUNG_SECONDS`` after the
  last decision is authorized again.
- A passed deadline counts as silence of the endpoint only if half of it was left when that had the whole request.
- Errors of timers are thrown into the request where it waits, as a client's leaving is.
- At its end every request is counted out, and its timers are cancelled, whatever its outcome.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Final

from authcore.pause_aware import PauseAwareTimer
from gateway.proxy.attempt_timer import AttemptTimer
from gateway.proxy.delivery import Delivered
from gateway.proxy.repetition import Repetition
from gateway.proxy.retry_after import seconds_after
from gateway.proxy.second_verdict import judged_again
from gateway.proxy.streams import YOUNG_SECONDS
from gateway.proxy.traffic_faults import BreakerOpen, DeadlinePassed, EndpointLate
from gateway.proxy.upstream_selection import UNREACHED, UpstreamSelection, asleep
from gateway.traffic.deadline import Deadline
from gateway.wire.faults import UpstreamFault
from gateway.wire.messages import ProtocolError

if TYPE_CHECKING:
    from gateway.proxy.delivery import Delivery
    from gateway.proxy.exchange import Exchange
    from gateway.proxy.forward import Forwarder
    from gateway.proxy.upstreams import Upstream
    from gateway.wire.flow import Sink
    from gateway.wire.messages import ResponseHead
    from gateway.wire.upstream import UpstreamConnection

_REQUEST_TIMEOUT: Final = 408
_LATE: Final = 0.5
"""Share of the deadline for which an endpoint must have had the whole request to be late itself."""


async def deliver(
    forwarder: Forwarder, exchange: Exchange, upstream: Upstream, delivery: Delivery, start: bytes
) -> None:
    """Send a request under a traffic policy, and relay what comes of it.

    Raises:
        UpstreamFault: there is no whole answer.
        BreakerOpen: too many requests are at work.
    """
    if not delivery.breaker.enter():
        upstream.downloads.give_way(upstream.capacity)
        raise BreakerOpen("the breaker's bound of requests is reached")
    attempts = Attempts(exchange, upstream, delivery)
    try:
        attempts.begin()
        await attempts.run(forwarder, start)
    finally:
        attempts.over()
        delivery.breaker.leave()
        exchange.delivered = attempts.delivered()


class Attempts:
    """Attempts of one request.

    Attributes:
        selection: Where its connections lead.
        repetition: Whether it may be sent again.
        causes: Why it was sent again, each time.
    """

    __slots__ = (
        "_deadline",
        "_decided",
        "_delivery",
        "_exchange",
        "_is_retry",
        "_late",
        "_pause",
        "_retries",
        "_timer",
        "_upstream",
        "causes",
        "repetition",
        "selection",
    )

    def __init__(self, exchange: Exchange, upstream: Upstream, delivery: Delivery) -> None:
        self._exchange = exchange
        self._upstream = upstream
        self._delivery = delivery
        self._decided = exchange.decided  # when its caller was judged last
        self._deadline: Deadline | None = None
        self._late: PauseAwareTimer | None = None  # when the deadline passes
        self._timer: AttemptTimer | None = None
        self._retries = 0
        self._is_retry = False  # the present attempt is counted as a retry
        self._pause = 0.0
        self.causes: list[str] = []
        self.repetition = Repetition(exchange.inbound, delivery.retry)
        self.selection = UpstreamSelection(
            exchange, upstream, delivery, must_be_alive=self.repetition.must_be_alive()
        )

    # -- the deadline ------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start the clock of the whole deadline.

        Raises:
            DeadlinePassed: it is over already.
        """
        seconds, retry = self._delivery.deadline_seconds, self._delivery.retry
        try_seconds = 0.0 if retry is None else retry.try_seconds
        if seconds or try_seconds:
            self._timer = AttemptTimer(self._exchange.inbound.connection, try_seconds)
        if not seconds:
            return
        deadline = self._deadline = Deadline(self._exchange.started + seconds)
        left = deadline.left(time.monotonic())
        if not left:
            raise DeadlinePassed("the deadline had passed before the request could be sent")
        self._late = PauseAwareTimer(left, self._expire)

    def _expire(self) -> None:
        """End the request: its answer has not begun in time. A client that owes the body is late itself."""
        inbound = self._exchange.inbound
        if inbound.answered:
            return
        is_owed = not (inbound.complete or inbound.expecting or inbound.held or inbound.sink is None)
        if is_owed:
            inbound.connection.throw(
                ProtocolError(_REQUEST_TIMEOUT, "the request did not arrive within the route's deadline")
            )
            return
        late = "the answer did not begin within the route's deadline"
        whole = None if self._timer is None else self._timer.whole_since
        is_endpoint_late = (
            whole is not None
            and self._deadline is not None  # a pause of this process since then is not the endpoint's
            and self._deadline.left(whole) >= _LATE * self._delivery.deadline_seconds
        )
        inbound.connection.throw(EndpointLate(late) if is_endpoint_late else DeadlinePassed(late))

    def over(self) -> None:
        """End the timers, and the retry if the last attempt was one."""
        self.selection.over()
        self._end_try()
        self._end_retry()
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def delivered(self) -> Delivered | None:
        """Return what the record says of the attempts; None if the policy had nothing to do."""
        selection = self.selection
        stand_in = None if selection.serving.name == self._upstream.name else selection.serving
        if stand_in is not None:
            return Delivered(self.causes, selection.waited, stand_in.name, stand_in.meter)
        if self.causes or selection.waited:
            return Delivered(self.causes, selection.waited, "")
        return None

    # -- one attempt after the other -----------------------------------------------------------------------------

    async def run(self, forwarder: Forwarder, start: bytes) -> None:
        """Send the request until it is answered, or its policy gives up.

        Raises:
            UpstreamFault: there is no whole answer.
        """
        exchange, deadline = self._exchange, self._deadline
        while True:
            fault: UpstreamFault | None = None
            connection: UpstreamConnection | None = None
            self._begin_try()
            try:
                connection = await self._connection()
                if self._has_waited():
                    start = await self._judged(forwarder, connection, start)
                head = start if deadline is None else start + deadline.line(time.monotonic())
                if self._timer is not None and exchange.inbound.complete:
                    self._timer.sent(time.monotonic())
                if await forwarder.attempt(
                    exchange, self._upstream, self.selection.serving, connection, head, self
                ):
                    return
            except UpstreamFault as error:
                fault = error
            finally:
                self._end_try()
            waits = self._delivery.wait_seconds > 0  # then it has waited for a connection already
            cause = "status" if fault is None else self.repetition.cause(fault, connection, waits=waits)
            if fault is not None and not self._again(cause):
                raise fault
            if connection is not None and connection.endpoint is not None and cause != "stale":
                self.selection.avoid.append(connection.endpoint)
            exchange.inbound.detach()
            self.selection.serving.meter.retried(cause)
            self.causes.append(cause)
            if self._pause:
                await asleep(self._pause)

    def _has_waited(self) -> bool:
        """Return whether the caller was judged more than ``YOUNG_SECONDS`` ago."""
        # The first attempt begins when the connection is lent: the clock is not read again.
        is_first = not (self.causes or self.selection.waited)
        return (self._exchange.sent if is_first else time.monotonic()) - self._decided > YOUNG_SECONDS

    async def _judged(self, forwarder: Forwarder, connection: UpstreamConnection, start: bytes) -> bytes:
        """Judge the caller again, and return the start of the attempt.

        Raises:
            AuthError: the caller's access has ended.
        """
        pool = self.selection.serving.pool
        asked = time.monotonic()  # the answer is of then, however long it takes
        start = await judged_again(forwarder.reauthorize, self._exchange, pool, connection, start)
        self._decided = asked
        return start

    async def _connection(self) -> UpstreamConnection:
        """Return a connection, waiting for the upstream to come back if the policy does."""
        selection, fresh = self.selection, bool(self.causes)
        if not self._delivery.wait_seconds:
            return await selection.connection(fresh=fresh)
        if selection.is_awaited:
            connection = None if fresh else selection.at_hand()
            if connection is not None:
                return connection
        else:
            try:
                return await selection.connection(fresh=fresh)
            except UNREACHED:
                pass  # it waits, outside of the handler
        self._end_try()
        connection = await selection.patient()
        self._begin_try()
        return connection

    def _begin_try(self) -> None:
        if self._timer is not None:
            self._timer.begin()

    def _end_try(self) -> None:
        if self._timer is not None:
            self._timer.over()

    def _end_retry(self) -> None:
        if self._is_retry:
            self._is_retry = False
            self._delivery.breaker.end_retry()

    def towards(self, connection: UpstreamConnection) -> Sink:
        """Return the sink for the rest of the request's body, which leads to `connection`."""
        body = self.repetition.body
        sink: Sink = connection if body is None else body.towards(connection)
        return sink if self._timer is None else self._timer.towards(sink)

    def accepts(self, response: ResponseHead) -> bool:
        """Return whether the client gets a final response; False if the request is to be sent again for its status."""
        retry = self._delivery.retry
        self._end_try()
        if retry is not None and response.status in retry.statuses and self.repetition.can():
            after = seconds_after(response)
            if after <= retry.after_seconds and self._again("status", at_least=after):
                return False
        self._end_retry()
        if self._late is not None:
            self._late.cancel()
            self._late = None
        return True

    def _again(self, cause: str, *, at_least: float = 0.0) -> bool:
        """Return whether another attempt may follow, and count it; it begins after ``_pause`` seconds."""
        retry, deadline = self._delivery.retry, self._deadline
        self._pause = 0.0
        if cause == "stale":
            return True
        if not cause or retry is None or self._retries + 1 >= retry.attempts:
            return False
        pause = max(retry.pause(self._retries + 1, random.random()), at_least)  # noqa: S311 -- no secret
        if deadline is not None and pause >= deadline.left(time.monotonic()):
            return False
        self._end_retry()
        if not self._delivery.breaker.begin_retry():
            return False
        self._retries += 1
        self._pause = pause
        self._is_retry = True
        return True
