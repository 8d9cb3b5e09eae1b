"""Extractor of the Kubernetes schemas that the chart's values refer to, out of the package kubernetes-validate.

    .tools/bin/python helm/take_kubernetes.py > helm/kubernetes.json

`chart-values.json` refers to a type of Kubernetes as ``#/$defs/kubernetes.Toleration``. What is written here are these
types and those that they refer to, of the newest version that the package knows, without descriptions.
"""

from __future__ import annotations

import json
import re
import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

CHART: Final = Path(__file__).parent / "chart-values.json"
PREFIX: Final = "kubernetes."
_VERSION: Final = re.compile(r"v(\d+)\.(\d+)\.\d+-local-strict")


def main() -> None:
    """Write the definitions."""
    folder = files("kubernetes_validate").joinpath("kubernetes-json-schema")
    newest = max(filter(_VERSION.fullmatch, (one.name for one in folder.iterdir())), key=_number)
    known = json.loads(folder.joinpath(newest, "_definitions.json").read_text(encoding="utf-8"))["$defs"]
    short = {_short(name): name for name in sorted(known, key=_rank, reverse=True)}
    wanted = [
        name.removeprefix(PREFIX) for name in _references(json.loads(CHART.read_text(encoding="utf-8")))
    ]
    taken: dict[str, Any] = {}
    todo = [name for name in wanted if name in short]
    while todo:
        name = todo.pop()
        if PREFIX + name not in taken:
            taken[PREFIX + name] = _stripped(known[short[name]])
            todo += [reference.removeprefix(PREFIX) for reference in _references(taken[PREFIX + name])]
    about = {
        "$comment": "Of Kubernetes' OpenAPI document (Apache-2.0), by way of kubernetes-validate: take_kubernetes.py",
        "version": ".".join(map(str, _number(newest))),
    }
    json.dump({**about, "$defs": dict(sorted(taken.items()))}, sys.stdout, indent=1)
    sys.stdout.write("\n")


def _number(name: str) -> tuple[int, ...]:
    found = _VERSION.fullmatch(name)
    return tuple(map(int, found.groups())) if found else ()


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def _rank(name: str) -> tuple[bool, str]:
    """Return the order of types with one short name: stable versions first, then by group, core before others."""
    return ("alpha" in name or "beta" in name, name)


def _references(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref":
                yield value.rpartition("/")[2]
            else:
                yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def _stripped(schema: Any) -> Any:
    """Return a schema without descriptions and extensions, its references shortened."""
    if isinstance(schema, list):
        return [_stripped(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {}
    for key, value in schema.items():
        if key == "$ref":
            found[key] = f"#/$defs/{PREFIX}{_short(value)}"
        elif key == "properties":
            found[key] = {name: _stripped(one) for name, one in value.items()}
        elif key not in {"description", "$schema"} and not key.startswith("x-"):
            found[key] = _stripped(value)
    return found


if __name__ == "__main__":
    main()
