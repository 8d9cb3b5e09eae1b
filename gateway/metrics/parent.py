"""Metrics of the parent process of several workers; each worker publishes all others itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge

if TYPE_CHECKING:
    from collections.abc import Callable


class ParentMetrics:
    """Metrics of a parent process.

    Attributes:
        registry: All of them; none has the name of a worker's metric.
        died: Counter of workers that had to be replaced.
    """

    def __init__(self, *, wanted: int, answering: Callable[[], int]) -> None:
        """`answering` returns how many workers have answered lately."""
        registry = self.registry = CollectorRegistry()
        Gauge("gateway_workers", "Workers there should be.", registry=registry).set(wanted)
        Gauge(
            "gateway_workers_answering", "Workers that answered this scrape.", registry=registry
        ).set_function(answering)
        self.died = Counter(
            "gateway_worker_deaths", "Workers that died and were replaced.", registry=registry
        )
