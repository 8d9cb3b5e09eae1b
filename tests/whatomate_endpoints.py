"""Table of Whatomate's endpoints, and the section of docs/preset.md that is made of it.

Run as a program it prints the section.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

TABLE: Final = Path(__file__).parents[1] / "config" / "presets" / "whatomate-endpoints.tsv"


@dataclass(frozen=True)
class Endpoint:
    """One line of the table; its columns are explained there."""

    method: str
    path: str
    needs: str
    since: str
    server: str
    why: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def accepted(self) -> frozenset[str]:
        """The permissions of which the preset asks for any one; none where it asks for none."""
        return frozenset() if self.needs in {"public", "member"} else frozenset(self.needs.split("|"))

    def admits(self, permissions: frozenset[str] | None) -> bool:
        """Return whether the preset lets a caller pass; None is a caller without a credential."""
        if permissions is None:
            return self.needs == "public"
        return not self.accepted or not self.accepted.isdisjoint(permissions)

    @property
    def is_stricter(self) -> bool:
        """True if the preset asks for a permission where the server asks for none."""
        return self.server in {"nothing", "rows"} and bool(self.accepted)


def read_table() -> tuple[Endpoint, ...]:
    """Read the table."""
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    rows = (line.split("\t") for line in lines if line and not line.startswith("#"))
    return tuple(Endpoint(*row, *[""] * (6 - len(row))) for row in rows)


def stricter_section() -> str:
    """Return, as Markdown, where the preset asks for a permission and the server for none, by permission."""
    found: dict[str, list[str]] = {}
    for endpoint in read_table():
        if endpoint.is_stricter:
            rows = "" if endpoint.server == "nothing" else " (rows)"
            found.setdefault(endpoint.needs, []).append(f"`{endpoint}`{rows}")
    lines = [f"| {' or '.join(needs.split('|'))} | {', '.join(found[needs])} |" for needs in sorted(found)]
    return "\n".join(["| the preset asks for | endpoints |", "|---|---|", *lines, ""])


if __name__ == "__main__":
    print(stricter_section(), end="")  # noqa: T201 - a program's output
