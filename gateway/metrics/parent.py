"""Metrics of the parent process of several workers; the workers count everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

if TYPE_CHECKING:
    from collections.abc import Callable


class ParentMetrics:
    """Metrics of a parent process.

    Attributes:
        registry: Metrics that no worker has.
        shared: Metrics that workers have too and that are merged with theirs: those of the process and of Python, and
            ``gateway_ready``.
        died: Counter of workers that had to be replaced.
    """

    def __init__(self, *, wanted: int, answering: Callable[[], int]) -> None:
        """`answering` returns how many workers have answered lately."""
        registry = self.registry = CollectorRegistry()
        self.shared = CollectorRegistry()
        ProcessCollector(registry=self.shared)
        GCCollector(registry=self.shared)
        # It is merged as the smallest value. A silent worker has no value of its own, so this one makes it 0.
        Gauge("gateway_ready", "Whether all workers may be.", registry=self.shared).set_function(
            lambda: answering() >= wanted
        )
        Gauge("gateway_workers", "Workers there should be.", registry=registry).set(wanted)
        Gauge(
            "gateway_workers_answering", "Workers that answered this scrape.", registry=registry
        ).set_function(answering)
        self.died = Counter(
            "gateway_worker_deaths", "Workers that died and were replaced.", registry=registry
        )
