"""Graceful shutdown of a gateway, in stages.

1. Unready: ``/readyz`` reports it, and every answer has ``Connection: close``. Connections are still accepted and
   requests still served, for as long as a load balancer needs to notice.
2. Closed: no connection is accepted, and idle connections are closed. Exchanges in flight go on.
3. Sockets are closed one after the other over the first half of the drain time, so that their clients reconnect as a
   trickle and not as a flood. Event streams, which never end by themselves, follow in the second half.
4. What is left at the end is dropped.

Law: :meth:`Drain.hurry` ends every stage at once, whichever it is in.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Protocol

    from gateway.wire.listener import Listener

    class Leaver(Protocol):
        """Open socket or event stream: it ends when it is asked to, and not by itself."""

        def leave(self) -> None:
            """End as the protocol demands: the client is notified, and nothing complete is lost."""


POLL_SECONDS: Final = 0.02
SOCKETS_BY: Final = 0.5
STREAMS_BY: Final = 0.9
"""The share of the drain time after which all of them have been asked to end."""


class Drain:
    """Graceful shutdown of one gateway."""

    def __init__(
        self,
        listener: Listener,
        *,
        sockets: Callable[[], Collection[Leaver]],
        streams: Callable[[], Collection[Leaver]],
        drain_seconds: float,
    ) -> None:
        """`sockets` and `streams` return the open ones."""
        self._listener = listener
        self._sockets = sockets
        self._streams = streams
        self._seconds = drain_seconds
        self._hurried = asyncio.Event()
        self.begun = False

    @property
    def is_hurried(self) -> bool:
        """True if nothing is waited for any more."""
        return self._hurried.is_set()

    def hurry(self) -> None:
        """End the present stage, and all later ones, at once."""
        self._hurried.set()

    async def announce(self, seconds: float) -> None:
        """Become unready, and serve on for `seconds`."""
        self.begun = True
        self._listener.draining = True
        if seconds and not self._hurried.is_set():
            try:
                await asyncio.wait_for(self._hurried.wait(), seconds)
            except TimeoutError:
                return

    async def finish(self, close: Callable[[], None]) -> None:
        """Stop accepting by `close`, give exchanges in flight their time, and drop what has not ended by then."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0)  # connections that the kernel has accepted are taken in this turn, not reset
        close()
        self._listener.drain()
        begun = loop.time()
        sockets = _Stagger(self._sockets, begun, begun + self._seconds * SOCKETS_BY)
        streams = _Stagger(
            self._streams, begun + self._seconds * SOCKETS_BY, begun + self._seconds * STREAMS_BY
        )
        while self._listener.open and not self._hurried.is_set():
            now = loop.time()
            if now >= begun + self._seconds:
                break
            sockets.tell(now)
            streams.tell(now)
            await asyncio.sleep(POLL_SECONDS)
        self._listener.abort()
        await asyncio.sleep(0)  # connection_lost() is called in the next turn of the loop


class _Stagger:
    """Spreads the calls of ``leave`` evenly over an interval."""

    def __init__(self, those: Callable[[], Collection[Leaver]], begin: float, end: float) -> None:
        self._those = those
        self._begin = begin
        self._end = end
        self._notified: set[Leaver] = set()

    def tell(self, now: float) -> None:
        """Ask as many as are due to leave; the rest, later arrivals included, is spread over the remaining time."""
        if now < self._begin:
            return
        left = [one for one in self._those() if one not in self._notified]
        turns = max(1, math.ceil((self._end - now) / POLL_SECONDS))
        for one in left[: math.ceil(len(left) / turns)]:
            self._notified.add(one)
            one.leave()
