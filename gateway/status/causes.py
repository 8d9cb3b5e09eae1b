"""Causes: what is not in order at the moment, each with a sentence and its entry in the runbook.

Laws:

- A number, a row or the state on the page has a colour only because a cause is of it.
- A cause says nothing of a request, and names no host, user or secret: only what the report has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.status.recent import quantile
from gateway.status.text import number, seconds, span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from gateway.status.report import Snapshot

BAD: Final = "bad"
WARN: Final = "warn"
SLOW_SECONDS: Final = 1.0
LATE_SECONDS: Final = 0.25
UNHEARD_SECONDS: Final = 2.0
SKEW_SECONDS: Final = 3.0
RENEWED_SECONDS: Final = 7 * 86_400.0
"""A certificate is renewed so long before its end."""
NEAR: Final = 0.8
"""Share of a limit from which on it is near."""
_FULL: Final = 1.0
_MINUTE: Final = 60.0
HOSTED: Final = "gateway"
"""Name of the application behind the hosted paths, as an upstream."""
_ANCHOR: Final = "whatomategateway"


class Cause(NamedTuple):
    """Problem that the status report shows, with its runbook entry.

    Attributes:
        of: The part of the page: the id of a card, or a row as ``upstream NAME``, ``endpoint NAME ADDRESS`` or
            ``bound NAME``.
        level: ``bad`` if callers are affected now, ``warn`` if they will or may be.
        text: A sentence.
        runbook: The anchor of the entry in docs/runbook.md.
    """

    of: str
    level: str
    text: str
    runbook: str


class Bound(NamedTuple):
    """A limit in force: what it bounds, how much is used, how much may be, the setting, and the alert on it."""

    name: str
    used: float
    most: float
    setting: str
    alert: str


def causes(snapshot: Snapshot) -> list[Cause]:
    """Return the causes, the worst first."""
    found = [
        *_of_readiness(snapshot),
        *_of_store(snapshot),
        *_of_requests(snapshot),
        *_of_upstreams(snapshot),
        *_of_changes(snapshot),
        *_of_workers(snapshot.get("workers", {})),
        *_of_gauges(snapshot.get("watched", {})),
        *_of_certificates(snapshot),
        *_of_bounds(snapshot),
    ]
    return sorted(found, key=lambda cause: cause.level != BAD)


def _cause(of: str, level: str, text: str, alert: str) -> Cause:
    return Cause(of, level, text, _ANCHOR + alert)


def _of_readiness(snapshot: Snapshot) -> Iterator[Cause]:
    if not snapshot["listening"]:
        yield _cause("state", BAD, "It is stopping: nothing new should be sent here.", "notready")
        return
    readiness = snapshot.get("readiness", {})
    for check, state in readiness.get("checks", {}).items():
        if state not in {"ok", "unknown"}:
            level = WARN if readiness.get("ready") else BAD
            yield _cause("state", level, f"Readiness, {check}: {state}.", "notready")


def _of_store(snapshot: Snapshot) -> Iterator[Cause]:
    store = snapshot["store"]
    if store["circuit_open"]:
        text = "The database does not answer: known callers are served, all others get 503."
        yield _cause("store", BAD, text, "databasedown")
    if store.get("read_only"):
        yield _cause("store", BAD, "The database refuses writes, so nobody can sign in.", "databasereadonly")
    if store.get("disk_full"):
        yield _cause("store", BAD, "The database's disk is full, so nobody can sign in.", "databasediskfull")
    if store.get("connections_allowed", store["connections_max"]) < store["connections_max"]:
        text = "The database allows fewer connections than GATEWAY_DATABASE_POOL_MAX."
        yield _cause("store", WARN, text, "connectionsrefused")


def _of_requests(snapshot: Snapshot) -> Iterator[Cause]:
    window, traffic = snapshot["recent"]["1m"], snapshot["traffic"]
    over = span(window["seconds"], _MINUTE, "minute")
    if window["failed"]:
        text = (
            f"{number(window['failed'])} of {number(window['requests'])} requests failed in the last {over}."
        )
        yield _cause("failed", BAD, text, "errors")
    p99 = quantile(0.99, window["buckets"])
    if p99 is not None and p99 > SLOW_SECONDS:
        text = (
            f"One answer in a hundred began later than {seconds(p99)} after its request, in the last {over}."
        )
        yield _cause("p99", WARN, text, "slow")
    late = traffic["loop_lag_seconds"]
    if late > LATE_SECONDS:
        yield _cause("loop", WARN, f"The event loop came {seconds(late)} late to its timer.", "looplate")


def _of_upstreams(snapshot: Snapshot) -> Iterator[Cause]:
    window = snapshot["recent"]["1m"]
    over = span(window["seconds"], _MINUTE, "minute")
    for name, now in snapshot["upstreams"].items():
        row = f"upstream {name}"
        failed = window["upstreams"].get(name, {}).get("failed", 0)
        if now.get("awaiting"):
            text = f"{number(now['awaiting'])} requests wait for upstream {name} to come back."
            yield _cause(row, BAD, text, "upstreamfails")
        elif now["failing"]:
            text = f"Upstream {name} has failed its last {number(now['failing'])} requests."
            yield _cause(row, BAD, text, "upstreamfails")
        elif now.get("away"):
            yield _cause(row, WARN, f"Upstream {name} is away, and another stands in.", "upstreamfails")
        elif now["panic"]:
            text = f"Too few endpoints of upstream {name} are healthy: all of them get requests."
            yield _cause(row, BAD, text, "upstreampanics")
        elif failed and name == HOSTED:
            text = f"The gateway's own endpoints failed {number(failed)} requests in the last {over}."
            yield _cause(row, BAD, text, "signinsfail")
        elif failed:
            text = f"Upstream {name} failed {number(failed)} requests in the last {over}, and answers others."
            yield _cause(row, WARN, text, "upstreamfails")
        for address, one in now["addresses"].items():
            why = [word for key, word in ENDPOINT_FAULTS if one.get(key)]
            if why or one.get("behind"):
                text = f"Endpoint {address} of upstream {name} {' and '.join(why) or 'is not used'}."
                yield _cause(f"endpoint {name} {address}", WARN, text, "endpointaway")


ENDPOINT_FAULTS: Final = (("ejected", "is ejected: it failed requests"), ("unhealthy", "fails its checks"))


def is_unheard(snapshot: Snapshot) -> bool:
    """Return whether changes are not notified although they should be."""
    expected = snapshot.get("watched", {}).get(EXPECTED, {})
    return not snapshot["changes"]["pushed"] and any(expected.values() or [True])


def _of_changes(snapshot: Snapshot) -> Iterator[Cause]:
    changes = snapshot["changes"]
    if is_unheard(snapshot):
        text = "Revocations are not heard, and are noticed after GATEWAY_IDENTITY_CACHE_SECONDS."
        yield _cause("lag", WARN, text, "revocationsunheard")
    elif changes["pushed"] and changes["lag_seconds"] > UNHEARD_SECONDS:
        text = f"Revocations are heard {seconds(changes['lag_seconds'])} late."
        yield _cause("lag", WARN, text, "revocationslate")


def _of_workers(workers: Mapping[str, int]) -> Iterator[Cause]:
    silent = workers.get("wanted", 0) - workers.get("answering", 0)
    if silent:
        text = f"{number(silent)} of {number(workers['wanted'])} workers do not answer, so it is not ready."
        yield _cause("state", BAD, text, "workersmissing")


class Watch(NamedTuple):
    """Gauge on which there is an alert: whether a value is not in order, the level, the sentence, and the alert."""

    is_met: Callable[[float], bool]
    level: str
    text: str
    alert: str


def _is_set(value: float) -> bool:
    return value > 0


def _is_unset(value: float) -> bool:
    return value == 0


WATCHES: Final[Mapping[str, Watch]] = {
    "gateway_audit_away": Watch(
        _is_set, WARN, "The database does not take the audit trail; its records wait in memory.", "auditaway"
    ),
    "gateway_clock_skew_seconds": Watch(
        lambda value: abs(value) > SKEW_SECONDS,
        WARN,
        "This machine's clock and the database's are more than three seconds apart.",
        "clockskewed",
    ),
    "gateway_key_ring_outdated": Watch(
        _is_set,
        WARN,
        "The changed key directory is refused; the keys of before stay in force.",
        "keysrefused",
    ),
    "gateway_limits_store_up": Watch(
        _is_unset, WARN, "The store of shared limits does not answer, or takes no writes.", "limitsstoreaway"
    ),
    "gateway_routes_reload_ok": Watch(
        _is_unset,
        WARN,
        "The changed route file is refused; the routes of before stay in force.",
        "routesrefused",
    ),
    "gateway_shed_level": Watch(_is_set, BAD, "Requests are refused for want of time or memory.", "shedding"),
    "gateway_whatomate_redis_up": Watch(
        _is_unset, WARN, "Whatomate's Redis does not answer.", "whatomateredisaway"
    ),
}
"""Gauges by name; docs/metrics.md has their meaning."""
EXPECTED: Final = "gateway_changes_expected"
CERTIFICATES: Final = "gateway_tls_certificate_expiry_timestamp_seconds"


def _of_gauges(watched: Mapping[str, Mapping[str, float]]) -> Iterator[Cause]:
    for name, watch in WATCHES.items():
        if any(map(watch.is_met, watched.get(name, {}).values())):
            yield _cause("state", watch.level, watch.text, watch.alert)


def _of_certificates(snapshot: Snapshot) -> Iterator[Cause]:
    for file, ends in snapshot.get("watched", {}).get(CERTIFICATES, {}).items():
        left = ends - snapshot["moment"]
        if left <= 0:
            yield _cause("state", BAD, f"The certificate in {file} has expired.", "certificateexpired")
        elif left < RENEWED_SECONDS:
            text = f"The certificate in {file} ends within seven days and has not been renewed."
            yield _cause("state", WARN, text, "certificateexpires")


def bounds(snapshot: Snapshot) -> list[Bound]:
    """Return the limits in force and how much of each is used."""
    traffic, store, bcrypt = snapshot["traffic"], snapshot["store"], snapshot["bcrypt"]
    in_use = store["connections"] - store["connections_idle"]
    found = [
        Bound(
            "client connections",
            traffic["connections"],
            traffic["connections_max"],
            "GATEWAY_LIMIT_CONNECTIONS",
            "connectionsnearlimit",
        ),
        Bound(
            "password work",
            bcrypt["pending"],
            bcrypt["capacity"],
            "GATEWAY_PASSWORD_QUEUE",
            "passwordworkfull",
        ),
        Bound(
            "database connections",
            in_use,
            store["connections_max"],
            "GATEWAY_DATABASE_POOL_MAX",
            "databasewait",
        ),
    ]
    for name, now in snapshot["upstreams"].items():
        used, setting = now["open"] - now["idle"], "" if name == HOSTED else "GATEWAY_UPSTREAM_CONNECTIONS"
        found.append(Bound(f"connections to {name}", used, now["max"], setting, "poolexhausted"))
    return found


def _of_bounds(snapshot: Snapshot) -> Iterator[Cause]:
    for one in bounds(snapshot):
        if one.most and one.used / one.most >= NEAR:
            level = BAD if one.used / one.most >= _FULL else WARN
            text = f"{number(one.used)} of {number(one.most)} {one.name} are in use."
            yield _cause(f"bound {one.name}", level, text, one.alert)
