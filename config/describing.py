"""Settings reference: it describes every setting for the documentation page, the settings command and the schema.

Law: everything here is derived from the settings, so the three cannot differ from what the settings accept.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from pydantic import SecretStr, create_model
from pydantic_core import PydanticUndefined

from config.checks import HINTS
from config.layers import FIELDS, LISTS, PREFIX
from config.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

UNITS: Final = ("seconds", "bytes")
_BOUNDS: Final = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
_KINDS: Final = {"integer": "integer", "number": "number", "boolean": "on or off", "string": "text"}


@dataclass(frozen=True, slots=True)
class Described:
    """Description of one setting.

    Attributes:
        name: The name that an operator types.
        kind: Its type and bounds, in words.
        unit: What a number counts, if the name has it.
        default: The default as an operator would write it; empty if there is none.
        meaning: What it does.
        is_secret: It belongs into a file, not into a manifest.
        schema: A JSON schema of its values in YAML.
    """

    name: str
    kind: str
    unit: str
    default: str
    meaning: str
    is_secret: bool
    is_required: bool
    schema: dict[str, Any]


def described() -> Iterator[Described]:
    """Yield every setting, in the order of their declaration."""
    for name, of in FIELDS.items():
        schema = _schema(name, of)
        yield Described(
            name=name,
            kind=_kind(name, schema),
            unit=next((unit for unit in UNITS if name.endswith("_" + unit.upper())), ""),
            default=_default(of),
            meaning=(of.description or "").strip(),
            is_secret=is_secret(of),
            is_required=name in HINTS,
            schema=schema,
        )


def is_secret(of: FieldInfo) -> bool:
    """Return whether a setting's type hides its value."""
    return SecretStr.__name__ in repr(of.annotation)


def markdown() -> str:
    """Return the documentation page: a table for each group."""
    lines = [_PREAMBLE.strip(), ""]
    for group, members in groupby(described(), key=lambda one: _group(one.name)):
        lines += [f"## {group or 'At the top'}", ""]
        about = _about(group)
        lines += [about, ""] if about else []
        lines += ["| setting | type | default | unit | meaning |", "|---|---|---|---|---|"]
        lines += [
            f"| `{one.name}` | {_cell(one.kind)} | {_default_cell(one)} | {one.unit} | {_cell(one.meaning)} |"
            for one in members
        ]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def schema() -> dict[str, Any]:
    """Return two JSON schemas of a map of settings: one of the public settings, and one of the secret ones."""
    config: dict[str, Any] = {}
    secrets: dict[str, Any] = {}
    for one in described():
        property_schema = {"description": one.meaning, **one.schema}
        if one.default and not one.is_secret:
            property_schema["description"] = f"{one.meaning} Default: {one.default}"
        (secrets if one.is_secret else config)[one.name] = property_schema
    return {
        "config": {"type": "object", "additionalProperties": False, "properties": config},
        "secrets": {"type": "object", "additionalProperties": False, "properties": secrets},
    }


_PREAMBLE: Final = """
<!-- Generated from the settings themselves by `make docs`; edit config/settings.py and config/groups/ instead. -->
# Settings

Each setting is looked for in this order, and the first place that has it wins: the environment; the file that
`<setting>_FILE` names; `.env` in the current folder, which may name files in the same way; a file called like the
setting in the folder `GATEWAY_SECRETS_DIR`; the default. An empty value counts as not set, except for a list, where it
is the empty list. An empty file is refused, unless it is of a list. Lists are comma-separated. On and off may be
written `on` and `off`, `true` and `false`, `1` and `0`. A file has 16 MiB at most. `.env`, and the file of a setting
that holds its value, may be a pipe where one process serves.

A configuration that does not hold is refused whole, naming every problem, with exit code 2. `whatomate-gateway
check-config` tries it and prints what holds, with secrets hidden; `whatomate-gateway settings` lists what is below.
`whatomate-gateway health` alone asks a running gateway all the same: it reads `GATEWAY_ADMIN_LISTEN` and whether TLS is
spoken there, and judges nothing else.

A name that begins with `GATEWAY_` and is no setting is such a problem, wherever it is written: a mistyped setting would
be a lock that is not turned. So are names in other letters than capitals (`gateway_listen`) and names with a mistyped
prefix (`GATWAY_LISTEN`), if they spell a setting, and a setting that stands twice in `.env` or in the folder. Variables
that Kubernetes sets beside a Service called `gateway`, such as its address and port, that Docker sets for a link, and
that of CGI are passed over in the environment, by the form of their values. Names of other programs are passed over
where `GATEWAY_FOREIGN_NAMES` has them.
"""


def _group(name: str) -> str:
    path = name.removeprefix(PREFIX).lower()
    return "" if path in Settings.model_fields else path.partition("_")[0]


def _about(group: str) -> str:
    annotation = Settings.model_fields[group].annotation if group else None
    return " ".join((annotation.__doc__ or "").split()) if annotation is not None else ""


def _schema(name: str, of: FieldInfo) -> dict[str, Any]:
    one = create_model("One", value=(of.annotation or str, of)).model_json_schema()["properties"]["value"]
    found: dict[str, Any] = {key: one[key] for key in one if key not in {"title", "default", "description"}}
    choices = found.pop("anyOf", None)
    if choices is not None:  # Optional[X]: describe X
        choice = next(choice for choice in choices if choice.get("type") != "null")
        found |= {key: value for key, value in choice.items() if key != "title"}
    for key in ("writeOnly", "format", "description"):
        found.pop(key, None)
    if name in LISTS:
        return {"type": ["string", "array"], "items": {"type": "string"}}
    if found["type"] == "boolean":
        return {"type": ["boolean", "string"], "enum": [True, False, "on", "off", "true", "false"]}
    return found


def _kind(name: str, schema: dict[str, Any]) -> str:
    if name in LISTS:
        return "list"
    if "enum" in schema:
        return (
            "on or off"
            if True in schema["enum"]
            else "one of " + ", ".join(f"`{one}`" for one in schema["enum"])
        )
    bounds = [f"{sign} {_number(schema[key])}" for key, sign in _BOUNDS.items() if key in schema]
    return ", ".join([_KINDS[schema["type"]], *bounds])


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.15g}"


def _default(of: FieldInfo) -> str:
    value = of.default
    if value is None or value is PydanticUndefined:
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ",".join(str(one) for one in value)
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _default_cell(one: Described) -> str:
    if one.default:
        return f"`{_cell(one.default)}`"
    return "required" if one.is_required else "none"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
