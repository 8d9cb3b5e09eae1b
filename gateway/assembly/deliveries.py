"""Compiler of traffic policies: it turns settings and route file into the policies of routes and upstreams.

Law: the state of an upstream (its counts, its waiting room, its failover order) is made once for a name, and outlives
every change of the route file; a change of bounds applies to the counts that there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from config.delivery import CONNECT, IDEMPOTENT, KEYED, RESET, STALE
from gateway.proxy.delivery import Delivery
from gateway.traffic.breaker import Breaker
from gateway.traffic.failover import Failover
from gateway.traffic.retry import RetryBudget, RetryPolicy
from gateway.traffic.waiting import WaitingRoom

if TYPE_CHECKING:
    from collections.abc import Mapping

    from config.routes import RouteEntry
    from gateway.proxy.upstreams import Upstream

    Words = Mapping[str, Any]

_AS_WITHOUT: Final = (STALE,)
"""What is repeated without a policy, and only for requests without a body."""


def flat(entered: Words) -> dict[str, Any]:
    """Return the keys of the nested policies as the settings call them: ``retry.attempts`` is ``retry_attempts``."""
    return {
        f"{policy}_{key}": value
        for policy in ("retry", "breaker")
        for key, value in (entered.get(policy) or {}).items()
    }


class Deliveries:
    """Compiler of the traffic policies of one gateway.

    Attributes:
        now: The policies of the current upstreams, by name.
    """

    def __init__(self) -> None:
        self.now: dict[str, Delivery] = {}

    @staticmethod
    def of_upstream(words: Words) -> tuple[Delivery, bool]:
        """Return a policy, and whether anything is configured; :meth:`connect` gives it its state.

        Args:
            words: The settings of an upstream's group, with those of its entry over them.
        """
        delivery = Delivery(
            retry=retry_policy(words),
            deadline_seconds=words["deadline_seconds"],
            wait_seconds=words["wait_seconds"],
            breaker=Breaker(),
            room=WaitingRoom(),
            failover=Failover(1),
            words=words,
        )
        is_on = bool(
            delivery.retry is not None
            or delivery.deadline_seconds
            or delivery.wait_seconds
            or words["breaker_requests"]
            or words["breaker_endpoint_requests"]
            or words["breaker_endpoint_connections"]
            or words.get("failover")
        )
        return delivery, is_on

    def connect(self, upstreams: Mapping[str, Upstream], failovers: Mapping[str, tuple[str, ...]]) -> None:
        """Give each policy the upstreams that it may use, and the state that its upstream has."""
        for name, upstream in upstreams.items():
            delivery, stand_ins, present = upstream.terms, failovers[name], self.now.get(name)
            if delivery is None:
                continue
            delivery.upstreams = [upstream, *(upstreams[other] for other in stand_ins)]
            delivery.failover = Failover(1 + len(stand_ins))
            if present is None:
                continue
            delivery.breaker = present.breaker
            if present.upstreams[0].pool is upstream.pool:
                delivery.room = present.room  # else the first in the queue would connect by another pool
            if tuple(present.words.get("failover") or ()) == stand_ins:
                delivery.failover = present.failover

    def settle(self, upstreams: Mapping[str, Upstream]) -> None:
        """Make the policies of a plan the current ones: their bounds apply from now on."""
        self.now = {
            name: upstream.terms for name, upstream in upstreams.items() if upstream.terms is not None
        }
        for delivery in self.now.values():
            words, breaker = delivery.words, delivery.breaker
            breaker.requests, breaker.retries = words["breaker_requests"], words["breaker_retries"]
            breaker.endpoint_requests = words["breaker_endpoint_requests"]
            breaker.endpoint_connections = words["breaker_endpoint_connections"]
            breaker.budget = RetryBudget(words["retry_budget_percent"], words["retry_budget_floor"])
            delivery.room.most = words["wait_requests"]


def of_route(terms: Delivery | None, entry: RouteEntry) -> Delivery | None:
    """Return the policy of a route with policies of its own, from its upstream's `terms`; None if it has none."""
    if terms is None or (entry.retry is None and entry.deadline_seconds is None):
        return None
    own = entry.model_dump(exclude_none=True, include={"retry", "deadline_seconds"})
    words = {**terms.words, **flat(own)}
    seconds = terms.deadline_seconds if entry.deadline_seconds is None else entry.deadline_seconds
    return terms.of_route(retry_policy(words), seconds)


def retry_policy(words: Words) -> RetryPolicy | None:
    """Return the retry policy; None if a request is repeated as it is without one."""
    when: tuple[str, ...] = tuple(words["retry_when"])
    if when == _AS_WITHOUT and not words["retry_try_timeout_seconds"]:
        return None
    return RetryPolicy(
        on_stale=STALE in when,
        on_connect=CONNECT in when,
        on_reset=RESET in when,
        on_timeout=bool(when),  # without a cause nothing is sent twice, whatever an attempt may take
        statuses=frozenset(int(word) for word in when if word.isdecimal()),
        attempts=words["retry_attempts"],
        try_seconds=words["retry_try_timeout_seconds"],
        backoff_seconds=words["retry_backoff_seconds"],
        backoff_max_seconds=words["retry_backoff_max_seconds"],
        after_seconds=words["retry_after_seconds"],
        idempotent=IDEMPOTENT in words["retry_repeat"],
        keyed=KEYED in words["retry_repeat"],
        body_bytes=words["retry_body_bytes"],
    )
