"""Route plans, read from text."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest

from config.route_plan import RoutePlan, RoutesRefused, read_plan
from config.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


def planned(tmp_path: Path, text: str, **settings: Any) -> RoutePlan:
    path = tmp_path / "routes.yaml"
    path.write_text(dedent(text), encoding="utf-8")
    values = {"routes": path, "upstream": {"url": "http://u"}, **settings}
    plan = read_plan(Settings.model_validate(values))
    assert plan is not None
    return plan


def problems(tmp_path: Path, text: str, **settings: Any) -> list[str]:
    with pytest.raises(RoutesRefused) as refused:
        planned(tmp_path, text, **settings)
    found = refused.value.problems
    assert found
    return [problem.removeprefix(f"{tmp_path}/") for problem in found]
