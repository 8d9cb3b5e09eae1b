"""The end of a gateway, in stages.

1. Unready: ``/readyz`` says so, and every answer says ``Connection: close``. Connections are still accepted and
   requests still served, for as long as whoever balances the load needs to notice.
2. Closed: nothing new is accepted, and connections that rest are closed. What is in flight goes on.
3. Sockets are told, one after the other over the first half of the drain time: their clients come back as a trickle,
   not as a flood. Event streams, which end by themselves never, follow in the second half.
4. What is left at the end is dropped.

Law: :meth:`Drain.hurry` ends every stage at once, from whichever it is in.
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
        """Something open that ends when it is told, and not by itself."""

        def leave(self) -> None:
            """End as the protocol wants it: with a word to the client, losing nothing that is whole."""


POLL_SECONDS: Final = 0.02
SOCKETS_BY: Final = 0.5
STREAMS_BY: Final = 0.9
"""The part of the drain time after which all of them have been told."""


class Drain:
    """The end of one gateway."""

    def __init__(
        self,
        listener: Listener,
        *,
        sockets: Callable[[], Collection[Leaver]],
        streams: Callable[[], Collection[Leaver]],
        drain_seconds: float,
    ) -> None:
        """`sockets` and `streams` return those that are open."""
        self._listener = listener
        self._sockets = sockets
        self._streams = streams
        self._seconds = drain_seconds
        self._hurried = asyncio.Event()
        self.begun = False

    def hurry(self) -> None:
        """Wait for nothing any more."""
        self._hurried.set()

    async def announce(self, seconds: float) -> None:
        """Be unready, and serve on for `seconds`."""
        self.begun = True
        self._listener.draining = True
        if seconds and not self._hurried.is_set():
            try:
                await asyncio.wait_for(self._hurried.wait(), seconds)
            except TimeoutError:
                return

    async def finish(self, server: asyncio.Server) -> None:
        """Accept nothing more, give what is in flight its time, and drop what has not ended by then."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(
            0
        )  # what the kernel has accepted already is taken in this turn of the loop, not reset
        server.close()
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
        await asyncio.sleep(0)  # their losses are told in the next turn of the loop


class _Stagger:
    """Tells those who are open to leave, evenly from one moment to another."""

    def __init__(self, those: Callable[[], Collection[Leaver]], begin: float, end: float) -> None:
        self._those = those
        self._begin = begin
        self._end = end
        self._told: set[Leaver] = set()

    def tell(self, now: float) -> None:
        """Tell as many as are due; the rest is spread over the time that is left, whoever came meanwhile."""
        if now < self._begin:
            return
        left = [one for one in self._those() if one not in self._told]
        turns = max(1, math.ceil((self._end - now) / POLL_SECONDS))
        for one in left[: math.ceil(len(left) / turns)]:
            self._told.add(one)
            one.leave()
