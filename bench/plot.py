"""Plots of the benchmarks: bars, as an SVG that can be read on a light and on a dark page."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

OURS: Final = "#2f81f7"
THEIRS: Final = "#8b949e"
_INK: Final = "#010203"
"""The colour of text and axes while it is drawn; a viewer of the file replaces it by that of the page."""
_STYLE: Final = "<style>svg{--ink:#1f2328}@media(prefers-color-scheme:dark){svg{--ink:#e6edf3}}</style>"


@dataclass(frozen=True)
class Panel:
    """One chart of bars.

    Attributes:
        caption: What the bars show.
        bars: Label, value and colour of each, from the top.
        form: The format of a value.
        line: Where a line across the bars stands; None for no line.
    """

    caption: str
    bars: Sequence[tuple[str, float, str]]
    form: str = "{:,.0f}"
    line: float | None = None


def draw(path: Path, panels: Sequence[Panel]) -> bool:
    """Draw the panels that have bars beside each other; return False if none has, or matplotlib is not installed."""
    try:
        import matplotlib as mpl  # noqa: PLC0415 -- of the extra `bench` alone
        from matplotlib.figure import Figure  # noqa: PLC0415 -- of the extra `bench` alone
    except ImportError:
        return False
    panels = [panel for panel in panels if panel.bars]
    if not panels:
        return False
    look: dict[Any, str] = {
        "svg.hashsalt": "bench",
        "svg.fonttype": "none",
        "text.color": _INK,
        "axes.labelcolor": _INK,
    }
    look |= {"xtick.color": _INK, "ytick.color": _INK, "axes.edgecolor": _INK}
    tallest = max(len(panel.bars) for panel in panels)
    with mpl.rc_context(look):
        figure = Figure(figsize=(9, 0.4 * tallest * len(panels) + 1.2 * len(panels)), layout="constrained")
        figure.patch.set_alpha(0)
        for axes, panel in zip(figure.subplots(len(panels), squeeze=False)[:, 0], panels, strict=True):
            axes.patch.set_alpha(0)
            labels, values, colours = zip(*panel.bars, strict=True)
            drawn = axes.barh(labels, values, color=colours)
            axes.invert_yaxis()
            axes.bar_label(drawn, fmt=panel.form, padding=3)
            axes.spines[["top", "right"]].set_visible(False)
            axes.margins(x=0.12)
            axes.set_title(panel.caption, loc="left", fontsize="medium", x=0)
            if panel.line is not None:
                axes.axvline(panel.line, color=_INK, linewidth=1, linestyle="--")
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(both_ways(text.getvalue()), encoding="utf-8")
    return True


def both_ways(svg: str) -> str:
    """Return a drawing whose ink is dark on a light page, and light on a dark one."""
    return re.sub(r"(<svg\b[^>]*>)", rf"\1{_STYLE}", svg.replace(_INK, "var(--ink)"), count=1)
