"""Bulkhead before the hosted application: how many of its requests are worked on at once, in all and of one network.

Laws:

- A client network has no more requests at work than its share; the others wait in turns (:mod:`authcore.fair_queue`),
  those of one network by route. What waits has no connection to the application.
- Only a request that has come whole is given a place: nobody holds one by a body that does not come.
- What waits is bounded by number and by time. Past its own bounds a network is refused with
  :class:`~authcore.errors.TooManyAtOnce`, past those of all with :class:`~authcore.errors.Overloaded`.
- A place is given back whatever became of its request.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from authcore.errors import Overloaded, TooManyAtOnce
from authcore.fair_queue import FairQueue, Lane, QueueFull
from authcore.figures import MetricSample
from authcore.networks import network
from authcore.pause_aware import PauseAwareTimer
from gateway.wire.drive import Signal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.wire.inbound import Inbound


_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n"


class _Body:
    """Sink that keeps a request's body until it is whole."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces
        self.whole: Signal[None] = Signal()

    def body(self, piece: bytes) -> None:
        """Keep a piece."""
        self.pieces.append(piece)

    def end(self) -> None:
        """Let the exchange go on, when the parser has returned."""
        asyncio.get_running_loop().call_soon(self.whole.set, None)


async def whole(inbound: Inbound) -> None:
    """Wait, in a driven coroutine, until a request has come whole, as far as its limit lets it."""
    if inbound.expecting:
        inbound.interim(_CONTINUE)
    body = _Body(inbound.take())
    inbound.pipe(body)
    await body.whole
    inbound.sink = None
    inbound.pieces = body.pieces


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceLimits:
    """Bounds of the places.

    Attributes:
        total: Requests at work at once.
        share: The same of one network.
        waiting: Requests that wait at most.
        waiting_share: The same of one network.
        seconds: How long one waits.
    """

    total: int
    share: int
    waiting: int
    waiting_share: int
    seconds: float


class Places:
    """Bulkhead: the places of requests to the hosted application.

    Attributes:
        limits: The bounds.
        entered: Requests that got a place, since the start.
        refused: Requests that got none.
        refused_of_network: Those of them whose network was past its own bounds.
    """

    def __init__(self, limits: PlaceLimits) -> None:
        self.limits = limits
        self._queue: FairQueue[Signal[None]] = FairQueue(
            total=limits.total + limits.waiting, each=limits.share + limits.waiting_share, share=limits.share
        )
        self._admitting = False
        self.entered = self.refused = self.refused_of_network = 0

    @property
    def taken(self) -> int:
        """Number of requests that have a place."""
        return self._queue.running

    @property
    def waiting(self) -> int:
        """Number of requests that wait for a place."""
        return len(self._queue)

    async def enter(self, client: str, route: str) -> Lane:
        """Wait for a place, in a driven coroutine, and return what :meth:`leave` is to be given.

        Args:
            client: The client's address.
            route: The name of the route that it asks for.

        Raises:
            TooManyAtOnce: too many requests of its network wait, or have waited for too long.
            Overloaded: too many requests wait.
        """
        lane, turn = Lane(network(client), route), Signal[None]()
        try:
            lost = self._queue.put(lane, turn)
        except QueueFull as full:
            raise self._refusal(of_network=full.of_network) from None
        if lost is not None:
            other, displaced = lost
            displaced.fail(self._refusal(of_network=other.network == lane.network))
        self._admit()
        if not turn.done:
            late = PauseAwareTimer(self.limits.seconds, lambda: self._late(lane, turn))
            try:
                await turn
            finally:  # a turn that has not come is not waited for any longer
                late.cancel()
                self._queue.discard(lane, turn)
        self.entered += 1
        return lane

    def leave(self, lane: Lane) -> None:
        """Give a place back, to the request whose turn it is."""
        self._queue.done(lane)
        self._admit()

    def figures(self) -> Iterable[MetricSample]:
        """Return the metrics to publish."""
        yield MetricSample(
            "taken", "Requests to the gateway's own endpoints that are at work.", lambda: self.taken
        )
        yield MetricSample("waiting", "Such requests that wait for a place.", lambda: self.waiting)
        yield MetricSample("networks", "Client networks with such requests.", lambda: self._queue.networks)
        yield MetricSample("entered", "Such requests that got a place.", lambda: self.entered, counts=True)
        yield MetricSample("refused", "Such requests that got no place.", lambda: self.refused, counts=True)
        yield MetricSample(
            "refused_of_network",
            "Such requests refused because their client network had too many.",
            lambda: self.refused_of_network,
            counts=True,
        )

    def _admit(self) -> None:
        """Give the free places to those whose turn it is, each of which runs on at once, and may leave meanwhile."""
        if self._admitting:
            return
        self._admitting = True
        try:
            while self._queue.running < self.limits.total and (taken := self._queue.take()) is not None:
                taken[1].set(None)
        finally:
            self._admitting = False

    def _late(self, lane: Lane, turn: Signal[None]) -> None:
        turn.fail(self._refusal(of_network=self._queue.at_share(lane.network)))

    def _refusal(self, *, of_network: bool) -> Overloaded:
        self.refused += 1
        self.refused_of_network += of_network
        return TooManyAtOnce() if of_network else Overloaded()
