"""Metrics of the gateway: ``registry`` declares them, ``meters`` counts requests.

Other parts of the gateway add their own by ``Metrics.counter``, ``read_counter``, ``read_gauge`` or
``read_histogram``; docs/metrics.md lists all of them.
"""

from gateway.metrics.admin import admin_refusals
from gateway.metrics.meters import RouteMeter, UpstreamMeter
from gateway.metrics.pages import CONTENT_TYPE, merged, page
from gateway.metrics.parent import ParentMetrics
from gateway.metrics.registry import Metrics
from gateway.metrics.together import Together, add_up

__all__ = [
    "CONTENT_TYPE",
    "Metrics",
    "ParentMetrics",
    "RouteMeter",
    "Together",
    "UpstreamMeter",
    "add_up",
    "admin_refusals",
    "merged",
    "page",
]
