"""Sections of the status page: each turns numbers of the report into HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.status.recent import LONGEST, MINUTE, quantile
from gateway.status.tables import overall
from gateway.status.text import NOTHING, Cell, age, bar, number, seconds, span, table, tell

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gateway.status.causes import Cause
    from gateway.status.report import Snapshot

_MOST: Final = 12
_FAILURES: Final = frozenset({"internal", "store_down", "issuer_down", "quota_unknown", "limit_unknown"})
"""Reasons that are the gateway's own failures; those of upstreams begin with ``upstream_``. All others deny a request
because of what it is, or because a limit was met."""
RUNBOOK: Final = "docs/runbook.md"


def header(snapshot: Snapshot) -> str:
    """Return the header: the name, the state and the uptime."""
    kind, state = overall(snapshot)
    return (
        f'<header><h1>whatomate-gateway</h1><span class="state {kind}" id="state">{tell(state)}</span>'
        f'<span class="dim">up {age(snapshot["uptime_seconds"])}</span></header>'
    )


def causes_list(causes: Sequence[Cause], runbook: str) -> str:
    """Return the causes as a list, each with a link to its entry at `runbook`; where that is empty, with its name."""

    def entry(cause: Cause) -> str:
        place = f"{runbook or RUNBOOK}#{cause.runbook}"
        return f'<a href="{tell(place)}">what to do</a>' if runbook else f"<code>{tell(place)}</code>"

    lines = "".join(
        f'<li><span class="{cause.level}">{tell(cause.text)}</span> {entry(cause)}</li>' for cause in causes
    )
    listed = f"<ul>{lines}</ul>" if lines else '<p class="dim">Everything is in order.</p>'
    return f'<section id="causes"><h2>What is not in order</h2>{listed}</section>'


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
    words = f"in the last {span(window['seconds'], MINUTE, 'minute')}"
    if history:
        most = max(peak, rate)
        words += f", at most {number(most)} in {span(snapshot['recent']['5m']['seconds'], LONGEST, 'five minutes')}"
    return (
        f'<section id="rate"><h2>Requests a second</h2><div class="number"><span id="rps">{number(rate)}</span> '
        f"<small>{words}</small></div>{drawn}</section><br>"
    )


Card = tuple[str, str, str, str]
"""Id, title, number (HTML), and the text below it."""


def figures(snapshot: Snapshot, colours: Mapping[str, str]) -> str:
    """Return the cards with the most important numbers, in the colours of their causes."""
    return "".join(
        f'<section><h2>{tell(title)}</h2><div class="number {colours.get(name, "")}" id="{name}">{value}</div>'
        f'<div class="dim">{tell(under)}</div></section>'
        for name, title, value, under in (*_of_requests(snapshot), *_of_identity(snapshot))
    )


def _of_requests(snapshot: Snapshot) -> Iterable[Card]:
    window, traffic = snapshot["recent"]["1m"], snapshot["traffic"]
    requests = window["requests"] or 1
    p50, p99 = quantile(0.5, window["buckets"]), quantile(0.99, window["buckets"])
    over = span(window["seconds"], MINUTE, "minute")
    yield "failed", "Failed", f"{window['failed'] / requests:.1%}", f"by upstream or gateway, last {over}"
    yield "refused", "Refused", f"{window['refused'] / requests:.1%}", f"last {over}"
    yield "p50", "p50", seconds(p50), "until the answer began"
    yield "p99", "p99", seconds(p99), "until the answer began"
    yield "flight", "In flight", number(traffic["in_flight"]), "requests being served"
    yield "sockets", "WebSockets", number(traffic["tunnels"]), "open"
    most = f"of {number(traffic['connections_max'])} connections"
    yield "clients", "Clients", number(traffic["connections"]), most
    yield "loop", "Event loop", seconds(traffic["loop_lag_seconds"]), "late, in ten seconds"


def _of_identity(snapshot: Snapshot) -> Iterable[Card]:
    identity, changes = snapshot["identity"], snapshot["changes"]
    store, bcrypt = snapshot["store"], snapshot["bcrypt"]
    asked = identity["hits"] + identity["loads"]
    hits = f"{identity['hits'] / asked:.1%}" if asked else NOTHING
    yield "cache", "Cache", hits, f"from memory; {number(identity['entries'])} known"
    heard = "until they are heard" if changes["pushed"] else "since something was heard"
    yield "lag", "Revocations", seconds(changes["lag_seconds"]), heard
    bound = f"of {number(store['connections_max'])} in use; {number(store['waiting'])} waiting"
    in_use = number(store["connections"] - store["connections_idle"])
    yield "store", "Store", "away" if store["circuit_open"] else in_use, bound
    room = f"of {number(bcrypt['capacity'])} running or waiting"
    yield "bcrypt", "Password work", number(bcrypt["pending"]), room


def _is_failure(reason: str) -> bool:
    return reason.startswith("upstream_") or reason in _FAILURES


def denials(snapshot: Snapshot) -> str:
    """Return the counts of requests that the gateway refused, by reason."""
    window = snapshot["recent"]["5m"]
    refused = {reason: count for reason, count in window["faults"].items() if not _is_failure(reason)}
    return _counts("denials", f"Denials by reason, {_five(window)}", refused, "refused")


def failures(snapshot: Snapshot) -> str:
    """Return the counts of requests that an upstream or the gateway failed, by reason."""
    window = snapshot["recent"]["5m"]
    failed = {reason: count for reason, count in window["faults"].items() if _is_failure(reason)}
    return _counts("failures", f"Failures by reason, {_five(window)}", failed, "bad")


def callers(snapshot: Snapshot) -> str:
    """Return the counts of verdicts on callers."""
    window = snapshot["recent"]["5m"]
    return _counts("callers", f"Callers, {_five(window)}", window["callers"], "part")


def _five(window: Mapping[str, float]) -> str:
    return span(window["seconds"], LONGEST, "five minutes")


def _counts(name: str, title: str, counts: Mapping[str, float], kind: str) -> str:
    most = max(counts.values(), default=1)
    rows = [
        (Cell(tell(label)), Cell(bar(count / most, kind), "bar"), Cell(number(count)))
        for label, count in sorted(counts.items(), key=lambda one: -one[1])[:_MOST]
    ]
    listed = table((), rows) if rows else '<p class="dim">None.</p>'
    return f'<section id="{name}"><h2>{tell(title)}</h2>{listed}</section>'


def versions(snapshot: Snapshot) -> str:
    """Return the versions of what runs, and when its configuration was read."""
    rows = [(Cell(tell(name)), Cell(tell(value))) for name, value in snapshot.get("versions", {}).items()]
    return f'<section id="versions"><h2>Versions</h2>{table((), rows)}</section>' if rows else ""
