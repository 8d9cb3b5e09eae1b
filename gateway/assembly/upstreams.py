"""Upstream registry: it holds the proxied upstreams and their connection pools.

Laws:

- An upstream that is in the new plan, too, keeps its pool, and what is known of the endpoints that it still has:
  their connections, requests at work and failures. Bounds, addresses and policies change under it.
- An upstream that vanishes, or is secured by other TLS, drains: idle connections close at once, the others when their
  exchange has ended.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import structlog

from authcore.identity_headers import ALL, withheld
from config.groups.traffic import EndpointEntry
from config.route_plan import DEFAULT_UPSTREAM
from gateway.assembly.deliveries import Deliveries, flat
from gateway.assembly.watching import watch_over, watch_policy
from gateway.logs.limited import LimitedEvents
from gateway.proxy.hash_key import parse_hash_key
from gateway.proxy.upstreams import Upstream
from gateway.traffic.cluster import BalancePolicy, Cluster
from gateway.traffic.watch import WatchPolicy
from gateway.wire.endpoint import Authority
from gateway.wire.endpoint_dialler import EndpointDialler
from gateway.wire.pool import PoolLimits, UpstreamPool
from gateway.wire.tls import UpstreamTls, UpstreamTlsTerms

if TYPE_CHECKING:
    from config.groups.tls import TlsEntry
    from config.route_plan import RoutePlan
    from config.routes import UpstreamEntry
    from config.settings import Settings
    from gateway.metrics import Metrics
    from gateway.wire.deadlines import Deadlines
    from gateway.wire.resolver import Resolver
    from gateway.wire.write_buffer import WriteBatch

_SECURE: Final = "https://"
_UNIX: Final = "unix:"
_NO_VALUES: Final = {"url", "endpoints", "tls", "health", "ejection"}
"""Keys of an upstream's entry that are not among the settings of GATEWAY_UPSTREAM_*, or mean something else there."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Spec:
    """Parameters of an upstream's pool and cluster; two upstreams of one name and equal TLS share them."""

    places: tuple[EndpointEntry, ...]
    limits: PoolLimits
    tls: UpstreamTlsTerms | None = None
    balance: BalancePolicy = field(default_factory=BalancePolicy)
    watch: WatchPolicy = field(default_factory=WatchPolicy)


class Upstreams:
    """Registry of the current upstreams.

    Attributes:
        now: The current upstreams, by name.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        deadlines: Deadlines,
        write_batch: WriteBatch,
        resolver: Resolver | None = None,
    ) -> None:
        """Without `resolver` nothing can be sent to names; it is for explaining, which sends nothing."""
        self._settings = settings
        self._resolver = resolver
        self._metrics = metrics
        self._deadlines = deadlines
        self._write_batch = write_batch
        self._specs: dict[str, _Spec] = {}
        self._deliveries = Deliveries()
        self.now: dict[str, Upstream] = {}
        self._events = LimitedEvents()

    def planned(self, plan: RoutePlan | None) -> dict[str, tuple[_Spec, Upstream]]:
        """Return the upstreams of a plan, with the present pools of those that stay and new pools for the others.

        Raises:
            ValueError: there is no upstream at all.
        """
        entries: dict[str, UpstreamEntry | None] = {}
        if self._settings.upstream.url:
            entries[DEFAULT_UPSTREAM] = None
        if plan is not None:
            entries |= plan.upstreams
        elif not entries:
            raise ValueError("GATEWAY_UPSTREAM_URL is required")
        planned = {name: self._one(name, entry) for name, entry in entries.items()}
        failovers = {
            name: () if entry is None else tuple(entry.failover or ()) for name, entry in entries.items()
        }
        self._deliveries.connect({name: upstream for name, (_, upstream) in planned.items()}, failovers)
        return planned

    def _one(self, name: str, entry: UpstreamEntry | None) -> tuple[_Spec, Upstream]:
        """Make one upstream; the settings give the values that `entry` leaves out."""
        default = self._settings.upstream
        entered = {} if entry is None else entry.model_dump(exclude_none=True, exclude=_NO_VALUES)
        entered |= flat(entered)
        # The identity words in the settings apply only to the service behind GATEWAY_UPSTREAM_URL.
        identity = default.identity if name == DEFAULT_UPSTREAM else (ALL,)
        merged = {**default.model_dump(), "identity": identity, **entered}
        places = (EndpointEntry(url=merged["url"]),) if entry is None else entry.places
        tls = default.tls if name == DEFAULT_UPSTREAM else None
        if entry is not None and entry.tls is not None:
            tls = entry.tls
        spec = _Spec(
            places,
            PoolLimits(
                connections=merged["connections"],
                pending=merged["pending"],
                idle_seconds=merged["idle_seconds"],
                connect_timeout_seconds=merged["connect_timeout_seconds"],
                max_age_seconds=merged["max_age_seconds"],
            ),
            tls_terms(tls) if any(place.url.startswith(_SECURE) for place in places) else None,
            BalancePolicy(merged["balance"], merged["zone"], merged["zone_spill_over"]),
            watch_policy(default, entry, ours=name == DEFAULT_UPSTREAM),
        )
        before = self._specs.get(name)
        if before is not None and before.tls == spec.tls:
            pool, cluster = self.now[name].pool, self.now[name].cluster
        else:
            pool, cluster = self._pool(name, spec)
        terms, is_on = self._deliveries.of_upstream(merged)
        return spec, Upstream(
            name,
            pool,
            head_timeout_seconds=merged["head_timeout_seconds"],
            body_timeout_seconds=merged["body_timeout_seconds"],
            meter=self._metrics.upstream(name),
            withheld=withheld(merged["identity"]),
            authority=(urlsplit(places[0].url).netloc or "localhost").encode("ascii"),
            cluster=cluster,
            hash_key=parse_hash_key(merged["hash_by"]),
            delivery=terms if is_on else None,
            terms=terms,
        )

    def _pool(self, name: str, spec: _Spec) -> tuple[UpstreamPool, Cluster]:
        if spec.tls is not None and spec.tls.insecure:
            log.warning(
                "upstream_insecure",
                upstream=name,
                meaning="any certificate is accepted: who is on the way can read and change everything",
                todo="name the authority of its certificate, and leave `insecure` out",
            )
        tls = None if spec.tls is None else UpstreamTls(spec.tls)
        endpoints = EndpointDialler(
            _authorities(spec, tls),
            self._resolver,
            handshake_seconds=spec.limits.connect_timeout_seconds,
            zone=spec.balance.zone,
        )
        pool = UpstreamPool(endpoints.dial, spec.limits, self._deadlines, self._write_batch, tls)
        cluster = Cluster(spec.balance)
        watch_over(name, spec.watch, endpoints, cluster)
        pool.endpoints, endpoints.retire = endpoints, pool.lifetimes.retire
        return pool, cluster

    def settle(self, planned: dict[str, tuple[_Spec, Upstream]]) -> None:
        """Make the upstreams of a plan the current ones, follow their names, and drain all other pools."""
        before = self.now
        for name, (spec, upstream) in planned.items():
            if self._specs.get(name, spec) != spec:
                _change(upstream, spec)
        self.now = {name: upstream for name, (_, upstream) in planned.items()}
        self._specs = {name: spec for name, (spec, _) in planned.items()}
        self._deliveries.settle(self.now)
        for upstream in self.now.values():
            if upstream.pool.endpoints is not None:
                upstream.pool.endpoints.follow()
            if upstream.cluster.watch is not None and self._resolver is not None:
                upstream.cluster.watch.begin()
        in_use = {id(upstream.pool) for upstream in self.now.values()}
        for upstream in before.values():
            if id(upstream.pool) not in in_use:
                upstream.pool.close()
                if upstream.cluster.watch is not None:
                    upstream.cluster.watch.close()

    async def look(self) -> None:
        """Read the files of TLS again if they have changed; one that cannot be used changes nothing."""
        for name, upstream in list(self.now.items()):
            tls = upstream.pool.tls
            if tls is None:
                continue
            try:
                taken = await asyncio.to_thread(tls.look)
            except OSError as error:
                self._events.warning(
                    "certificates_not_taken",
                    key=name,
                    upstream=name,
                    problem=str(error),
                    kept="the certificates that were in use",
                )
            else:
                if taken:
                    log.info("certificates_taken", upstream=name)

    def close(self) -> None:
        """Drain all pools."""
        self.settle({})


def tls_terms(entry: TlsEntry | None) -> UpstreamTlsTerms:
    """Return the terms of TLS that an entry has."""
    if entry is None:
        return UpstreamTlsTerms()
    return UpstreamTlsTerms(
        authorities=entry.ca_file,
        server_name=entry.server_name,
        certificate=entry.cert_file,
        key=entry.key_file,
        min_version=entry.min_version,
        insecure=entry.verify == "insecure",
    )


def _change(upstream: Upstream, spec: _Spec) -> None:
    """Give new parameters to the pool and the cluster of an upstream that stays."""
    pool = upstream.pool
    pool.resize(spec.limits)
    upstream.cluster.configure(spec.balance)
    if upstream.cluster.watch is not None:
        upstream.cluster.watch.configure(spec.watch)
    if pool.endpoints is not None:
        pool.endpoints.handshake_seconds = spec.limits.connect_timeout_seconds
        pool.endpoints.zone = spec.balance.zone
        pool.endpoints.lead_to(_authorities(spec, pool.tls))


def _authorities(spec: _Spec, tls: UpstreamTls | None) -> list[Authority]:
    return [
        replace(authority_of(one.url, tls), weight=one.weight, zone=one.zone, priority=one.priority)
        for one in spec.places
    ]


def authority_of(url: str, tls: UpstreamTls | None) -> Authority:
    """Return the authority of an upstream's URL; `tls` is for https:// alone."""
    if url.startswith(_UNIX):
        return Authority(url.removeprefix(_UNIX), 0)
    parts = urlsplit(url)
    if not url.startswith(_SECURE):
        return Authority(parts.hostname or "", parts.port or 80)
    return Authority(parts.hostname or "", parts.port or 443, tls)
