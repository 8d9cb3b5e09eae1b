"""Values of the chart: the leaves that a user sets, with the comments of values.yaml as their descriptions.

Laws:

- A leaf is what chart-values.json describes as no further object of its own: below it the types are Kubernetes'.
- Each leaf stands in values.yaml with a comment that begins with ``# --``, and nothing else has one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE: Final = Path(__file__).parent
VALUES: Final = HERE / "whatomate-gateway" / "values.yaml"
OF_HELM: Final = frozenset({"global", "enabled"})
"""Values that Helm gives a meaning where the chart is a dependency of another."""

_MARK: Final = "# -- "
_BEGIN: Final = "<!-- values: made by `make docs` of values.yaml -->"
_END: Final = "<!-- end of values -->"
_KINDS: Final = {"name": "name", "labels": "labels", "annotations": "annotations", "amounts": "quantities"}


def own_schema() -> dict[str, Any]:
    """Return chart-values.json."""
    found: dict[str, Any] = json.loads((HERE / "chart-values.json").read_text(encoding="utf-8"))
    return found


def leaves(schema: dict[str, Any], above: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the path of each leaf, with dots, and its schema."""
    for name, one in schema["properties"].items():
        path = f"{above}{name}"
        if path not in OF_HELM:
            # What monitors call a tlsConfig is one value, though its parts are written out.
            if "properties" in one and path != "monitoring.tls":
                yield from leaves(one, f"{path}.")
            else:
                yield path, one


def comments(text: str) -> dict[str, str]:
    """Return the description of each value that has one, by its path."""
    lines = text.splitlines()
    found: dict[str, str] = {}

    def walk(node: yaml.Node | None, above: str) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                about = _comment(lines, key.start_mark.line, key.start_mark.column)
                if about:
                    found[above + key.value] = about
                walk(value, f"{above}{key.value}.")

    walk(yaml.compose(text), "")
    return found


def _comment(lines: list[str], line: int, column: int) -> str:
    above: list[str] = []
    while line > 0 and lines[line - 1].startswith(" " * column + "#"):
        line -= 1
        above.insert(0, lines[line].strip())
        if above[0].startswith(_MARK):
            return " ".join([above[0].removeprefix(_MARK), *(one.removeprefix("# ") for one in above[1:])])
    return ""


def described(schema: dict[str, Any], above: str = "") -> None:
    """Write the comments of values.yaml into a schema, as descriptions."""
    about = comments(VALUES.read_text(encoding="utf-8"))
    for path, one in leaves(schema, above):
        if path in about:
            one["description"] = about[path]


def table() -> str:
    """Return the table of every value."""
    text = VALUES.read_text(encoding="utf-8")
    about, defaults = comments(text), yaml.safe_load(text)
    rows = ["| value | type | default | meaning |", "|---|---|---|---|"]
    for path, one in leaves(own_schema()):
        cells = (f"`{path}`", kind(one), _default(defaults, path), about.get(path, ""))
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def page(text: str) -> str:
    """Return the chart's README with the table made anew."""
    before, _, rest = text.partition(_BEGIN)
    return f"{before}{_BEGIN}\n\n{table()}\n\n{_END}{rest.partition(_END)[2]}"


def kind(schema: dict[str, Any]) -> str:
    """Return the type of a value, in words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return _KINDS.get(name, name.removeprefix("kubernetes."))
    if "enum" in schema:
        words = ", ".join(f"`{one}`" for one in schema["enum"] if one)
        return f"{words} or empty" if "" in schema["enum"] else words
    types = schema.get("type", "object")
    if "anyOf" in schema or isinstance(types, list):
        choices = schema.get("anyOf") or [{**schema, "type": one} for one in types]
        return " or ".join(kind(one) for one in choices)
    return _simple(schema, types)


def _simple(schema: dict[str, Any], types: str) -> str:
    if types == "array":
        items = schema["items"]
        return f"list of {kind(items)}"
    if types == "integer":
        least, most = schema["minimum"], schema["maximum"]
        return f"integer, ≥ {least}" + (f", ≤ {most}" if most < 2**31 - 1 else "")
    return {"string": "text", "boolean": "true or false", "object": "map"}.get(types, types)


def _default(value: Any, path: str) -> str:
    for name in path.split("."):
        value = value[name]
    if value in ("", None):
        return "empty" if value == "" else "`null`"
    return f"`{json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value}`"


if __name__ == "__main__":
    README: Final = HERE / "whatomate-gateway" / "README.md"
    README.write_text(page(README.read_text(encoding="utf-8")), encoding="utf-8")
