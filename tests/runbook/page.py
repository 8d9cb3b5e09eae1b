"""The runbook as it is carried out: entries, their numbered steps, and the blocks to type or to set in each.

The convention is the page's own, and stands at its top: a ``console`` block is typed, after ``# on every gateway`` once
for each; an ``ini`` block is what the gateways' settings are from then on; a ``toml`` block is Whatomate's.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PAGE: Final = (Path(__file__).parents[2] / "docs/runbook.md").read_text(encoding="utf-8")
EVERY: Final = "# on every gateway"
LANGUAGES: Final = ("console", "ini", "toml")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block of a step.

    Attributes:
        language: ``console``, ``ini`` or ``toml``.
        text: Its lines, without indentation.
    """

    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """The typed commands: the lines behind a prompt, with those that continue them."""
        return re.findall(r"^\$ ((?:.*\\\n)*.*)$", self.text, re.MULTILINE)

    @property
    def is_for_every_gateway(self) -> bool:
        """True if it is typed once for each gateway, with that gateway's settings."""
        return self.text.startswith(EVERY)

    @property
    def settings(self) -> dict[str, str]:
        """The settings of the ``ini`` blocks, by name."""
        return dict(re.findall(r"^([A-Z_]+)=(.*)$", self.text, re.MULTILINE))


@dataclass(frozen=True, slots=True)
class Step:
    """A numbered step: what it says, and its blocks in order."""

    number: int
    text: str
    blocks: tuple[Block, ...]


def entries(page: str = PAGE) -> dict[str, list[Step]]:
    """Return the numbered steps of every entry, by its heading."""
    parts = re.split(r"^## (.+)$", page, flags=re.MULTILINE)
    return {title: _steps(body) for title, body in zip(parts[1::2], parts[2::2], strict=True)}


def carried_out(page: str = PAGE) -> dict[str, list[Step]]:
    """Return the entries that have something to type or to set in a numbered step."""
    return {title: steps for title, steps in entries(page).items() if any(step.blocks for step in steps)}


def _steps(body: str) -> list[Step]:
    parts = re.split(r"^(\d+)\. ", body, flags=re.MULTILINE)
    steps = []
    for number, text in zip(parts[1::2], parts[2::2], strict=True):
        own = re.split(r"^(?=\S)", text.partition("\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
        whole = f"{text.partition(chr(10))[0]}\n{own}"
        found = re.findall(r"^ +```(\w+)\n(.*?)^ +```$", whole, re.MULTILINE | re.DOTALL)
        blocks = tuple(Block(language, textwrap.dedent(inner).strip()) for language, inner in found)
        steps.append(Step(int(number), whole, blocks))
    return steps
