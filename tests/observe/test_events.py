"""Events of the log: every one there is has its line in docs/logs.md, and no other."""

from __future__ import annotations

import re

from tests.laws import ROOT
from tests.observe.events import written

ROW = re.compile(r"^\| `(\w+)` \| (info|warning|error)(?: or (info|warning|error))? \|", re.MULTILINE)


def test_each_event_is_documented_with_its_level_and_each_documented_event_is_logged() -> None:
    page = (ROOT / "docs" / "logs.md").read_text(encoding="utf-8")
    documented = {event: {one, other} - {""} for event, one, other in ROW.findall(page)}
    assert len(documented) > 70
    assert documented == written()
