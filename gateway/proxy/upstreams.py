"""Upstream as the pipeline sees it: a name, a connection pool, a cluster of endpoints and timeouts."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.metrics import UpstreamMeter
from gateway.proxy.delivery import Delivery
from gateway.proxy.downloads import Downloads
from gateway.proxy.hash_key import HashKey
from gateway.proxy.places import Places
from gateway.proxy.uploads import Uploads
from gateway.traffic.cluster import Cluster
from gateway.wire.pool import UpstreamPool


@dataclass(frozen=True, slots=True, eq=False)
class Upstream:
    """Upstream: where requests are forwarded to.

    Attributes:
        name: Its name in metrics and logs.
        pool: Its connections.
        head_timeout_seconds: Longest time from the end of the request to the response's head.
        body_timeout_seconds: Longest time without a byte of the response's body.
        meter: Its metrics, bound.
        withheld: Keys of the identity headers that it is not sent, unless a route overrides them.
        authority: The Host of requests that came without one.
        places: The bulkhead before it; None where there is none, as for all but the hosted application.
        delivery: The traffic policy of its requests; None if none is configured.
        terms: The same, whether or not something is configured: what a route's own policy is made from.
        cluster: Its endpoints, and which of them a request goes to.
        uploads: Its requests whose bodies are still coming.
        downloads: Its answers that flow on.
        hash_key: What of a request its endpoint follows from; None where the cluster's policy chooses.
    """

    name: str
    pool: UpstreamPool
    head_timeout_seconds: float
    body_timeout_seconds: float
    meter: UpstreamMeter = field(default_factory=UpstreamMeter)
    withheld: frozenset[str] = frozenset()
    authority: bytes = b"gateway"
    places: Places | None = None
    delivery: Delivery | None = None
    terms: Delivery | None = None
    cluster: Cluster = field(default_factory=Cluster)
    hash_key: HashKey | None = None
    uploads: Uploads = field(default_factory=Uploads)
    downloads: Downloads = field(default_factory=Downloads)

    @property
    def capacity(self) -> int:
        """Most requests that it can have at work: the least of its bounds, of the pool and of its breaker."""
        connections = self.pool.limits.connections
        if self.terms is None:
            return connections
        return min(connections, self.terms.breaker.capacity(len(self.cluster.endpoints)) or connections)

    def make_room(self) -> None:
        """Have an answer give way before a request has to wait for a connection; :mod:`gateway.proxy.downloads`."""
        if not (self.pool.has_room or self.pool.idle):
            self.downloads.give_way(self.capacity)
