"""Choice of the endpoint for one attempt, and the report of its outcome to the observers of the endpoints."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gateway.proxy.traffic_faults import DeadlinePassed, EndpointLate
from gateway.traffic.outcomes import ANSWERED, RESET, TIMED_OUT
from gateway.wire.faults import ExpectationUnanswered, UpstreamTimedOut

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.proxy.exchange import Exchange
    from gateway.proxy.upstreams import Upstream
    from gateway.traffic.cluster import Cluster
    from gateway.wire.endpoint import Endpoint
    from gateway.wire.faults import UpstreamFault
    from gateway.wire.upstream import UpstreamConnection


def choose(
    exchange: Exchange, upstream: Upstream, now: float, avoid: Sequence[Endpoint] = ()
) -> tuple[Endpoint | None, bool]:
    """Return the endpoint for an attempt, None if none is known, and whether it has to be that one.

    The key of a consistent hash is the route's, also where the request goes to an upstream that stands in.
    """
    route = exchange.route
    hash_key = upstream.hash_key if route is None else route.upstream.hash_key
    key = None if hash_key is None else hash_key.of(exchange)
    return upstream.cluster.choose(now, key, avoid), key is not None


def observe_answer(cluster: Cluster, connection: UpstreamConnection, status: int, now: float) -> None:
    """Report the status of an endpoint's answer."""
    if connection.endpoint is not None:
        cluster.observed(connection.endpoint, ANSWERED, status, now)


def observe_fault(cluster: Cluster, connection: UpstreamConnection, fault: UpstreamFault) -> None:
    """Report how an endpoint failed an exchange.

    Three faults are not reported: a connection that the endpoint had closed while it was unused; no answer to
    ``Expect: 100-continue``; and a deadline of which the endpoint had the whole request for less than half.
    """
    endpoint = connection.endpoint
    if endpoint is None:
        return
    if isinstance(fault, ExpectationUnanswered):
        return
    if isinstance(fault, (UpstreamTimedOut, EndpointLate)):
        cluster.observed(endpoint, TIMED_OUT, 0, time.monotonic())
    elif not isinstance(fault, DeadlinePassed) and (connection.touched or connection.served == 1):
        cluster.observed(endpoint, RESET, 0, time.monotonic())
