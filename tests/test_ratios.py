"""The ratios of the benchmark: each is of two runs of one round, and a bar is passed by what is printed."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from bench import candidates as c
from bench.__main__ import LOADS
from bench.bars import BARS, FIRST, MANY, Spread, ratio, taking_part
from bench.load import Measured
from bench.outcome import Latency, Outcome, load, save
from bench.plot import both_ways
from bench.ratio_page import ALIKE, BEGIN, DIRECT, END, PAGE, meaning, text, verdict, written
from bench.ratios import BY_NAME, FILE, main, rates, reached
from bench.report import Results, Row
from bench.side_by_side import require

if TYPE_CHECKING:
    from pathlib import Path


def row(rate: int, cpu_us: float) -> Row:
    measured = Measured(requests=rate, rate=float(rate), p50=0.001, p99=0.002, errors=0)
    return Row(measured, cpu=rate * cpu_us / 1e6, memory=80 << 20, opened=0, load_busy=0.9)


def results() -> Results:
    return {
        (FIRST, c.GATEWAY_JWT): [row(900, 20), row(3000, 10), row(100, 30)],
        (FIRST, c.NGINX): [row(1000, 10), row(2000, 10), row(100, 30)],
        (MANY, c.GATEWAY_JWT): [row(450, 25), row(3000, 10), row(99, 30)],
    }


def outcome(**more: list[Latency]) -> Outcome:
    found = results()
    parts = {"latencies": [], **more}
    return Outcome("2026-01-02", "a machine", 3, 2, [], reached(found), rates(found), streams=[], **parts)


def latency(build: str, p99: float, p999: float, at: str = "one rate") -> Latency:
    one = Spread(1.0, 1.0, 1.0)
    return Latency(at, build, build, 100.0, one, Spread(p99, p99, p99), Spread(p999, p999, p999), one, 0)


def test_a_ratio_is_the_median_of_the_ratios_of_each_round() -> None:
    forwards = next(bar for bar in BARS if bar.theirs == c.NGINX and bar.ours == c.GATEWAY_JWT)
    found = ratio(forwards, c.GATEWAY_JWT, results())
    assert found is not None
    assert found.rate == Spread(1.0, 0.9, 1.5)  # not 900 / 1000, the ratio of the medians
    assert asdict(found.cpu) == pytest.approx({"median": 1.0, "low": 0.5, "high": 1.0})
    assert ratio(forwards, c.GATEWAY_SLOW, results()) is None


def test_more_connections_are_held_against_fewer_of_the_same_candidate() -> None:
    many = next(bar for bar in BARS if not bar.theirs)
    found = ratio(many, c.GATEWAY_JWT, results())
    assert found is not None
    assert found.rate == Spread(0.99, 0.5, 1.0)


def test_every_bar_names_loads_and_candidates_that_there_are() -> None:
    names = {one.name for one in LOADS}
    for name, candidates in taking_part(BARS).items():
        assert name in names
        assert set(candidates) <= set(BY_NAME)
        assert {BY_NAME[one].secure for one in candidates} == {
            next(one for one in LOADS if one.name == name).secure
        }


@pytest.mark.parametrize(
    ("value", "wanted", "word"),
    [(1.0, 1.0, "PASS"), (0.996, 1.0, "PASS"), (0.99, 1.0, "SHORT"), (9, None, "")],
)
def test_a_bar_is_passed_by_what_is_printed(value: float, wanted: float | None, word: str) -> None:
    assert verdict(value, wanted) == word


def test_the_table_has_each_ratio_with_its_bar_and_its_spread() -> None:
    lines = text(outcome())
    assert (
        "| JWT against nginx that only forwards | ≥ 1.0 | 1.00 (0.90-1.50) PASS | 1.00 (0.50-1.00) PASS |  |  |"
        in lines
    )
    assert any(line.startswith("| 256 connections") and "0.99 (0.50-1.00) PASS" in line for line in lines)


def test_latency_is_held_to_haproxys_at_the_same_rate() -> None:
    found = outcome(
        latencies=[
            latency("compiled", 2.0, 5.01),
            latency("bar", 1.0, 2.0),
            latency("compiled", 9.0, 9.0, "another"),
        ]
    )
    lines = [line for line in text(found) if "one rate, compiled" in line or "another, compiled" in line]
    assert lines == [
        "| p99, one rate, compiled | ≤ +1 ms | +1.00 ms PASS | 2.00 ms | 1.00 ms |",
        "| p99.9, one rate, compiled | ≤ +3 ms | +3.01 ms SHORT | 5.01 ms | 2.00 ms |",
    ]


def test_an_outcome_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "results" / "ratios.json"
    save(path, outcome(latencies=[latency("bar", 1.0, 2.0)]))
    assert load(path) == outcome(latencies=[latency("bar", 1.0, 2.0)])


def test_the_tables_are_written_between_the_marks_alone() -> None:
    page = f"before\n\n{BEGIN}\nold\n{END}\n\nafter\n"
    new = written(page, outcome())
    assert new.startswith(f"before\n\n{BEGIN}\n\n- A gateway under this load")
    assert "2026-01-02, a machine; 3 interleaved rounds of 2 s" in new
    assert new.endswith(f"\n\n{END}\n\nafter\n")
    assert "old" not in new
    assert written(new, outcome()) == new
    with pytest.raises(ValueError, match="the page has no"):
        written("a page without", outcome())


def test_a_program_that_is_missing_is_named() -> None:
    result = CliRunner().invoke(main, ["--part", "requests", "--record"])
    assert result.exit_code == 1
    assert "--record needs a run of all parts" in result.output
    with pytest.raises(click.ClickException, match=r"not installed: no-such-proxy; .*Debian's packages"):
        require("no-such-proxy")


def test_the_page_has_the_tables_of_the_last_run_that_was_recorded() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert written(page, load(FILE)) == page, (
        "the page and the outcome differ: run `python -m bench.ratios --tables`"
    )


def test_the_readme_promises_what_the_last_run_that_was_recorded_has_reached() -> None:
    last = load(FILE)
    text = " ".join((PAGE.parents[1] / "README.md").read_text(encoding="utf-8").split())
    promised = re.search(r"One core carries (\S+) .* that all differ, (\S+) times as many as HAProxy", text)
    assert promised is not None
    assert f"and {promised[1]} where every one differs" in " ".join(" ".join(meaning(last)).split())
    varied = next(one for one in last.ratios if one.bar == "requests and answers that vary, against HAProxy")
    assert promised[2] == f"{varied.compiled.rate.median:.2f}"


def test_what_the_figures_mean_is_worked_out_of_them() -> None:
    found = outcome(latencies=[latency("compiled", 2.0, 5.0, ALIKE)])
    assert meaning(found) == ["- A gateway under this load has 80 MiB resident.", ""]
    direct = replace(found.latencies[0], candidate=DIRECT, p50=Spread(0.25, 0.25, 0.25))
    ours = replace(found.latencies[0], candidate=c.GATEWAY_JWT)
    added = " ".join(meaning(replace(found, latencies=[ours, direct])))
    assert (
        "At 100 requests a second it adds 0.75 ms to a request in the median, and 0.00 ms at the 99th"
        in added
    )


def test_a_drawing_is_for_light_and_dark_pages() -> None:
    drawn = both_ways('<?xml?><svg width="9"><path style="fill: #010203"/></svg>')
    assert "prefers-color-scheme:dark" in drawn
    assert 'style="fill: var(--ink)"' in drawn
    assert drawn.startswith('<?xml?><svg width="9"><style>')
