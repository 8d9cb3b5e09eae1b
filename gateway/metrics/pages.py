"""Prometheus exposition page of one process, or of several side by side.

Law: side by side, samples of several processes are distinguished by a label and never added up. Adding up is
:mod:`gateway.metrics.together`, which knows what processes that have gone had counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from prometheus_client.metrics_core import Metric

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST


def page(registry: CollectorRegistry) -> bytes:
    """Return every metric of a registry in Prometheus' text format."""
    return generate_latest(registry)


class FixedCollector(Collector):
    """Collector of metric families that are there already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """Return the families."""
        return self._families


def merged(pages: Mapping[str, str], *, label: str, own: CollectorRegistry | None = None) -> bytes:
    """Merge several metrics pages into one; each page's samples get their own value of `label`.

    Args:
        pages: The pages, by the value of the label.
        label: The name of the label.
        own: Metrics of the merging process, which do not get the label.
    """
    families: dict[str, Metric] = {}
    for value, text in pages.items():
        for family in text_string_to_metric_families(text):
            known = families.setdefault(family.name, family)
            samples = [sample._replace(labels={**sample.labels, label: value}) for sample in family.samples]
            known.samples = samples if known is family else [*known.samples, *samples]
    registry = CollectorRegistry(auto_describe=False)
    registry.register(FixedCollector(families.values()))
    return generate_latest(registry) + (b"" if own is None else generate_latest(own))
