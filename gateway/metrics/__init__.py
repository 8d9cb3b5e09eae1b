"""Every number the gateway tells about itself. ``registry`` is where they meet, ``meters`` where requests count.

Another part of the gateway adds its own by ``Metrics.counter``, ``tally``, ``watch`` or ``spread``; docs/metrics.md
lists all there are.
"""

from gateway.metrics.meters import RouteMeter, UpstreamMeter
from gateway.metrics.pages import CONTENT_TYPE, merged, page
from gateway.metrics.parent import ParentMetrics
from gateway.metrics.registry import Metrics

__all__ = ["CONTENT_TYPE", "Metrics", "ParentMetrics", "RouteMeter", "UpstreamMeter", "merged", "page"]
