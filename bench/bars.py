"""Bars of the benchmark: the ratios that the gateway must reach, and how each is worked out of the rounds."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

from bench import candidates as c

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.report import Results, Row

FIRST: Final = "470 B, 64 connections"
MANY: Final = "470 B, 256 connections"
VARIED: Final = "varied, 64 connections"
ECHO: Final = "WebSocket echo of 32 bytes, 256 sockets"
SECURE: Final = "470 B by TLS, 64 connections"


@dataclass(frozen=True)
class Spread:
    """Median of the rounds, with the lowest and the highest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of the rounds' `values`."""
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True)
class Ratio:
    """Ratios of the gateway to another proxy, by rate and by CPU per request; above 1, it is better."""

    rate: Spread
    cpu: Spread


@dataclass(frozen=True)
class Bar:
    """Ratio that must be reached.

    Attributes:
        name: Its name in the table.
        load: The load.
        ours: The compiled gateway.
        slow: The same, interpreted; empty if it takes no part.
        theirs: What each is measured against; empty for itself, at `their_load`.
        wanted: The ratio that the compiled gateway must reach.
        slow_wanted: The ratio that the interpreted one must reach; None if there is none.
        their_load: The load of the other, if it is another one.
    """

    name: str
    load: str
    ours: str
    slow: str
    theirs: str
    wanted: float
    slow_wanted: float | None = None
    their_load: str = ""


BARS: Final = (
    Bar("JWT against nginx that only forwards", FIRST, c.GATEWAY_JWT, c.GATEWAY_SLOW, c.NGINX, 1.0),
    Bar("API key against nginx that only forwards", FIRST, c.GATEWAY_KEY, c.GATEWAY_SLOW_KEY, c.NGINX, 1.0),
    Bar("JWT against HAProxy `jwt_verify`", FIRST, c.GATEWAY_JWT, c.GATEWAY_SLOW, c.HAPROXY, 1.0, 1.0),
    Bar(
        "requests and answers that vary, against HAProxy",
        VARIED,
        c.GATEWAY_JWT,
        c.GATEWAY_SLOW,
        c.HAPROXY,
        1.0,
    ),
    Bar(
        "with the access log on, against HAProxy with its log",
        FIRST,
        c.GATEWAY_LOGGED,
        c.GATEWAY_SLOW_LOGGED,
        c.HAPROXY_LOGGED,
        0.9,
    ),
    Bar("256 connections against 64", MANY, c.GATEWAY_JWT, c.GATEWAY_SLOW, "", 0.95, None, FIRST),
    Bar("TLS in, against HAProxy with TLS", SECURE, c.GATEWAY_TLS, c.GATEWAY_SLOW_TLS, c.HAPROXY_TLS, 0.8),
)
SOCKET_BARS: Final = (Bar(f"{ECHO}, against nginx", ECHO, c.GATEWAY_JWT, c.GATEWAY_SLOW, c.NGINX, 0.9),)
"""Bars of loads that wrk does not send."""


def taking_part(bars: Sequence[Bar]) -> dict[str, list[str]]:
    """Return the candidates that each load must be sent to, by its name."""
    found: dict[str, list[str]] = {}
    for bar in bars:
        for candidate in (bar.ours, bar.slow):
            for load, name in ((bar.load, candidate), (bar.their_load or bar.load, bar.theirs or candidate)):
                if name and name not in found.setdefault(load, []):
                    found[load].append(name)
    return found


def ratio(bar: Bar, ours: str, results: Results) -> Ratio | None:
    """Return what `ours` reached, each round against the other's same round; None if one took no part."""
    mine = results.get((bar.load, ours), [])
    others = results.get((bar.their_load or bar.load, bar.theirs or ours), [])
    pairs = list(zip(mine, others, strict=False))
    if not pairs:
        return None
    return Ratio(
        Spread.of([one.measured.rate / other.measured.rate for one, other in pairs]),
        Spread.of([cpu_per_request(other) / cpu_per_request(one) for one, other in pairs]),
    )


def cpu_per_request(row: Row) -> float:
    """Return the candidate's CPU seconds for each request."""
    return row.cpu / row.measured.requests
