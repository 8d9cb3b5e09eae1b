"""Sections of the status page: each turns numbers of the report into HTML."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, Final

from gateway.status.recent import quantile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.status.report import Snapshot

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_MOST: Final = 12
NOTHING: Final = "\N{EN DASH}"
_SLOW_SECONDS: Final = 1.0
_LATE_SECONDS: Final = 0.25


def tell(value: object) -> str:
    """Return a value as text that is safe in HTML, within elements and attributes."""
    return escape(str(value), quote=True)


def header(snapshot: Snapshot) -> str:
    """Return the header: the name, the state and the uptime."""
    kind, state = _state(snapshot)
    return (
        f'<header><h1>whatomate-gateway</h1><span class="state {kind}" id="state">{tell(state)}</span>'
        f'<span class="dim">up {_age(snapshot["uptime_seconds"])}</span></header>'
    )


def _state(snapshot: Snapshot) -> tuple[str, str]:
    if not snapshot["listening"]:
        return "bad", "draining"
    if snapshot["store"]["circuit_open"]:
        return "bad", "database away"
    failing = [name for name, upstream in snapshot["upstreams"].items() if upstream["failing"]]
    if failing:
        return "bad", f"upstream failing: {', '.join(failing)}"
    if not snapshot["changes"]["pushed"]:
        return "warn", "revocations unheard"
    return "good", "serving"


def spark(snapshot: Snapshot) -> str:
    """Return a line chart of requests a second over five minutes, with the failed ones below."""
    history = snapshot["recent"]["history"]
    window = snapshot["recent"]["1m"]
    rate = window["requests"] / window["seconds"] if window["seconds"] else 0
    peak = max((all_ for all_, _ in history), default=0) or 1
    width = max(len(history) - 1, 1)

    def line(values: Iterable[float]) -> str:
        return " ".join(f"{at},{48 - 46 * value / peak:.2f}" for at, value in enumerate(values))

    whole = line(one for one, _ in history)
    below = f'<polyline class="failed" points="{line(failed for _, failed in history)}"/>'
    if not any(failed for _, failed in history):
        below = ""
    drawn = (
        f'<svg class="spark" viewBox="0 0 {width} 50" preserveAspectRatio="none" role="img" '
        'aria-label="requests a second over five minutes">'
        f'<polygon class="area" points="0,50 {whole} {width},50"/><polyline class="all" points="{whole}"/>'
        f"{below}</svg>"
        if len(history) > 1
        else '<p class="dim">The first points come in a few seconds.</p>'
    )
    return (
        f'<section id="rate"><h2>Requests a second</h2><div class="number"><span id="rps">{_number(rate)}</span> '
        f"<small>in the last minute, at most {_number(peak if history else 0)} in five</small></div>"
        f"{drawn}</section><br>"
    )


Card = tuple[str, str, str, str, str]
"""Id, title, number (HTML), the text below it, and its colour."""


def figures(snapshot: Snapshot) -> str:
    """Return the cards with the most important numbers."""
    return "".join(
        f'<section><h2>{tell(title)}</h2><div class="number {kind}" id="{name}">{value}</div>'
        f'<div class="dim">{tell(under)}</div></section>'
        for name, title, value, under, kind in (*_of_requests(snapshot), *_of_identity(snapshot))
    )


def _of_requests(snapshot: Snapshot) -> Iterable[Card]:
    window, traffic = snapshot["recent"]["1m"], snapshot["traffic"]
    requests = window["requests"] or 1
    p50, p99 = quantile(0.5, window["buckets"]), quantile(0.99, window["buckets"])
    failed = window["failed"] / requests
    late = traffic["loop_lag_seconds"]
    yield "failed", "Failed", f"{failed:.1%}", "by upstream or gateway, last minute", "bad" if failed else ""
    yield "refused", "Refused", f"{window['refused'] / requests:.1%}", "last minute", ""
    yield "p50", "p50", _seconds(p50), "of the last minute", ""
    yield "p99", "p99", _seconds(p99), "of the last minute", "warn" if (p99 or 0) > _SLOW_SECONDS else ""
    yield "flight", "In flight", _number(traffic["in_flight"]), "requests being served", ""
    yield "sockets", "WebSockets", _number(traffic["tunnels"]), "open", ""
    most = f"of {_number(traffic['connections_max'])} connections"
    yield "clients", "Clients", _number(traffic["connections"]), most, ""
    yield "loop", "Event loop", _seconds(late), "late, in ten seconds", "warn" if late > _LATE_SECONDS else ""


def _of_identity(snapshot: Snapshot) -> Iterable[Card]:
    identity, changes, store, bcrypt = (
        snapshot["identity"],
        snapshot["changes"],
        snapshot["store"],
        snapshot["bcrypt"],
    )
    asked = identity["hits"] + identity["loads"]
    hits = f"{identity['hits'] / asked:.1%}" if asked else NOTHING
    yield "cache", "Cache", hits, f"from memory; {_number(identity['entries'])} known", ""
    lag = _seconds(changes["lag_seconds"])
    if changes["pushed"]:
        yield "lag", "Revocations", lag, "until they are heard", ""
    else:
        yield "lag", "Revocations", lag, "since something was heard", "warn"
    bound = f"of {_number(store['connections_max'])} in use; {_number(store['waiting'])} waiting"
    if store["circuit_open"]:
        yield "store", "Store", "away", bound, "bad"
    else:
        yield "store", "Store", _number(store["connections"] - store["connections_idle"]), bound, ""
    room = f"of {_number(bcrypt['capacity'])} running or waiting"
    yield "bcrypt", "Password work", _number(bcrypt["pending"]), room, ""


def upstreams(snapshot: Snapshot) -> str:
    """Return the table of upstreams."""
    recent = snapshot["recent"]["1m"]["upstreams"]
    rows = []
    for name, now in snapshot["upstreams"].items():
        window = recent.get(name, {"buckets": [], "answered": 0, "failed": 0})
        kind, state = ("bad", f"failing ({now['failing']})") if now["failing"] else ("good", "answers")
        if not now["failing"] and not window["answered"]:
            kind, state = "dim", "idle"
        if now.get("awaiting"):
            kind, state = "bad", f"awaited ({now['awaiting']})"
        elif now.get("away"):
            kind, state = "warn", "away, another stands in"
        elif now["panic"]:
            kind, state = "bad", "panic: too few healthy endpoints"
        rows.append(
            f'<tr><td>{tell(name)}</td><td class="{kind}">{tell(state)}</td><td>{_number(window["answered"])}</td>'
            f"<td>{_number(window['failed'])}</td><td>{_seconds(quantile(0.5, window['buckets']))}</td>"
            f"<td>{_seconds(quantile(0.99, window['buckets']))}</td>"
            f"<td>{_number(now['open'] - now['idle'])}/{_number(now['open'])}</td>"
            f"<td>{_number(now['waiting'] + now.get('awaiting', 0))}</td><td>{_addresses(now['addresses'])}</td></tr>"
        )
    head = ("upstream", "", "answered", "failed", "p50", "p99", "in use/open", "waiting", "addresses")
    return f'<section id="upstreams"><h2>Upstreams, last minute</h2>{_table(head, rows)}</section>'


def _addresses(now: Mapping[str, Mapping[str, float]]) -> str:
    """Return an upstream's addresses with requests at work and open connections; those gone around are marked."""
    return "<br>".join(
        f'<span class="{"bad" if one["behind"] else "good"}">{tell(name)}</span> '
        f"{_number(one['active'])}/{_number(one['open'])}{_ails(one)}"
        for name, one in now.items()
    )


def limits(snapshot: Snapshot) -> str:
    """Return the table of rate limits; nothing if there are none."""
    rows = [
        f"<tr><td>{tell(name)}</td><td>{_number(now['admitted'])}</td><td>{_number(now['refused'])}</td>"
        f"<td>{_number(now['shadow'])}</td><td>{_number(now['keys'])}</td></tr>"
        for name, now in snapshot.get("limits", {}).items()
    ]
    head = ("limit", "admitted", "refused", "in shadow", "callers")
    return f'<section id="limits"><h2>Limits</h2>{_table(head, rows)}</section>' if rows else ""


def _ails(one: Mapping[str, float]) -> str:
    """Return what speaks against an endpoint, in words."""
    words = [word for key, word in (("ejected", "ejected"), ("unhealthy", "fails its checks")) if one[key]]
    return f' <span class="bad">{", ".join(words)}</span>' if words else ""


def denials(snapshot: Snapshot) -> str:
    """Return the counts of requests that the gateway answered itself, by reason."""
    return _counts(
        "denials", "Denials by reason, five minutes", snapshot["recent"]["5m"]["faults"], "refused"
    )


def callers(snapshot: Snapshot) -> str:
    """Return the counts of verdicts on callers."""
    return _counts("callers", "Callers, five minutes", snapshot["recent"]["5m"]["callers"], "part")


def _counts(name: str, title: str, counts: Mapping[str, float], kind: str) -> str:
    rows = []
    most = max(counts.values(), default=1)
    for label, count in sorted(counts.items(), key=lambda one: -one[1])[:_MOST]:
        bar = (
            '<svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true"><rect class="full" width="100" '
            f'height="8"/><rect class="{kind}" width="{100 * count / most:.1f}" height="8"/></svg>'
        )
        rows.append(f'<tr><td>{tell(label)}</td><td class="bar">{bar}</td><td>{_number(count)}</td></tr>')
    table = _table((), rows) if rows else '<p class="dim">None.</p>'
    return f'<section id="{name}"><h2>{tell(title)}</h2>{table}</section>'


def workers_table(workers: Mapping[str, Any]) -> str:
    """Return a table with a line for each worker."""
    rows = []
    for name, snapshot in workers.items():
        if "recent" not in snapshot:
            rows.append(f'<tr><td>{tell(name)}</td><td class="bad">does not answer</td></tr>')
            continue
        window, traffic = snapshot["recent"]["1m"], snapshot["traffic"]
        rate = window["requests"] / window["seconds"] if window["seconds"] else 0
        kind, state = _state(snapshot)
        rows.append(
            f'<tr><td>{tell(name)}</td><td class="{kind}">{tell(state)}</td><td>{_number(rate)}</td>'
            f"<td>{_seconds(quantile(0.99, window['buckets']))}</td><td>{_number(traffic['in_flight'])}</td>"
            f"<td>{_number(traffic['connections'])}</td><td>{_number(snapshot['identity']['entries'])}</td>"
            f"<td>{_age(snapshot['uptime_seconds'])}</td></tr>"
        )
    head = ("worker", "", "requests/s", "p99", "in flight", "clients", "known", "up")
    return f'<section id="workers"><h2>Workers</h2>{_table(head, rows)}</section>'


def _table(head: Iterable[str], rows: Iterable[str]) -> str:
    titles = "".join(f"<th>{tell(title)}</th>" for title in head)
    return f"<table>{f'<thead><tr>{titles}</tr></thead>' if titles else ''}<tbody>{''.join(rows)}</tbody></table>"


def _number(value: float) -> str:
    if value == int(value):
        return f"{int(value):,}".replace(",", "\u202f")
    return f"{value:.1f}"


def _seconds(value: float | None) -> str:
    if value is None:
        return NOTHING
    if value < 1:
        return f"{value * 1000:.1f}\u202fms"
    return f"{value:.1f}\u202fs"


def _age(seconds: float) -> str:
    for size, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f}\u202f{name}"
    return f"{seconds:.0f}\u202fs"
