"""Explanation of a route's delivery: its traffic policy, and the choice among the endpoints of its upstream."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.proxy.decision_context import DecisionContext
    from gateway.proxy.delivery import Delivery
    from gateway.proxy.routes import Route


def policy_of(delivery: Delivery | None) -> dict[str, object]:
    """Return the traffic policy of a route, as far as there is one."""
    if delivery is None:
        return {}
    retry, policy = delivery.retry, dict[str, object]()
    if retry is not None:
        policy["retry"] = {
            "when": retry.causes(),
            "repeat": retry.repeats(),
            "attempts": retry.attempts,
            "body_bytes": retry.body_bytes,
            "try_timeout_seconds": retry.try_seconds,
        }
    for name, bound in (
        ("deadline_seconds", delivery.deadline_seconds),
        ("wait_seconds", delivery.wait_seconds),
        ("breaker_requests", delivery.breaker.requests),
        ("breaker_retries", delivery.breaker.retries),
        ("breaker_endpoint_requests", delivery.breaker.endpoint_requests),
        ("breaker_endpoint_connections", delivery.breaker.endpoint_connections),
        ("failover", [upstream.name for upstream in delivery.upstreams[1:]]),
    ):
        if bound:
            policy[name] = bound
    return {"policy": policy}


def balance_of(route: Route, context: DecisionContext) -> dict[str, object]:
    """Return how an endpoint is chosen; with a key, which one it belongs to."""
    upstream = route.upstream
    cluster, policy, hash_key = upstream.cluster, upstream.cluster.policy, upstream.hash_key
    explanation: dict[str, object] = {"method": policy.method}
    if policy.zone:
        explanation |= {"zone": policy.zone, "zone_spill_over": policy.spill_over}
    if hash_key is not None:
        key = hash_key.of(context)
        chosen = None if key is None else cluster.choose(time.monotonic(), key)
        explanation |= {"hash_by": str(hash_key), "endpoint": None if chosen is None else chosen.name}
    return explanation
