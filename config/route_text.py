"""YAML parser of route files: plain values only, with the line of each value.

Laws:

- YAML 1.2's plain values only: a string, an integer, a number, true, false, null. ``no`` and ``12:30`` are strings.
- Anything that makes one text mean another is refused: anchors and aliases (and so bombs made of them), tags, duplicate
  keys, several documents, unbounded depth and size.
- Every problem has a line; a text with a problem has no value.
- A text without any value is a problem: a file that was cut off, or opened to be written, means no other routes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

LARGEST_BYTES: Final = 4 * 1024 * 1024
DEEPEST: Final = 16
LONGEST_INTEGER: Final = 40
"""Characters. Python converts thousands at most, and no setting of a route comes near this one."""

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]  # libyaml's where it is installed: one of two bases
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 -- a table of PyYAML's, filled below


for _tag, _form, _first in (
    ("bool", r"true|false", "tf"),
    ("null", r"null|~|", ["n", "~", ""]),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?[0-9]+\.[0-9]+(?:[eE][-+]?[0-9]+)?", "-+0123456789"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_form})\Z"), list(_first))

_SCALARS: Final[dict[str, Any]] = {
    "tag:yaml.org,2002:str": str,
    "tag:yaml.org,2002:int": int,
    "tag:yaml.org,2002:float": float,
    "tag:yaml.org,2002:bool": lambda text: text == "true",
    "tag:yaml.org,2002:null": lambda _text: None,
}

YamlPath = tuple[str | int, ...]


@dataclass(slots=True)
class RouteText:
    """Parsed text.

    Attributes:
        value: The parsed value; None if there is a problem.
        lines: The line of each value or of its key, by its place.
        problems: Line and message of each problem.
    """

    value: Any = None
    lines: dict[YamlPath, int] = field(default_factory=dict)
    problems: list[tuple[int, str]] = field(default_factory=list)

    def line(self, place: YamlPath) -> int:
        """Return the line of a place, or of the nearest place around it."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)


def read_text(raw: bytes) -> RouteText:
    """Parse YAML; problems are returned, not raised."""
    text = RouteText()
    if len(raw) > LARGEST_BYTES:
        text.problems.append((1, f"larger than {LARGEST_BYTES} bytes"))
        return text
    try:
        written = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        text.problems.append((raw.count(b"\n", 0, error.start) + 1, "not UTF-8 text"))
        return text
    try:
        _refuse_events(written, text)
        if not text.problems:
            node = yaml.compose(written, Loader=_Loader)
            value = None if node is None else _value(node, (), text)
            if value is None and not text.problems:
                text.problems.append((1, "is empty; write `routes: []` for no routes"))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        because = f" ({error.context})" if error.context else ""
        text.problems.append((mark.line + 1 if mark else 1, f"not YAML: {error.problem}{because}"))
    except yaml.YAMLError as error:  # a character that YAML does not allow
        text.problems.append((1, f"not YAML: {str(error).splitlines()[0]}"))
    if not text.problems:
        text.value = value
    return text


def _refuse_events(written: str, text: RouteText) -> None:
    """Find refused features before any value is built."""
    depth = documents = 0
    for event in yaml.parse(written, Loader=_Loader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                text.problems.append((line, "a second document; there is one in a route file"))
                return
        elif isinstance(event, yaml.AliasEvent):
            text.problems.append((line, f"alias *{event.anchor}: aliases are not taken, write it out"))
        elif isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            text.problems.append((line, f"anchor &{event.anchor}: anchors are not taken, write it out"))
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                text.problems.append((line, f"nested deeper than {DEEPEST}"))
                return
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _value(node: yaml.Node, place: YamlPath, text: RouteText) -> Any:
    text.lines.setdefault(place, node.start_mark.line + 1)
    if isinstance(node, yaml.ScalarNode):
        make = _SCALARS.get(node.tag)
        if make is None:
            return _refused(node, f"tag {node.tag}: tags are not taken", text)
        if make is int and len(node.value) > LONGEST_INTEGER:
            return _refused(node, f"a number of more than {LONGEST_INTEGER} digits", text)
        return make(node.value)
    if node.tag not in {"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}:
        return _refused(node, f"tag {node.tag}: tags are not taken", text)
    if isinstance(node, yaml.SequenceNode):
        return [_value(child, (*place, number), text) for number, child in enumerate(node.value)]
    mapping: dict[str, Any] = {}
    for key_node, child in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            _refused(key_node, "a key should be a name", text)
            continue
        key = key_node.value
        if key in mapping:
            first = text.lines[*place, key]
            _refused(key_node, f"duplicate key {key!r}, first on line {first}", text)
            continue
        text.lines[*place, key] = key_node.start_mark.line + 1
        mapping[key] = _value(child, (*place, key), text)
    return mapping


def _refused(node: yaml.Node, problem: str, text: RouteText) -> None:
    text.problems.append((node.start_mark.line + 1, problem))
