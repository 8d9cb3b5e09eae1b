"""The chart's values: each has a description and an effect, and an unknown name is refused at every depth."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml

from tests.chart.changes import CHANGES
from tests.chart.rendering import CHART, LEAST, at, helm, over, own, scripts, unguarded, whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VALUES = scripts("values")
LEAVES = own()
SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
DEFAULTS = (CHART / "values.yaml").read_text(encoding="utf-8")


def test_every_value_has_a_description_and_none_is_described_that_does_not_exist() -> None:
    assert VALUES.comments(DEFAULTS).keys() == LEAVES.keys()
    assert all(len(one) > 10 and one[-1] in ".)`" for one in VALUES.comments(DEFAULTS).values())


def test_the_table_of_the_charts_page_is_fresh() -> None:
    found = (CHART / "README.md").read_text(encoding="utf-8")
    assert found == VALUES.page(found), "a value has changed: run `make docs`"


def test_the_defaults_are_within_the_schema() -> None:
    assert list(VALIDATOR.iter_errors(yaml.safe_load(DEFAULTS))) == []


def test_every_value_changes_what_is_rendered(tmp_path: Path) -> None:
    assert CHANGES.keys() == LEAVES.keys()
    chart = unguarded(tmp_path)

    def made(values: dict[str, Any]) -> str:
        folder = tmp_path / str(hash(json.dumps(values, sort_keys=True)))
        folder.mkdir(exist_ok=True)
        done = helm("template", "release", str(chart), values=values, folder=folder)
        assert done.returncode == 0, (values, done.stderr)
        return done.stdout

    unchanged = {json.dumps(needs): over(LEAST, needs) for _, needs in CHANGES.values()}
    changed = {path: over(over(LEAST, needs), at(path, value)) for path, (value, needs) in CHANGES.items()}
    for values in (*unchanged.values(), *changed.values()):
        assert list(VALIDATOR.iter_errors(whole(values))) == [], values
    with ThreadPoolExecutor(2) as pool:
        before = dict(zip(unchanged, pool.map(made, unchanged.values()), strict=True))
        after = dict(zip(changed, pool.map(made, changed.values()), strict=True))
    idle = [path for path, (_, needs) in CHANGES.items() if after[path] == before[json.dumps(needs)]]
    assert idle == []


def objects(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The places of all maps in a value that name fields, and not what users name."""
    if isinstance(value, dict):
        named = any(str(one).lower().endswith(("labels", "annotations", "selector")) for one in path[-1:])
        if not named and path[-1:] not in {("requests",), ("limits",)}:
            yield path
        for name, one in value.items():
            yield from objects(one, (*path, name))
    elif isinstance(value, list):
        for place, one in enumerate(value):
            yield from objects(one, (*path, place))


def all_at_once() -> dict[str, Any]:
    values: dict[str, Any] = {}
    for path, (value, needs) in CHANGES.items():
        values = over(over(values, needs), at(path, value))
    return over(over(LEAST, values), {"config": LEAST["config"]})


def test_a_name_that_does_not_exist_is_refused_at_every_depth() -> None:
    every = whole(all_at_once())
    assert list(VALIDATOR.iter_errors(every)) == []
    places = list(objects(every))
    assert len(places) > 80
    for place in places:
        values = json.loads(json.dumps(every))
        inner = values
        for name in place:
            inner = inner[name]
        inner["misspelt"] = "x"
        assert not VALIDATOR.is_valid(values), place


@pytest.mark.parametrize(
    "values",
    [
        {"affinity": {"nodeAfinity": {}}},
        {"extraEnv": [{"name": "A", "valuefrom": {}}]},
        {"probes": {"startup": {"periodSecond": 3}}},
        {"podLabels": {"a": "not a label"}},
        {"tolerations": [{"keys": "x"}]},
        {"service": {"port": None}},
        {"probes": {"liveness": None}},
        {"secrets": {"create": None}},
        {"replicas": None},
    ],
)
def test_helm_itself_refuses_it(values: dict[str, Any], tmp_path: Path) -> None:
    done = helm("template", "release", str(CHART), values=over(LEAST, values), folder=tmp_path)
    assert done.returncode != 0
    assert "values don't meet the specifications of the schema" in done.stderr


def test_every_example_of_the_charts_page_renders(tmp_path: Path) -> None:
    text = (CHART / "README.md").read_text(encoding="utf-8")
    blocks = [
        block
        for block in re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        if "{{" not in block
    ]
    assert len(blocks) > 3
    for block in blocks:
        values = over(LEAST, yaml.safe_load(block))
        done = helm("template", "release", str(CHART), values=values, folder=tmp_path)
        assert done.returncode == 0, (block, done.stderr)
