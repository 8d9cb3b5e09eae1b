"""Aggregation of the metrics of worker processes: one page, on which they are one gateway.

Laws:

- Counters and histograms are added up, of the present processes and of those that have gone. So none ever falls, and
  what a worker had counted at the last scrape is not lost with it.
- A gauge is added up, or its worst value counts, as its name is listed below. A test holds every gauge to the list.
- A worker that does not answer has its last counters on the page, and no gauges.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric, Sample
from prometheus_client.parser import text_string_to_metric_families

from gateway.metrics.pages import FixedCollector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Labels = tuple[tuple[str, str], ...]

_CREATED: Final = "_created"
"""Ending of the moments at which counters began, which are those of processes and not of the gateway."""
_GROWING: Final = frozenset({"counter", "histogram"})

LARGEST: Final = frozenset(
    {
        "gateway_audit_away",
        "gateway_bcrypt_level",
        "gateway_build_info",
        "gateway_changes_expected",
        "gateway_changes_lag_seconds",
        "gateway_issuer_keys",
        "gateway_issuer_outdated",
        "gateway_key_ring_keys",
        "gateway_key_ring_outdated",
        "gateway_limit_used_ratio",
        "gateway_loop_lag_seconds",
        "gateway_quotas_away",
        "gateway_routes",
        "gateway_shed_level",
        "gateway_store_circuit_open",
        "gateway_store_disk_full",
        "gateway_store_read_only",
        "gateway_upstream_addresses",
        "gateway_upstream_addresses_behind",
        "gateway_upstream_away",
        "gateway_upstream_breaker_open",
        "gateway_upstream_endpoint_ejected",
        "gateway_upstream_endpoint_unhealthy",
        "gateway_upstream_failing",
        "gateway_upstream_panic",
        "python_info",
    }
)
"""Gauges of which the largest value counts: something is wrong with one worker, or all have the same value."""
SMALLEST: Final = frozenset(
    {
        "gateway_changes_pushed",
        "gateway_limits_store_up",
        "gateway_ready",
        "gateway_routes_loaded_timestamp_seconds",
        "gateway_routes_reload_ok",
        "gateway_tls_certificate_expiry_timestamp_seconds",
        "gateway_whatomate_redis_up",
        "process_start_time_seconds",
    }
)
"""Gauges of which the smallest value counts."""
FARTHEST: Final = frozenset({"gateway_clock_skew_seconds"})
"""Gauges of which the value counts that is farthest from zero."""
ADDED: Final = frozenset(
    {
        "gateway_audit_waiting",
        "gateway_bcrypt_capacity",
        "gateway_bcrypt_networks",
        "gateway_bcrypt_pending",
        "gateway_connections",
        "gateway_connections_max",
        "gateway_hosted_networks",
        "gateway_hosted_taken",
        "gateway_hosted_waiting",
        "gateway_identity_bytes",
        "gateway_identity_entries",
        "gateway_identity_ignored",
        "gateway_identity_loads_in_flight",
        "gateway_identity_refusals",
        "gateway_keys_proving",
        "gateway_last_used_waiting",
        "gateway_limit_keys",
        "gateway_limits_store_leased_units",
        "gateway_limits_store_leases",
        "gateway_log_pending",
        "gateway_quotas_subjects",
        "gateway_requests_in_flight",
        "gateway_sockets",
        "gateway_sockets_unproven",
        "gateway_store_connections",
        "gateway_store_connections_allowed",
        "gateway_store_connections_idle",
        "gateway_store_connections_max",
        "gateway_store_waiting",
        "gateway_streams",
        "gateway_tasks",
        "gateway_tls_handshakes_under_way",
        "gateway_tunnels",
        "gateway_upstream_active",
        "gateway_upstream_awaiting",
        "gateway_upstream_connections",
        "gateway_upstream_connections_idle",
        "gateway_upstream_connections_max",
        "gateway_upstream_endpoint_active",
        "gateway_upstream_retrying",
        "gateway_upstream_waiting",
        "process_max_fds",
        "process_open_fds",
        "process_resident_memory_bytes",
        "process_virtual_memory_bytes",
    }
)
"""Gauges that are added up: each worker has its own."""


def _farthest(values: Iterable[float]) -> float:
    return max(values, key=abs)


def rule(name: str) -> Callable[[Iterable[float]], float]:
    """Return the function that merges several workers' values of a gauge. One that is in no list is added up."""
    if name in LARGEST:
        return max
    if name in SMALLEST:
        return min
    return _farthest if name in FARTHEST else sum


class Pages(NamedTuple):
    """Metrics pages of worker processes that are to be merged.

    Attributes:
        past: Counters of the processes that have gone.
        fresh: The pages of workers that have just answered.
        silent: The last pages of the others.
    """

    past: list[Metric]
    fresh: list[str]
    silent: list[str]


class Together:
    """Metrics of all workers: the last page of each, and the counters of those that have gone."""

    def __init__(self) -> None:
        self._latest: dict[int, str] = {}
        self._past: list[Metric] = []

    def read(self, answering: Mapping[int, str]) -> Pages:
        """Note the pages of the workers that answer, each in the place of its last one; return all to add up."""
        self._latest.update(answering)
        silent = [page for worker, page in self._latest.items() if worker not in answering]
        return Pages(self._past, [*answering.values()], silent)

    def gone(self, worker: int) -> None:
        """Note that the process of a worker has ended: its last counters count on, beside those of its successor."""
        page = self._latest.pop(worker, None)
        if page is not None:
            self._past = _added([self._past, _growing(page)])


def add_up(pages: Pages, own: Iterable[CollectorRegistry] = ()) -> bytes:
    """Return the page of all; `own` are registries of the merging process, which may have metrics of the same names."""
    families = [pages.past, *map(_families, pages.fresh), *map(_growing, pages.silent)]
    families += [[*registry.collect()] for registry in own]
    registry = CollectorRegistry(auto_describe=False)
    registry.register(FixedCollector(_added(families)))
    return generate_latest(registry)


def _growing(page: str) -> list[Metric]:
    return [one for one in _families(page) if one.type in _GROWING]


def _families(page: str) -> list[Metric]:
    return [one for one in text_string_to_metric_families(page) if not one.name.endswith(_CREATED)]


def _added(pages: Iterable[Iterable[Metric]]) -> list[Metric]:
    """Return the families of several pages as one, sample by sample."""
    families: dict[str, Metric] = {}
    values: dict[str, dict[tuple[str, Labels], list[float]]] = {}
    for page in pages:
        for family in page:
            if family.name not in families:
                families[family.name] = Metric(family.name, family.documentation, family.type)
            of_family = values.setdefault(family.name, {})
            for sample in family.samples:
                if not sample.name.endswith(_CREATED):
                    label = (sample.name, tuple(sorted(sample.labels.items())))
                    of_family.setdefault(label, []).append(sample.value)
    for name, family in families.items():
        merge = sum if family.type in _GROWING else rule(name)
        family.samples = [
            Sample(sample, dict(labels), merge(numbers)) for (sample, labels), numbers in values[name].items()
        ]
    return [*families.values()]
