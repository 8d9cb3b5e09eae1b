"""The page that Prometheus scrapes, of one process and of several.

Law: samples of several processes are told apart by a label and never added up: a worker that is replaced begins at
nothing, and a sum of counters that falls would be read as a burst.
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


class _Kept(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def merged(pages: Mapping[str, str], *, label: str, own: CollectorRegistry | None = None) -> bytes:
    """Merge pages of metrics into one, each page's samples under its own value of `label`.

    Args:
        pages: A page of metrics for each value.
        label: The name of the label.
        own: Metrics of whoever merges, which get no such label.
    """
    families: dict[str, Metric] = {}
    for value, text in pages.items():
        for family in text_string_to_metric_families(text):
            known = families.setdefault(family.name, family)
            samples = [sample._replace(labels={**sample.labels, label: value}) for sample in family.samples]
            known.samples = samples if known is family else [*known.samples, *samples]
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Kept(families.values()))
    return generate_latest(registry) + (b"" if own is None else generate_latest(own))
