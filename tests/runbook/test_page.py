"""The runbook held against its rehearsals: every entry with steps to carry out is carried out, and no other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from config.layers import FIELDS
from tests.runbook.page import LANGUAGES, PAGE, Step, carried_out, entries

REHEARSALS: Final = "".join(
    path.read_text(encoding="utf-8")
    for path in Path(__file__).parent.glob("test_*.py")
    if path.name != "test_page.py"
)
ALIKE: Final = [
    pytest.param(title, step, id=f"{title} {step.number}")
    for title, steps in carried_out().items()
    for step in steps
]


def test_every_entry_with_steps_to_carry_out_is_rehearsed() -> None:
    assert {title for title in carried_out() if f'"{title}"' not in REHEARSALS} == set()


def test_every_entry_of_a_night_is_there() -> None:
    assert {
        *("Rotate the shared secret", "The shared secret has leaked", "Rotate a signing key"),
        *(
            "A signing key has leaked",
            "An API key has leaked",
            "An account has leaked",
            "The database is down",
        ),
        *("The database's password is changed", "The database moves", "The upstream is down", "Upgrade"),
        *("Roll back", "Drain a node"),
    } == set(carried_out())


def test_no_block_stands_outside_of_a_numbered_step() -> None:
    """A block elsewhere on the page would be typed by an operator, and by no rehearsal."""
    in_steps = sum(len(step.blocks) for steps in entries().values() for step in steps)
    assert in_steps == len(re.findall(r"^ *```\w+$", PAGE, re.MULTILINE))


@pytest.mark.parametrize(("title", "step"), ALIKE)
def test_a_step_is_of_known_blocks_and_settings(title: str, step: Step) -> None:
    numbers = [one.number for one in carried_out()[title]]
    assert numbers == list(range(1, len(numbers) + 1))
    for block in step.blocks:
        assert block.language in LANGUAGES
        assert block.language != "console" or block.commands
        assert set(block.settings) <= set(FIELDS) if block.language == "ini" else True
