"""Tables of the status page: upstreams, endpoints, limits in force, rate limits and workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.status.causes import BAD, ENDPOINT_FAULTS, bounds, causes, is_unheard
from gateway.status.recent import quantile
from gateway.status.text import Cell, age, bar, number, seconds, span, table, tell

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.status.report import Snapshot

_ENDPOINTS: Final = 64
_MINUTE: Final = 60.0
_NONE: Final[Mapping[str, Any]] = {"buckets": [], "answered": 0, "failed": 0}


def upstreams(snapshot: Snapshot, colours: Mapping[str, str]) -> str:
    """Return the table of upstreams."""
    window = snapshot["recent"]["1m"]
    rows = []
    for name, now in snapshot["upstreams"].items():
        recent = window["upstreams"].get(name, _NONE)
        kind = colours.get(f"upstream {name}", "")
        rows.append(
            (
                Cell(tell(name)),
                Cell(tell(_state(now, recent)), kind or ("good" if recent["answered"] else "dim")),
                Cell(number(recent["answered"])),
                Cell(number(recent["failed"])),
                Cell(seconds(quantile(0.5, recent["buckets"]))),
                Cell(seconds(quantile(0.99, recent["buckets"]))),
                Cell(f"{number(now['open'] - now['idle'])}/{number(now['open'])}"),
                Cell(number(now["waiting"] + now.get("awaiting", 0))),
            )
        )
    head = ("upstream", "state", "answered", "failed", "p50", "p99", "in use/open", "waiting")
    over = span(window["seconds"], _MINUTE, "minute")
    return f'<section id="upstreams"><h2>Upstreams, last {over}</h2>{table(head, rows)}</section>'


def _state(now: Mapping[str, Any], recent: Mapping[str, Any]) -> str:
    if now.get("awaiting"):
        return f"awaited ({now['awaiting']})"
    if now["failing"]:
        return f"failing ({now['failing']})"
    if now.get("away"):
        return "away, another stands in"
    if now["panic"]:
        return "panic: too few healthy endpoints"
    if recent["failed"]:
        return "fails some"
    return "answers" if recent["answered"] else "idle"


def endpoints(snapshot: Snapshot, colours: Mapping[str, str]) -> str:
    """Return the table of endpoints, each with what speaks against it; nothing if there are none."""
    rows = []
    for name, now in snapshot["upstreams"].items():
        for address, one in now["addresses"].items():
            words = [word for key, word in ENDPOINT_FAULTS if one.get(key)]
            state = ", ".join(words) or ("is not used" if one["behind"] else "in use")
            unremarkable = "dim" if colours.get(f"upstream {name}") == BAD else "good"
            rows.append(
                (
                    Cell(tell(address)),
                    Cell(tell(name)),
                    Cell(tell(state), colours.get(f"endpoint {name} {address}", unremarkable)),
                    Cell(number(one["active"])),
                    Cell(number(one["open"])),
                    Cell(number(one.get("requests", 0))),
                )
            )
    more = f'<p class="dim">And {len(rows) - _ENDPOINTS} more.</p>' if len(rows) > _ENDPOINTS else ""
    head = ("endpoint", "upstream", "state", "at work", "open", "requests")
    drawn = table(head, rows[:_ENDPOINTS]) + more
    return f'<section id="endpoints"><h2>Endpoints</h2>{drawn}</section>' if rows else ""


def limits_in_force(snapshot: Snapshot, colours: Mapping[str, str]) -> str:
    """Return the table of limits in force and how near they are."""
    rows = []
    for one in bounds(snapshot):
        kind = colours.get(f"bound {one.name}", "")
        share = one.used / one.most if one.most else 0.0
        rows.append(
            (
                Cell(tell(one.name)),
                Cell(bar(share, kind or "part"), "bar"),
                Cell(f"{number(one.used)} of {number(one.most)}", kind),
                Cell(tell(one.setting), "dim setting"),
            )
        )
    head = ("limit", "used", "of", "setting")
    return f'<section id="bounds"><h2>Limits in force</h2>{table(head, rows)}</section>'


def limits(snapshot: Snapshot) -> str:
    """Return the table of rate limits; nothing if there are none."""
    rows = [
        tuple(Cell(text) for text in (tell(name), *(number(now[key]) for key in _COUNTED)))
        for name, now in snapshot.get("limits", {}).items()
    ]
    head = ("limit", "admitted", "refused", "in shadow", "callers")
    return f'<section id="limits"><h2>Rate limits</h2>{table(head, rows)}</section>' if rows else ""


_COUNTED: Final = ("admitted", "refused", "shadow", "keys")


def workers_table(workers: Mapping[str, Any]) -> str:
    """Return a table with a line for each worker."""
    rows: list[tuple[Cell, ...]] = []
    for name, snapshot in workers.items():
        if "recent" not in snapshot:
            rows.append((Cell(tell(name)), Cell("does not answer", "bad")))
            continue
        window, traffic = snapshot["recent"]["1m"], snapshot["traffic"]
        rate = window["requests"] / window["seconds"] if window["seconds"] else 0
        kind, state = overall(snapshot)
        rows.append(
            (
                Cell(tell(name)),
                Cell(tell(state), kind),
                Cell(number(rate)),
                Cell(seconds(quantile(0.99, window["buckets"]))),
                Cell(number(traffic["in_flight"])),
                Cell(number(traffic["connections"])),
                Cell(number(snapshot["identity"]["entries"])),
                Cell(age(snapshot["uptime_seconds"])),
            )
        )
    head = ("worker", "state", "requests/s", "p99", "in flight", "clients", "known", "up")
    return f'<section id="workers"><h2>Workers</h2>{table(head, rows)}</section>'


def overall(snapshot: Snapshot) -> tuple[str, str]:
    """Return the colour and the words for the state of the whole."""
    if not snapshot["listening"]:
        return "bad", "draining"
    if snapshot["store"]["circuit_open"]:
        return "bad", "database away"
    workers, readiness = snapshot.get("workers", {}), snapshot.get("readiness", {})
    if workers.get("answering") != workers.get("wanted") or readiness.get("ready") is False:
        return "bad", "not ready"
    failing = [name for name, upstream in snapshot["upstreams"].items() if upstream["failing"]]
    if failing:
        return "bad", f"upstream failing: {', '.join(failing)}"
    found = causes(snapshot)
    if is_unheard(snapshot):
        return "warn", "revocations unheard"
    return "warn" if found else "good", "serving"
