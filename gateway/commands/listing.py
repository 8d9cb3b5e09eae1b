"""Lists of commands: rows as a table, as lines with tabs, or as JSON.

Laws:

- On a terminal a list is a table with a head. Elsewhere each row is a line of values with tabs between them, without a
  head. With ``--json`` it is one array of objects, with every field of :class:`Field` in its order; the names of fields
  are an interface, and stay.
- A value never begins a line or a column: control characters are escaped. A terminal would obey them.
"""

from __future__ import annotations

import functools
import json
import sys
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    Row = Mapping[str, object]

NO_VALUE: Final = "-"
_FIELDS: Final = "fields_of_rows"


@dataclass(frozen=True)
class Field:
    """Field of the rows of a list.

    Attributes:
        name: Its name in JSON, and above its column.
        meaning: What it is, in a few words.
        absent: What a table has in the place of null.
        in_table: Whether it is a column of the table, and not of JSON alone.
    """

    name: str
    meaning: str
    absent: str = NO_VALUE
    in_table: bool = True


def listed(*fields: Field) -> Callable[[Callable[..., Iterable[Row]]], Callable[..., None]]:
    """Make a function that returns rows into the callback of a command that prints them, with an option ``--json``."""

    def wrap(function: Callable[..., Iterable[Row]]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(*args: Any, as_json: bool, **options: Any) -> None:
            print_rows(function(*args, **options), fields, as_json=as_json)

        setattr(run, _FIELDS, fields)
        return json_option(run)

    return wrap


def json_option(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the option ``--json``, passed on as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def fields_of(command: click.Command) -> Sequence[Field]:
    """Return the fields of the rows that a command prints; empty if it prints no list."""
    found: Sequence[Field] = getattr(command.callback, _FIELDS, ())
    return found


def print_rows(rows: Iterable[Row], fields: Sequence[Field], *, as_json: bool) -> None:
    """Print rows on standard output, as the laws of this module say."""
    if as_json:
        click.echo(as_text([{one.name: row[one.name] for one in fields} for row in rows]))
        return
    columns = [one for one in fields if one.in_table]
    cells = [[text_of(row[one.name], one.absent) for one in columns] for row in rows]
    if sys.stdout.isatty():
        for line in aligned([[one.name for one in columns], *cells]) if cells else []:
            click.echo(line)
        return
    for row_cells in cells:
        click.echo("\t".join(row_cells))


def as_text(value: object) -> str:
    """Return `value` as JSON in ASCII; moments in RFC 3339 and UTC."""
    return json.dumps(value, indent=2, default=_plain)


def text_of(value: object, absent: str = NO_VALUE) -> str:
    """Return `value` in one line of a table."""
    if value is None or value in ("", []):
        return absent
    if isinstance(value, list):
        return ", ".join(text_of(one) for one in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return _plain(value)
    return "".join(_escaped(one) for one in str(value))


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Return each of `lines` as one text, in which the columns stand below each other."""
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell + " " * (width - _width(cell)) for cell, width in zip(line, widths, strict=True)
        ).rstrip()
        for line in lines
    ]


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _escaped(one: str) -> str:
    # Cc and Cf turn lines and the direction of reading; Cs cannot be encoded; Zl and Zp end lines.
    return (
        one.encode("unicode_escape").decode("ascii")
        if unicodedata.category(one) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
        else one
    )


def _width(text: str) -> int:
    """Return how many columns of a terminal `text` takes."""
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in {"W", "F"} else 1
        for one in text
    )
