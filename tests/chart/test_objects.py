"""Objects that the chart renders, held to the API server's rules: for each way to install it, and random values."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.chart.changes import CHANGES
from tests.chart.rendering import (
    CHART,
    LEAST,
    WAYS,
    at,
    helm,
    over,
    own,
    parsed,
    rendered,
    the,
    unguarded,
    whole,
)
from tests.chart.validating import CUSTOM, contradictions, refusals, versions

if TYPE_CHECKING:
    from pathlib import Path

VALIDATOR = jsonschema.Draft202012Validator(
    json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
)
LEAVES = own()


@pytest.mark.parametrize("way", WAYS)
def test_the_oldest_and_the_newest_kubernetes_take_what_it_renders(way: str, tmp_path: Path) -> None:
    documents = rendered(WAYS[way], tmp_path)
    for version in versions():
        assert [found for one in documents for found in refusals(one, version)] == []
    assert list(contradictions(documents)) == []


def test_every_custom_resource_is_rendered_and_held_against_its_own_schema(tmp_path: Path) -> None:
    documents = rendered(WAYS["gateway-everything"], tmp_path)
    foreign = {
        one["kind"]: one
        for one in documents
        if "." in one["apiVersion"] and ".k8s.io" not in one["apiVersion"]
    }
    assert {*foreign, "HTTPRoute"} == CUSTOM
    for kind in CUSTOM:
        document = the(kind, documents)
        assert refusals(document, versions()[0]) == []
        document["spec"]["misspelt"] = 1
        assert refusals(document, versions()[0]) != []


def test_a_slip_deep_in_an_object_is_found(tmp_path: Path) -> None:
    deployment = the("Deployment", rendered(LEAST, tmp_path))
    deployment["spec"]["template"]["spec"]["containers"][0]["resources"]["limit"] = {}
    assert all(refusals(deployment, version) for version in versions())
    monitor = the("PodMonitor", rendered(WAYS["gateway-everything"], tmp_path))
    monitor["spec"]["podMetricsEndpoints"][0]["intervall"] = "30s"
    assert refusals(monitor, versions()[0])


def simple(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values of the types that are the chart's own."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kind = schema.get("type")
    if kind == "boolean":
        return st.booleans()
    if kind == "integer":
        return st.sampled_from([schema["minimum"], schema["minimum"] + 1, min(schema["maximum"], 40_000)])
    return st.nothing()


@st.composite
def any_values(draw: st.DrawFn) -> dict[str, Any]:
    """Some of the values, each with what it needs, in a release with all of what the others lean on."""
    values = LEAST
    for path in draw(st.lists(st.sampled_from(sorted(CHANGES)), max_size=14, unique=True)):
        value, needs = CHANGES[path]
        drawn = draw(st.one_of(st.just(value), simple(LEAVES[path])))
        values = over(over(values, needs), at(path, drawn))
    return over(values, {"config": LEAST["config"]})


def test_whatever_the_schema_takes_is_valid_or_refused_with_a_reason(tmp_path: Path) -> None:
    chart = unguarded(tmp_path)
    outcomes = {"rendered": 0, "refused": 0}

    @settings(
        max_examples=40,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(values=any_values())
    def holds(values: dict[str, Any]) -> None:
        assert list(VALIDATOR.iter_errors(whole(values))) == []
        done = helm("template", "release", str(chart), values=values, folder=tmp_path)
        if done.returncode != 0:
            assert "required.yaml" in done.stderr, done.stderr
            outcomes["refused"] += 1
            return
        outcomes["rendered"] += 1
        documents = parsed(done.stdout)
        assert [found for one in documents for found in refusals(one, versions()[0])] == []
        assert list(contradictions(documents)) == []

    holds()
    assert outcomes["rendered"] > 12, outcomes


BOOLEANS = sorted(path for path, schema in LEAVES.items() if schema.get("type") == "boolean")


def test_every_switch_can_be_thrown_alone_and_all_together(tmp_path: Path) -> None:
    defaults = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    assert len(BOOLEANS) > 15
    chart = unguarded(tmp_path)
    every = LEAST
    for path in BOOLEANS:
        value = defaults
        for name in path.split("."):
            value = value[name]
        thrown = over(over(LEAST, CHANGES[path][1]), at(path, not value))
        every = over(over(every, CHANGES[path][1]), at(path, not value))
        assert VALIDATOR.is_valid(whole(thrown)), path
        documents = rendered(thrown, tmp_path, chart)
        assert [found for one in documents for found in refusals(one, versions()[1])] == [], path
        assert list(contradictions(documents)) == [], path
    assert list(contradictions(rendered(every, tmp_path))) == []


@pytest.mark.parametrize(
    "release",
    ["r", "true", "123a", "a" * 53, "with.dots", "gateway-" + "x" * 45, "whatomate-gateway", "e-" * 20 + "e"],
)
def test_names_hold_for_any_name_of_a_release(release: str, tmp_path: Path) -> None:
    values = over(WAYS["gateway-everything"], {"fullnameOverride": "edge"} if release[0].isdigit() else {})
    done = helm("template", release, str(CHART), values=values, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    documents = parsed(done.stdout)
    assert [found for one in documents for found in refusals(one, versions()[1])] == []
    assert list(contradictions(documents)) == []


def test_two_releases_in_one_namespace_share_no_object_and_no_pod(tmp_path: Path) -> None:
    def made(release: str) -> list[dict[str, Any]]:
        done = helm("template", release, str(CHART), values=WAYS["gateway-everything"], folder=tmp_path)
        assert done.returncode == 0, done.stderr
        return parsed(done.stdout)

    for one, other in (("blue", "green"), ("a" * 52 + "b", "a" * 52 + "c")):
        first, second = made(one), made(other)
        names = [
            {(doc["kind"], doc["metadata"]["name"]) for doc in documents} for documents in (first, second)
        ]
        assert not names[0] & names[1]
        pods = the("Deployment", second)["spec"]["template"]["metadata"]["labels"].items()
        for document in first:
            for selector in selectors(document.get("spec", {})):
                assert not selector.items() <= pods, (document["kind"], selector)


def selectors(spec: dict[str, Any]) -> list[dict[str, str]]:
    found = [spec[name] for name in ("selector", "podSelector") if name in spec]
    return [one.get("matchLabels", one) for one in found]
