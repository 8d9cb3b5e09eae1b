"""Expressions of the shipped dashboard and of the shipped alerts."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import yaml

from tests.laws import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHART = ROOT / "helm" / "whatomate-gateway"
DASHBOARD = CHART / "dashboards" / "whatomate-gateway.json"
RULES = CHART / "rules" / "whatomate-gateway.yaml"
UNIT_TESTS = ROOT / "tests" / "observe" / "rules.yaml"


def dashboard() -> Any:
    return json.loads(DASHBOARD.read_text(encoding="utf-8"))


def of_dashboard() -> Iterator[str]:
    """Every expression, with Grafana's variables as Grafana would fill them in."""
    told = dashboard()
    found = [target["expr"] for panel in told["panels"] for target in panel.get("targets", ())]
    found += [annotation["expr"] for annotation in told["annotations"]["list"]]
    for expression in found:
        yield re.sub(r"\$(job|instance|route)\b", ".*", expression.replace("$__rate_interval", "5m"))


def of_rules() -> Iterator[str]:
    for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            yield rule["expr"]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as Git hosts and mkdocs make them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 _-]", "", title.lower()).replace(" ", "-") for title in titles}
