"""The dashboard and the alert rules: expressions that Prometheus can read, over metrics that there are."""

from __future__ import annotations

import asyncio
import re
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.laws import ROOT
from tests.observe.drawn import RULES, UNIT_TESTS, anchors, dashboard, of_dashboard, of_rules
from tests.observe.reference import rows, started
from tests.support.programs import program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

THE_LIBRARYS = {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_start_time_seconds"}
NOT_LABELS = {"le", "job", "instance", "namespace"}
"""What Prometheus adds, and what a histogram has."""


def promtool(*arguments: str) -> str:
    done = subprocess.run(
        [program("promtool"), *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def test_every_expression_of_the_dashboard_can_be_read(tmp_path: Path) -> None:
    expressions = list(of_dashboard())
    assert len(expressions) > 40
    rules = [{"record": f"panel:{number}", "expr": one} for number, one in enumerate(expressions)]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")
    assert f"{len(expressions)} rules found" in promtool("check", "rules", str(file))
    assert "$" not in "".join(expressions)


def test_a_share_is_drawn_as_nothing_where_nothing_of_the_kind_has_happened(tmp_path: Path) -> None:
    """A series begins with its first event, and a stat without a series is "No data" to Grafana."""
    panels = {panel["title"]: panel.get("targets", ()) for panel in dashboard()["panels"]}
    shares = [panels[title][0]["expr"] for title in ("Failed", "Callers refused")]
    filled = [re.sub(r"\$(job|instance)\b", ".*", one.replace("$__rate_interval", "5m")) for one in shares]
    quiet = {
        'gateway_authentications_total{job="g", instance="a", credential="jwt", outcome="ok"}': "0+60x10",
        'gateway_requests_total{job="g", instance="a", route="x", method="GET", status="200"}': "0+60x10",
        'gateway_failures_total{job="g", instance="a", route="x", blame="gateway"}': "0x10",
    }
    tests = {
        "interval": "1m",
        "input_series": [{"series": series, "values": values} for series, values in quiet.items()],
        "promql_expr_test": [
            {"expr": one, "eval_time": "10m", "exp_samples": [{"labels": "{}", "value": 0}]} for one in filled
        ],
    }
    file = tmp_path / "tests.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [], "tests": [tests]}), encoding="utf-8")
    assert "SUCCESS" in promtool("test", "rules", str(file))


def test_the_rules_can_be_read_and_each_alert_is_tested() -> None:
    told = promtool("check", "rules", "--lint=all", "--lint-fatal", str(RULES))
    assert "SUCCESS" in told
    rules = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"][0]["rules"]
    tests = yaml.safe_load(UNIT_TESTS.read_text(encoding="utf-8"))["tests"]
    fires = {one["alertname"] for test in tests for one in test["alert_rule_test"] if one.get("exp_alerts")}
    rests = {
        one["alertname"] for test in tests for one in test["alert_rule_test"] if not one.get("exp_alerts")
    }
    assert fires == rests == {rule["alert"] for rule in rules}
    for rule in rules:
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert {"summary", "description"} <= set(rule["annotations"])


def test_each_alert_leads_to_its_entry_of_the_runbook_and_each_entry_is_of_an_alert() -> None:
    runbook, led = ROOT / "docs" / "runbook.md", set()
    for rule in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"][0]["rules"]:
        page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert (ROOT / page, anchor) == (runbook, rule["alert"].lower())
        led.add(anchor)
    found = anchors(runbook)
    assert led <= found
    assert {anchor for anchor in found if anchor.startswith("whatomategateway")} == led


@pytest.mark.parametrize("page", ["docs/runbook.md", "docs/metrics.md", "docs/tracing.md"])
def test_each_link_within_a_page_leads_to_a_heading(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    linked = {
        (target or page.rpartition("/")[2], anchor)
        for target, anchor in re.findall(r"\]\(([\w./-]*)#([\w-]+)\)", text)
    }
    for target, anchor in linked:
        assert anchor in anchors(ROOT / "docs" / target), (target, anchor)


def test_the_alerts_fire_when_they_should_and_only_then() -> None:
    assert "SUCCESS" in promtool("test", "rules", str(UNIT_TESTS))


def test_a_rule_that_does_not_fire_is_noticed(tmp_path: Path) -> None:
    """The check of the check: with a rule's bound out of reach, its test fails."""
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        RULES.read_text(encoding="utf-8").replace(
            "gateway_loop_lag_seconds > 0.5", "gateway_loop_lag_seconds > 5"
        ),
        encoding="utf-8",
    )
    tests = tmp_path / "tests.yaml"
    tests.write_text(
        UNIT_TESTS.read_text(encoding="utf-8").replace(
            "../../helm/whatomate-gateway/rules/whatomate-gateway.yaml", rules.name
        ),
        encoding="utf-8",
    )
    with pytest.raises(AssertionError, match="WhatomateGatewayLoopLate"):
        promtool("test", "rules", str(tests))


async def test_every_metric_they_name_exists_and_has_the_labels_they_ask_for() -> None:
    registry, known = await started(), dict[str, set[str]]()
    for name, kind, labels, _ in [*rows(registry), *_of_parent()]:
        suffixes = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        known.update({name + suffix: set(labels.split()) for suffix in suffixes})
    expressions = [*await asyncio.to_thread(lambda: list(of_dashboard())), *of_rules()]
    used = 0
    for expression in expressions:
        named = set(re.findall(r"\b(?:gateway|process|python)_[a-z_]+\b", expression))
        assert named, expression
        assert named <= known.keys() | THE_LIBRARYS, expression
        of_all = set().union(*(known.get(name, set()) for name in named))
        by = {
            label.strip()
            for group in re.findall(r"\bby \(([^)]*)\)", expression)
            for label in group.split(",")
        }
        asked = set(re.findall(r"([a-z_]+)\s*(?:=~|!~|!=|=)\s*\"", expression)) | by
        assert asked - NOT_LABELS <= of_all, (expression, asked - of_all)
        used += len(named)
    assert used > 60


def _of_parent() -> Iterator[tuple[str, str, str, str]]:
    from gateway.metrics import ParentMetrics  # noqa: PLC0415 - for this one test

    yield from rows(ParentMetrics(wanted=1, answering=lambda: 1).registry)


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    """Unique ids, nothing overlapping, every panel with a title, a unit and its meaning; the data source a variable."""
    told = dashboard()
    panels = told["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert {panel["title"] for panel in panels if panel["type"] == "row"} >= {
        "Rate",
        "Errors",
        "Duration",
        "Saturation",
        "Identity",
    }
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"]
            assert panel["fieldConfig"]["defaults"]["unit"]
            assert panel["datasource"]["uid"] == "${datasource}"
    assert [variable["name"] for variable in told["templating"]["list"]] == [
        "datasource",
        "job",
        "instance",
        "route",
    ]
