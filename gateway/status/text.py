"""HTML of single values and of tables: every value of a report is escaped here."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_WHOLE: Final = 0.9
"""Share of a span that has to have passed for it to be called by its name."""
NOTHING: Final = "\N{EN DASH}"


class Cell(NamedTuple):
    """Cell of a table: HTML, and the class of its colour."""

    html: str
    kind: str = ""


def tell(value: object) -> str:
    """Return a value as text that is safe in HTML, within elements and attributes."""
    return escape(str(value), quote=True)


def table(head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """Return a table. Each cell repeats the title of its column, for screens on which rows become blocks."""
    titles = "".join(f"<th>{tell(title)}</th>" for title in head)
    lines = []
    for row in rows:
        titled = zip((*head, *("",) * (len(row) - len(head))), row, strict=False)
        lines.append(
            "<tr>"
            + "".join(
                f'<td data-title="{tell(title)}"{_class(cell.kind)}>{cell.html}</td>'
                for title, cell in titled
            )
            + "</tr>"
        )
    drawn = f"<thead><tr>{titles}</tr></thead>" if titles else ""
    kind = _class("titled") if titles else ""
    return f"<table{kind}>{drawn}<tbody>{''.join(lines)}</tbody></table>"


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def bar(share: float, kind: str) -> str:
    """Return a bar that is filled by `share`, from 0 to 1."""
    filled = 100 * min(max(share, 0.0), 1.0)
    return (
        '<svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true"><rect class="full" width="100" '
        f'height="8"/><rect class="{kind}" width="{filled:.1f}" height="8"/></svg>'
    )


def number(value: float) -> str:
    """Return a number, with thin spaces between thousands."""
    if value == int(value):
        return f"{int(value):,}".replace(",", "\u202f")
    return f"{value:.1f}"


def seconds(value: float | None) -> str:
    """Return a duration in milliseconds or seconds; a dash for None."""
    if value is None:
        return NOTHING
    if value < 1:
        return f"{value * 1000:.1f}\u202fms"
    return f"{value:.1f}\u202fs"


def age(value: float) -> str:
    """Return an age in the largest unit that fits."""
    for size, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if value >= size:
            return f"{value / size:.0f}\u202f{name}"
    return f"{value:.0f}\u202fs"


def span(covered: float, whole: float, name: str) -> str:
    """Return `name` for a window that covers `whole` seconds, or the seconds for one that does not yet."""
    return name if covered >= _WHOLE * whole else f"{max(covered, 1):.0f}\u202fs"
