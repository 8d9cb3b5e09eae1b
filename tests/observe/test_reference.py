"""docs/metrics.md names every metric there is, and none that there is not."""

from __future__ import annotations

import re

from tests.observe.reference import MARK, PAGE, rows, started, written

REMEDY = "docs/metrics.md is out of date; write it anew: python -m tests.observe.reference"


async def test_every_metric_is_documented() -> None:
    assert PAGE.read_text(encoding="utf-8").partition(MARK)[2] == await written(), REMEDY


async def test_what_the_page_recommends_exists() -> None:
    known = {name for name, *_ in rows(await started())}
    told = PAGE.read_text(encoding="utf-8").partition(MARK)[0]
    named = set(re.findall(r"\bgateway_[a-z_]+", told))
    assert named
    assert {re.sub(r"_bucket$", "", name) for name in named} <= known
