"""Reporting of traffic policies: their metrics, and what ``/status`` has of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.proxy.upstream_selection import is_usable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from gateway.metrics import Metrics
    from gateway.proxy.delivery import Delivery
    from gateway.proxy.upstreams import Upstream

    Upstreams = Callable[[], Iterable[Upstream]]


def publish_deliveries(metrics: Metrics, upstreams: Upstreams) -> None:
    """Publish the metrics of traffic policies; the list of upstreams is read at each scrape."""

    def by_upstream(read: Callable[[Delivery], float]) -> Callable[[], dict[tuple[str, ...], float]]:
        return lambda: {(name,): read(delivery) for name, delivery in _each(upstreams())}

    gauges: tuple[tuple[str, str, Callable[[Delivery], float]], ...] = (
        ("active", "Requests at work, where a traffic policy counts them.", lambda one: one.breaker.active),
        ("retrying", "Those of them that are being sent again.", lambda one: one.breaker.retrying),
        ("awaiting", "Requests that wait for an upstream to come back.", lambda one: len(one.room)),
        ("away", "1: it was not reached, or no endpoint is usable, and another stands in.", _is_away),
    )
    for name, meaning, read in gauges:
        metrics.read_gauges(f"gateway_upstream_{name}", meaning, ("upstream",), by_upstream(read))
    metrics.read_gauges(
        "gateway_upstream_breaker_open",
        "1: the bound is reached, of connections, pending, requests or retries.",
        ("upstream", "bound"),
        lambda: {
            (upstream.name, bound): is_open
            for upstream in upstreams()
            for bound, is_open in open_bounds(upstream).items()
        },
    )
    _publish_counts(metrics, upstreams)


def _publish_counts(metrics: Metrics, upstreams: Upstreams) -> None:
    """Publish what has been counted of retries, refusals and failovers."""

    def by_bound(read: Callable[[Delivery], Mapping[str, int]]) -> Callable[[], dict[tuple[str, ...], float]]:
        return lambda: {
            (name, bound): number
            for name, delivery in _each(upstreams())
            for bound, number in read(delivery).items()
        }

    metrics.read_counters(
        "gateway_upstream_awaited",
        "Requests that have waited for an upstream to come back.",
        ("upstream",),
        lambda: {(name,): delivery.room.entered for name, delivery in _each(upstreams())},
    )
    metrics.read_counters(
        "gateway_upstream_breaker_refused",
        "Requests refused at once, because of a bound: requests, endpoints or waiting.",
        ("upstream", "bound"),
        by_bound(lambda one: one.breaker.refused),
    )
    metrics.read_counters(
        "gateway_upstream_retries_denied",
        "Retries that did not begin, because of a bound: the budget, or retries.",
        ("upstream", "bound"),
        by_bound(lambda one: one.breaker.denied),
    )
    metrics.read_counters(
        "gateway_upstream_failovers",
        "Requests sent to another upstream that stands in.",
        ("upstream", "to"),
        lambda: {
            (name, stand_in.name): delivery.failover.used[place]
            for name, delivery in _each(upstreams())
            for place, stand_in in enumerate(delivery.upstreams)
            if place
        },
    )


def _each(upstreams: Iterable[Upstream]) -> Iterator[tuple[str, Delivery]]:
    """Yield the name and the policy of each upstream but the hosted application."""
    return ((upstream.name, upstream.terms) for upstream in upstreams if upstream.terms is not None)


def _is_away(delivery: Delivery) -> bool:
    """Return whether another upstream stands in."""
    upstreams = delivery.upstreams
    return len(upstreams) > 1 and (delivery.failover.is_away(0) or not is_usable(upstreams[0]))


def open_bounds(upstream: Upstream) -> dict[str, bool]:
    """Return which bounds of an upstream are reached; a bound that is not set never is."""
    pool, terms = upstream.pool, upstream.terms
    bounds = {
        "connections": pool.open >= pool.limits.connections and not pool.idle,
        "pending": pool.open >= pool.limits.connections and pool.waiting >= pool.limits.pending,
    }
    if terms is not None:
        breaker = terms.breaker
        bounds["requests"] = bool(breaker.requests) and breaker.active >= breaker.requests
        bounds["retries"] = bool(breaker.retries) and breaker.retrying >= breaker.retries
    return bounds


def reported(upstream: Upstream) -> dict[str, int]:
    """Return the present figures of an upstream's traffic policy; none of the hosted application."""
    terms = upstream.terms
    if terms is None:
        return {}
    return {
        "active": terms.breaker.active,
        "retrying": terms.breaker.retrying,
        "awaiting": len(terms.room),
        "away": int(_is_away(terms)),
    }
