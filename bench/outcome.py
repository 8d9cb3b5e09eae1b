"""Outcome of one run of ``bench.ratios``, and its file."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 -- pydantic reads the annotations
from typing import Final

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from bench.bars import Ratio, Spread  # noqa: TC001 -- pydantic reads the annotations


@dataclass(frozen=True)
class Reached:
    """Result for one bar.

    Attributes:
        bar: The bar's name.
        wanted: What the compiled gateway must reach.
        compiled: What it reached.
        slow_wanted: What the interpreted gateway must reach; None if there is no bar for it.
        interpreted: What it reached; None if it took no part.
    """

    bar: str
    wanted: float
    compiled: Ratio
    slow_wanted: float | None = None
    interpreted: Ratio | None = None


@dataclass(frozen=True)
class Rate:
    """One candidate under one load of wrk: requests a second, CPU microseconds for each, and the rest in medians.

    Attributes:
        load_busy: CPU seconds a second of wrk and the upstream, which share a core.
    """

    load: str
    candidate: str
    rate: Spread
    cpu: Spread
    p50_ms: float
    p99_ms: float
    memory_mib: float
    load_busy: float
    errors: int


@dataclass(frozen=True)
class Latency:
    """One candidate at one constant rate; milliseconds from the moment at which a request was due.

    Attributes:
        at: What the rate is.
        late: The 99th percentile of how late the generator sent.
        build: Whether it is the gateway ("compiled", "interpreted"), what it is held to ("bar"), or the floor ("").
    """

    at: str
    candidate: str
    build: str
    rate: float
    p50: Spread
    p99: Spread
    p999: Spread
    late: Spread
    errors: int


@dataclass(frozen=True)
class Streams:
    """One candidate that delivers each event to many clients.

    Attributes:
        clients: The clients.
        last_ms: Time until an event has reached the last of them, in milliseconds.
        cpu: The candidate's CPU microseconds for each event delivered.
        kib: Its memory for each stream, in KiB.
        lost: Events that did not arrive.
    """

    candidate: str
    clients: int
    last_ms: Spread
    cpu: float
    kib: float
    lost: int


@dataclass(frozen=True)
class Outcome:
    """Measurements of one run.

    Attributes:
        date: The day, as YYYY-MM-DD.
        machine: The machine and the versions.
        rounds: The interleaved rounds.
        seconds: The length of one run of wrk.
        skipped: Candidates and programs that were not installed.
    """

    date: str
    machine: str
    rounds: int
    seconds: int
    skipped: list[str]
    ratios: list[Reached]
    rates: list[Rate]
    latencies: list[Latency]
    streams: list[Streams]


_FORM: Final = TypeAdapter(Outcome)


def save(path: Path, outcome: Outcome) -> None:
    """Write an outcome to its file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_FORM.dump_json(outcome, indent=1) + b"\n")


def load(path: Path) -> Outcome:
    """Read the file of an outcome.

    Raises:
        pydantic.ValidationError: it is none.
    """
    return _FORM.validate_json(path.read_bytes())
