"""The guard of the warm path's cost: what is above the band fails, and what is below asks for a new record."""

from __future__ import annotations

import json
import platform

import pytest
from click.testing import CliRunner

from bench import instructions
from bench.hotpath import LOADS
from bench.instructions import BAND, RECORD, compare, main

KNOWN = {"terse": 1000, "browser": 2000}


@pytest.mark.parametrize(
    ("terse", "browser", "fails"),
    [
        (1000, 2000, False),
        (1000 * (1 + BAND), 2000, False),
        (1000 * (1 + BAND) + 1, 2000, True),
        (1000, 2000 * (1 + BAND) + 1, True),
        (500, 2000 * (1 + BAND) + 1, True),
        (500, 1000, False),
    ],
)
def test_one_load_above_the_band_fails(terse: float, browser: float, *, fails: bool) -> None:
    lines, failed = compare({"terse": round(terse), "browser": round(browser)}, KNOWN)
    assert failed is fails
    assert len(lines) == 2


def test_a_count_below_the_band_asks_for_a_new_record() -> None:
    lines, _ = compare({"terse": 960, "browser": 1990}, KNOWN)
    assert ["record it anew" in line for line in lines] == [True, False]


def test_the_record_has_a_count_for_every_load_and_names_its_build() -> None:
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    assert set(record["instructions"]) == {load.name for load in LOADS}
    assert set(record["build"]) == {"python", "compiler", "machine"}


def test_a_count_of_another_build_is_shown_and_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instructions, "count", lambda: {load.name: 10**9 for load in LOADS})
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    result = CliRunner().invoke(main, [])
    assert result.exit_code == 0
    assert result.output.startswith("skipped: the record is of ")
    assert str(10**9) in result.output


def test_a_count_above_the_band_ends_with_an_error_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    build = json.loads(RECORD.read_text(encoding="utf-8"))["build"]
    monkeypatch.setattr(instructions, "_build", lambda: build)
    monkeypatch.setattr(instructions, "count", lambda: {load.name: 10**9 for load in LOADS})
    result = CliRunner().invoke(main, [])
    assert result.exit_code == 1
    assert "--record" in result.output
