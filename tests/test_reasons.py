"""The runbook's table of reasons held against the code: every reason there is has a row, with its statuses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from tests.support.reasons import UNMAPPED, all_reasons

PAGE: Final = (Path(__file__).parents[1] / "docs/runbook.md").read_text(encoding="utf-8")
TABLE: Final = PAGE.partition("\n### Every reason\n")[2].partition("\n## ")[0]
ROWS: Final = {
    word: (statuses, rest)
    for words, statuses, rest in re.findall(r"^\| (`[a-z].*?) \| (.*?)\| (.+) \|$", TABLE, re.MULTILINE)
    for word in re.findall(r"`([a-z_]+)`", words)
    if word != "reason"
}
REASONS: Final = all_reasons()


def test_the_table_names_every_reason_and_no_other() -> None:
    assert set(ROWS) == set(REASONS)


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_a_row_has_the_statuses_of_its_reason(reason: str) -> None:
    statuses = {int(one) for one in re.findall(r"\d+", ROWS[reason][0])}
    if REASONS[reason] or not statuses:
        assert statuses == REASONS[reason]
    else:
        assert reason in {UNMAPPED, "not_hosted"}, (
            "this reason is the answer of no table, so it has no status"
        )


def test_reasons_are_found_wherever_the_code_has_them() -> None:
    """One of each kind: the enumeration, a fault's class, a table, a word in a call, a word that is assigned."""
    assert {"store_down", "no_route", "upstream_unreachable", "descriptors", "drained", "idle"} <= set(
        REASONS
    )
