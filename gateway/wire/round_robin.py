"""Round-robin load balancer over the endpoints of one upstream, with backoff for endpoints that cannot be reached.

Laws:

- A pool knows no endpoints: it asks for a connection and gets one. Requests follow connections, and connections are
  spread evenly.
- An endpoint that could not be reached is tried after the others, for one second at first and twice as long each time,
  up to a minute. The next connection to it ends that. It is still tried before a request fails.
- One attempt takes at most its share of the connect timeout: an endpoint that does not answer leaves time for the next.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.wire.pool import Dial
    from gateway.wire.upstream import UpstreamConnection

LONGEST_SECONDS: Final = 60.0
_MOST_FAILURES: Final = 7
"""Failures are counted up to here: two to the sixth seconds exceeds the longest wait."""

log = structlog.get_logger()


class _Endpoint:
    __slots__ = ("back", "dial", "failures", "name")

    def __init__(self, name: str, dial: Dial) -> None:
        self.name = name
        self.dial = dial
        self.failures = 0
        self.back = 0.0
        """Monotonic time in seconds until which it is tried after the others."""


class Endpoints:
    """Load balancer of one upstream's connections."""

    def __init__(
        self,
        dials: Mapping[str, Dial],
        connect_timeout_seconds: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._endpoints = [_Endpoint(name, dial) for name, dial in dials.items()]
        self._share = connect_timeout_seconds / len(self._endpoints)
        self._now = now
        self._turn = -1

    async def dial(
        self, protocol: Callable[[], UpstreamConnection]
    ) -> tuple[asyncio.BaseTransport, UpstreamConnection]:
        """Open a connection to the next endpoint in turn, or to the first one after it that can be reached.

        Raises:
            OSError: no endpoint can be reached.
        """
        refusal: OSError = ConnectionRefusedError("no endpoint")
        for endpoint in self._in_turn():
            try:
                async with asyncio.timeout(self._share):
                    opened = await endpoint.dial(protocol)
            except OSError as error:
                refusal = error
                self._failed(endpoint, error)
            else:
                endpoint.failures, endpoint.back = 0, 0.0
                return opened
        raise refusal

    def _in_turn(self) -> list[_Endpoint]:
        self._turn = (self._turn + 1) % len(self._endpoints)
        turned = self._endpoints[self._turn :] + self._endpoints[: self._turn]
        now = self._now()
        return sorted(turned, key=lambda endpoint: endpoint.back if endpoint.back > now else 0.0)

    def _failed(self, endpoint: _Endpoint, error: OSError) -> None:
        now = self._now()
        if endpoint.back > now:  # the same outage, found by another dial
            return
        endpoint.failures = min(endpoint.failures + 1, _MOST_FAILURES)
        wait = min(LONGEST_SECONDS, 2.0 ** (endpoint.failures - 1))
        endpoint.back = now + wait
        log.warning(
            "endpoint_unreachable",
            endpoint=endpoint.name,
            error=str(error) or type(error).__name__,
            behind_the_others_for_seconds=wait,
        )
