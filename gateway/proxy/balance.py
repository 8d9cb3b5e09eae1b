"""Several endpoints of one upstream: connections are opened to them in turns, to those last reached first.

Laws:

- A pool knows no endpoints: it asks for a connection and gets one. So requests follow connections, and connections are
  spread evenly.
- An endpoint that could not be reached is put behind the others, for a second at first and twice as long each time, up
  to a minute; the first connection ends that. It is still tried before a request fails.
- One attempt takes at most its share of the time there is to connect: what does not answer leaves time for the next.
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
"""Counted no further: two to the sixth is past the longest wait."""

log = structlog.get_logger()


class _Endpoint:
    __slots__ = ("back", "dial", "failures", "name")

    def __init__(self, name: str, dial: Dial) -> None:
        self.name = name
        self.dial = dial
        self.failures = 0
        self.back = 0.0
        """Monotonic seconds until which it stands behind the others."""


class Endpoints:
    """Where an upstream's connections go."""

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
        """Open a connection to the endpoint whose turn it is, or to the next that can be reached.

        Raises:
            OSError: none can.
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
        if endpoint.back > now:  # the same outage, met by another dial
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
