"""Dialler of one upstream's endpoints: it opens a connection to the wanted one, or to that with the fewest connections.

Laws:

- Each address of each name is an endpoint. A new connection goes to the endpoint that it is asked for; if to none, or
  if that one cannot be reached, to the endpoint with the fewest connections, in turns among equals.
- Those of a lower priority come first, and of these those in the own zone. One of weight 0 is not connected to.
- An endpoint that is not available (ejected, or failing its checks: :mod:`gateway.traffic.watch`) is tried after the
  others, and still before a request fails.
- An endpoint that could not be reached, or was silent until another had answered, is reported, and so is each that was.
- The endpoints are tried in a staggered race (:mod:`gateway.wire.dialler`), the families by turns: one that is silent
  costs a quarter of a second.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import TYPE_CHECKING

from authcore.pause_aware import PauseAwareTimeout
from gateway.wire.address_book import AddressBook
from gateway.wire.dialler import RACE_SECONDS, over, race
from gateway.wire.endpoint import by_turns
from gateway.wire.farewell import END_SECONDS

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from gateway.wire.dialler import Attempt
    from gateway.wire.endpoint import Authority, Endpoint
    from gateway.wire.resolver import Resolver
    from gateway.wire.upstream import UpstreamConnection


class EndpointDialler(AddressBook):
    """Dialler of one upstream's endpoints.

    Attributes:
        handshake_seconds: Seconds that several endpoints share for TLS; None for no bound.
        zone: The own zone; empty if it is not known.
        unreached: Called with an endpoint that could not be reached, the error, the time, and whether that says
            something about it: not if it is of an address family by which nothing of the upstream is reached.
        reached: Called with an endpoint to which a connection was opened, and the time.
    """

    def __init__(
        self,
        authorities: Sequence[Authority],
        resolver: Resolver | None = None,
        now: Callable[[], float] = time.monotonic,
        *,
        handshake_seconds: float | None = None,
        zone: str = "",
    ) -> None:
        """Create a dialler of the addresses in `authorities`; without `resolver`, names have none.

        Several endpoints share `handshake_seconds` for TLS, so that one that hangs leaves time for the next.
        """
        super().__init__(authorities, resolver)
        self.handshake_seconds = handshake_seconds
        self.zone = zone
        self._now = now
        self._turn = -1
        self.unreached: Callable[[Endpoint, OSError, float, bool], None] = (
            lambda _endpoint, _error, _now, _counts: None
        )
        self.reached: Callable[[Endpoint, float], None] = lambda _endpoint, _now: None

    async def dial(
        self, protocol: Callable[[], UpstreamConnection], to: Endpoint | None = None
    ) -> tuple[asyncio.BaseTransport, UpstreamConnection]:
        """Open a connection to `to`, or else to the first endpoint in turn that can be reached.

        Raises:
            OSError: no endpoint can be reached, or none is known. An endpoint that was reached and whose handshake
                failed says more than those that were not reached.
        """
        while not self.serving():  # what was found may be of a name that is not the upstream's any more
            await self.found()
        waiting = self._in_turn(to)
        # Emptied when it is raised: a frame that refers to its own error is a cycle.
        refusals: list[OSError] = []
        while waiting:
            try:
                connected, endpoint = await self._raced(waiting)
            except OSError:
                if refusals and isinstance(refusals[0], ssl.SSLError):
                    break
                raise
            endpoint.dialling += 1
            seconds = self.handshake_seconds if len(waiting) > 1 else None
            try:
                async with PauseAwareTimeout(seconds and seconds / len(waiting)):
                    transport, connection = await self._secured(connected, endpoint.authority, protocol)
            except OSError as error:
                refusals = [error.with_traceback(None)]
                self._failed(endpoint, error)
                waiting.remove(endpoint)
            else:
                self.reached(endpoint, self._now())
                if connection.is_open:  # else its pool has counted it as gone
                    connection.endpoint = endpoint
                    endpoint.open += 1
                    connection.retired = endpoint not in self.every()  # its name moved meanwhile
                return transport, connection
            finally:
                endpoint.dialling -= 1
        raise refusals.pop() if refusals else ConnectionRefusedError("no endpoint")

    @staticmethod
    async def _secured(
        connected: socket.socket, authority: Authority, protocol: Callable[[], UpstreamConnection]
    ) -> tuple[asyncio.Transport, UpstreamConnection]:
        """Return a transport over a connected socket, with TLS if its URL wants it."""
        tls = authority.tls
        if tls is None:
            return await over(connected, protocol)
        name = tls.server_name(authority.host)
        opened = await over(
            connected, protocol, context=tls.context, server_hostname=name, end_seconds=END_SECONDS
        )
        tls.opened(opened[0])
        return opened

    async def _raced(self, waiting: list[Endpoint]) -> tuple[socket.socket, Endpoint]:
        """Connect to one of `waiting`, and note of those before it that they could not be reached."""
        attempts: list[Attempt] = []
        first = waiting[0]
        first.dialling += 1
        try:
            connected = await race([endpoint.destination for endpoint in waiting], attempts)
        except OSError as error:
            for attempt in attempts:
                self._failed(_of(waiting, attempt), error)
            raise
        except asyncio.CancelledError:
            late = asyncio.get_running_loop().time() - RACE_SECONDS
            for attempt in attempts:
                if attempt.begun <= late:
                    self._failed(_of(waiting, attempt), TimeoutError("it did not answer in time"))
            raise
        finally:
            first.dialling -= 1
        won = next(place for place, attempt in enumerate(attempts) if attempt.socket is connected)
        winner = _of(waiting, attempts[won])
        winner.worked = True
        for attempt in attempts[:won]:
            self._failed(_of(waiting, attempt), TimeoutError("it did not answer before another one"))
        return connected, winner

    def _in_turn(self, to: Endpoint | None) -> list[Endpoint]:
        every = self.serving()
        self._turn = (self._turn + 1) % len(every)
        turned = every[self._turn :] + every[: self._turn]
        good = [endpoint for endpoint in turned if endpoint.available]
        good.sort(key=lambda endpoint: endpoint.open + endpoint.dialling)
        behind = [endpoint for endpoint in turned if not endpoint.available]
        row = [*self._by_rank(good), *self._by_rank(behind)]
        if to in row:
            row.remove(to)
            row.insert(0, to)
        return row

    def _by_rank(self, endpoints: list[Endpoint]) -> list[Endpoint]:
        """Return endpoints by priority and zone, and those of one rank with the address families by turns."""
        ranks: dict[tuple[int, bool], list[Endpoint]] = {}
        for endpoint in endpoints:
            is_far = bool(self.zone) and endpoint.zone != self.zone
            ranks.setdefault((endpoint.priority, is_far), []).append(endpoint)
        return [endpoint for rank in sorted(ranks) for endpoint in by_turns(ranks[rank])]

    def _failed(self, endpoint: Endpoint, error: OSError) -> None:
        self.unreached(endpoint, error, self._now(), not self._is_other_family(endpoint))

    def _is_other_family(self, endpoint: Endpoint) -> bool:
        """Return whether the upstream is reached by one family alone, and `endpoint` is of the other."""
        reached = {other.destination[0] for other in self.every() if other.worked}
        return bool(reached) and endpoint.destination[0] not in reached


def _of(endpoints: list[Endpoint], attempt: Attempt) -> Endpoint:
    # Not by `is`: compiled, an endpoint makes its tuple anew each time that it is asked.
    return next(endpoint for endpoint in endpoints if endpoint.destination == attempt.destination)
