"""Prober of one upstream: it checks each endpoint at its interval, for as long as the endpoint is there.

Laws:

- Each endpoint is checked by a Task of its own: one that hangs delays no other. Checks of one never overlap.
- An endpoint is checked at once when it is new, and then at intervals that differ by chance, so that several gateways
  do not check at the same moments for ever.
- Nothing is checked after :meth:`close`, nor an endpoint that has gone.
"""

from __future__ import annotations

import asyncio
from random import random
from typing import TYPE_CHECKING

import structlog

from gateway.wire.probe import ProbeTerms, probe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.traffic.health import HealthPolicy
    from gateway.wire.endpoint import Endpoint
    from gateway.wire.probe import Probed

log = structlog.get_logger()


class Prober:
    """Prober of one upstream.

    Attributes:
        policy: The terms of the checks.
    """

    def __init__(
        self,
        policy: HealthPolicy,
        note: Callable[[Endpoint, Probed], None],
        chance: Callable[[], float] = random,
    ) -> None:
        """`note` is called with each result; `chance` returns numbers that are evenly spread from 0 to 1."""
        self.policy = policy
        self._note = note
        self._chance = chance
        self._tasks: dict[Endpoint, asyncio.Task[None]] = {}

    def follow(self, endpoints: Iterable[Endpoint]) -> None:
        """Check these endpoints from now on, and no others."""
        present = list(endpoints)
        for endpoint in self._tasks.keys() - set(present):
            self._tasks.pop(endpoint).cancel()
        for endpoint in present:
            if endpoint not in self._tasks:
                self._tasks[endpoint] = asyncio.get_running_loop().create_task(
                    self._watch(endpoint), name=f"check {endpoint.name}"
                )

    def close(self) -> None:
        """Check nothing any more."""
        self.follow(())

    async def _watch(self, endpoint: Endpoint) -> None:
        policy = self.policy
        terms = ProbeTerms(
            policy.path.encode("ascii"),
            policy.host or endpoint.authority.host_field,
            policy.statuses,
            policy.body,
            policy.timeout_seconds,
        )
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            try:
                await self._check(endpoint, terms)
            except Exception:
                # A check that fails in a way of ours is none of the endpoint's, and is not the last.
                log.exception("check_failed", endpoint=endpoint.name)
            due = begun + policy.pause(self._chance())
            await asyncio.sleep(max(due - loop.time(), 0.0))

    async def _check(self, endpoint: Endpoint, terms: ProbeTerms) -> None:
        probed = await probe(endpoint, terms)
        if probed is not None:
            self._note(endpoint, probed)
