"""An upstream as the pipeline sees it: a name, a pool of connections, and how long it may take."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.metrics import UpstreamMeter
from gateway.wire.pool import Pool


@dataclass(frozen=True, slots=True, eq=False)
class Upstream:
    """Where requests go.

    Attributes:
        name: For metrics and logs.
        pool: Its connections.
        head_timeout_seconds: From the request sent to the response's head.
        body_timeout_seconds: Without a byte of the response's body.
        meter: Its metrics, bound.
        withheld: Keys of the identity headers that it is not sent, unless a route says otherwise.
    """

    name: str
    pool: Pool
    head_timeout_seconds: float
    body_timeout_seconds: float
    meter: UpstreamMeter = field(default_factory=UpstreamMeter)
    withheld: frozenset[str] = frozenset()
