"""Upstream registry: it holds the proxied upstreams and their connection pools.

Laws:

- An upstream that is the same in a new plan keeps its pool, and so its connections.
- An upstream that vanishes, or changes its address or its bounds, drains: idle connections close at once, the others
  when their exchange has ended.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from authcore.identity_headers import ALL, withheld
from config.routes import DEFAULT_UPSTREAM
from gateway.proxy.upstreams import Upstream
from gateway.wire.pool import PoolLimits, UpstreamPool
from gateway.wire.round_robin import Endpoints

if TYPE_CHECKING:
    from collections.abc import Callable

    from config.route_file import RoutePlan
    from config.routes import UpstreamEntry
    from config.settings import Settings
    from gateway.metrics import Metrics
    from gateway.wire.deadlines import Deadlines
    from gateway.wire.pool import Dial
    from gateway.wire.upstream import UpstreamConnection
    from gateway.wire.write_buffer import WriteBuffers


@dataclass(frozen=True, slots=True)
class _Spec:
    """Parameters of a pool; two upstreams of one name and equal parameters share one."""

    urls: tuple[str, ...]
    limits: PoolLimits


class Upstreams:
    """Registry of the current upstreams.

    Attributes:
        now: The current upstreams, by name.
    """

    def __init__(
        self, settings: Settings, metrics: Metrics, deadlines: Deadlines, outbox: WriteBuffers
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._deadlines = deadlines
        self._outbox = outbox
        self._specs: dict[str, _Spec] = {}
        self.now: dict[str, Upstream] = {}

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
        return {name: self._one(name, entry) for name, entry in entries.items()}

    def _one(self, name: str, entry: UpstreamEntry | None) -> tuple[_Spec, Upstream]:
        """Make one upstream; the settings give the values that `entry` leaves out."""
        default = self._settings.upstream
        entered = {} if entry is None else entry.model_dump(exclude_none=True)
        # The identity words in the settings apply only to the service behind GATEWAY_UPSTREAM_URL.
        identity = default.identity if name == DEFAULT_UPSTREAM else (ALL,)
        merged = {**default.model_dump(), "identity": identity, **entered}
        spec = _Spec(
            (merged["url"],) if isinstance(merged["url"], str) else tuple(merged["url"]),
            PoolLimits(
                connections=merged["connections"],
                pending=merged["pending"],
                idle_seconds=merged["idle_seconds"],
                connect_timeout_seconds=merged["connect_timeout_seconds"],
            ),
        )
        stays = self._specs.get(name) == spec
        pool = self.now[name].pool if stays else self._pool(spec)
        label = "upstream" if entry is None else name
        return spec, Upstream(
            label,
            pool,
            head_timeout_seconds=merged["head_timeout_seconds"],
            body_timeout_seconds=merged["body_timeout_seconds"],
            meter=self._metrics.upstream(label),
            withheld=withheld(merged["identity"]),
            authority=urlsplit(spec.urls[0]).netloc.encode("ascii"),
        )

    def _pool(self, spec: _Spec) -> UpstreamPool:
        return UpstreamPool(_dial(spec), spec.limits, self._deadlines, self._outbox)

    def settle(self, planned: dict[str, tuple[_Spec, Upstream]]) -> None:
        """Make the upstreams of a plan the current ones, and drain the pools that are not among them."""
        before = self.now
        self.now = {name: upstream for name, (_, upstream) in planned.items()}
        self._specs = {name: spec for name, (spec, _) in planned.items()}
        in_use = {id(upstream.pool) for upstream in self.now.values()}
        for upstream in before.values():
            if id(upstream.pool) not in in_use:
                upstream.pool.close()

    def close(self) -> None:
        """Drain all pools."""
        self.settle({})


def _dial(spec: _Spec) -> Dial:
    dials = {url: _dial_tcp(url) for url in spec.urls}
    if len(dials) == 1:
        return dials[spec.urls[0]]
    return Endpoints(dials, spec.limits.connect_timeout_seconds).dial


def _dial_tcp(url: str) -> Dial:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 80

    async def dial(
        protocol: Callable[[], UpstreamConnection],
    ) -> tuple[asyncio.BaseTransport, UpstreamConnection]:
        return await asyncio.get_running_loop().create_connection(protocol, host, port)

    return dial
