"""Benchmark of every ratio that the gateway must reach, in one interleaved run: ``python -m bench.ratios``.

Parts: ``requests`` (wrk: rates and CPU per request, by both builds), ``latency`` (constant rates), ``sockets``
(WebSocket echo) and ``streams`` (an event to 5,000 clients). `--part` chooses;
`--record` writes the outcome's file, and the tables into ``bench/README.md``.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import sys
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

import click

from bench import candidates as c
from bench import constant_rate, streaming
from bench.__main__ import LOADS, WARM_UP_SECONDS, versions
from bench.bars import BARS, FIRST, SOCKET_BARS, Spread, cpu_per_request, ratio, taking_part
from bench.candidates import CANDIDATES
from bench.machine import LOAD, describe
from bench.outcome import Latency, Outcome, Rate, Reached, load, save
from bench.ratio_page import ALIKE, DIRECT, PAGE, plot, text, written
from bench.side_by_side import NEEDED, SideBySide, require

if TYPE_CHECKING:
    from bench.candidates import Candidate
    from bench.report import Results

PARTS: Final = ("requests", "latency", "sockets", "streams")
FILE: Final = Path(__file__).with_name("results") / "ratios.json"
SHARE: Final = 0.8
"""The constant rates are this share of a peak rate."""
CONNECTIONS: Final = 64
BY_NAME: Final = {one.name: one for one in CANDIDATES}
LATENCY: Final = (
    (c.GATEWAY_JWT, "compiled"),
    (c.GATEWAY_SLOW, "interpreted"),
    (c.HAPROXY, "bar"),
    (c.NGINX, ""),
)
"""Candidates of the part ``latency``, and what each is there for."""


@click.command()
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), help="Only these parts.")
@click.option("--rounds", default=5, show_default=True, help="Interleaved rounds.")
@click.option("--seconds", default=2, show_default=True, help="Length of one run of wrk.")
@click.option("--record", is_flag=True, help="Write the outcome's file and the tables of bench/README.md.")
@click.option(
    "--tables", is_flag=True, help="Measure nothing; write plot and tables anew from the outcome's file."
)
def main(parts: tuple[str, ...], rounds: int, seconds: int, *, record: bool, tables: bool) -> None:
    """Measure every ratio, and print whether it reaches its bar."""
    if tables:
        publish(load(FILE))
        return
    chosen = parts or PARTS
    if record and set(chosen) != set(PARTS):
        raise click.ClickException("--record needs a run of all parts: the page is of one run")
    require(*NEEDED, "haproxy")
    with contextlib.ExitStack() as stack:
        outcome = measure(stack, chosen, rounds, seconds)
    for line in text(outcome):
        click.echo(line)
    if record:
        save(FILE, outcome)
        publish(outcome)


def publish(outcome: Outcome) -> None:
    """Draw the plot, and write the tables into the page."""
    if not plot(FILE.with_suffix(".svg"), outcome):
        raise click.ClickException("matplotlib is not installed; run `make .venv/.bench`")
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), outcome), encoding="utf-8")
    click.echo(f"wrote {FILE.with_suffix('.svg')} and the tables of {PAGE}")


def measure(stack: contextlib.ExitStack, parts: tuple[str, ...], rounds: int, seconds: int) -> Outcome:
    """Run the `parts`."""
    loads = taking_part(BARS) if "requests" in parts else {FIRST: [name for name, _ in LATENCY]}
    names = dict.fromkeys(name for found in loads.values() for name in found)
    skipped = [name for name in names if BY_NAME[name].missing()]
    candidates = {name: BY_NAME[name] for name in names if name not in skipped}
    run = SideBySide(stack, candidates.values())
    by_wrk = "requests" in parts or "latency" in parts
    results = _by_wrk(run, loads, candidates, rounds if "requests" in parts else 1, seconds) if by_wrk else {}
    latencies = _latencies(run, results, rounds, 2 * seconds) if "latency" in parts else []
    run.stop_candidates()
    if "sockets" in parts:
        results |= streaming.sockets(run, rounds, seconds)
    return Outcome(
        date=dt.datetime.now(dt.UTC).date().isoformat(),
        machine=f"{describe()}; {versions('nginx', 'haproxy')}",
        rounds=rounds,
        seconds=seconds,
        skipped=skipped,
        ratios=reached(results),
        rates=rates(results),
        latencies=latencies,
        streams=streaming.streams(run) if "streams" in parts else [],
    )


def _by_wrk(
    run: SideBySide,
    loads: dict[str, list[str]],
    candidates: dict[str, Candidate],
    rounds: int,
    seconds: int,
) -> Results:
    """Send every load to every candidate in each round, so that any two rows of a round are of the same minute."""
    results: Results = {}
    by_name = {one.name: one for one in LOADS}
    for number in range(rounds + 1):  # the first round is for warming up, and is not recorded
        for called, names in loads.items():
            for name in names:
                if name in candidates:
                    row = run.send(by_name[called], candidates[name], seconds if number else WARM_UP_SECONDS)
                    if number:
                        results.setdefault((called, name), []).append(row)
        click.echo(f"round {number} of {rounds}", err=True)
    return results


def reached(results: Results) -> list[Reached]:
    """Return what was reached of each bar whose candidates took part."""
    found = []
    for bar in (*BARS, *SOCKET_BARS):
        compiled = ratio(bar, bar.ours, results)
        if compiled is not None:
            interpreted = ratio(bar, bar.slow, results)
            found.append(Reached(bar.name, bar.wanted, compiled, bar.slow_wanted, interpreted))
    return found


def rates(results: Results) -> list[Rate]:
    """Return the medians of each candidate under each load."""
    return [
        Rate(
            load=called,
            candidate=candidate,
            rate=Spread.of([row.measured.rate for row in rows]),
            cpu=Spread.of([1e6 * cpu_per_request(row) for row in rows]),
            p50_ms=1000 * median(row.measured.p50 for row in rows),
            p99_ms=1000 * median(row.measured.p99 for row in rows),
            memory_mib=median(row.memory for row in rows) / (1 << 20),
            load_busy=median(row.load_busy for row in rows),
            errors=sum(row.measured.errors for row in rows),
        )
        for (called, candidate), rows in results.items()
    ]


def _latencies(run: SideBySide, results: Results, rounds: int, seconds: int) -> list[Latency]:
    peaks = {
        name: median(row.measured.rate for row in results[FIRST, name])
        for name, _ in LATENCY
        if (FIRST, name) in results
    }
    slower = SHARE * min(peaks[c.GATEWAY_JWT], peaks[c.HAPROXY])
    plan: dict[tuple[str, str, str], tuple[float, list[constant_rate.Steady]]] = {}
    for name, build in LATENCY:
        if build:
            plan["80 % of its own peak", name, build] = (SHARE * peaks[name], [])
    for name, build in LATENCY:
        if build != "interpreted":
            plan[ALIKE, name, build] = (slower, [])
    plan[ALIKE, DIRECT, ""] = (slower, [])
    for number in range(rounds):
        for (_, name, _), (rate, found) in plan.items():
            candidate = BY_NAME.get(name)
            headers = candidate.headers(run.site) if candidate else {}
            path = candidate.path if candidate else ""
            request = constant_rate.request_bytes(f"{path}/things", headers)
            port = run.processes[name][1] if candidate else run.site.upstream
            found.append(constant_rate.run(port, rate, seconds, CONNECTIONS, request, core=LOAD))
        click.echo(f"constant rates, round {number + 1} of {rounds}", err=True)
    return [
        Latency(
            at=at,
            candidate=name,
            build=build,
            rate=rate,
            p50=Spread.of([1000 * one.p50 for one in found]),
            p99=Spread.of([1000 * one.p99 for one in found]),
            p999=Spread.of([1000 * one.p999 for one in found]),
            late=Spread.of([1000 * one.late for one in found]),
            errors=sum(one.errors for one in found),
        )
        for (at, name, build), (rate, found) in plan.items()
    ]


if __name__ == "__main__":
    sys.exit(main())
