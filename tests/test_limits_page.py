"""docs/limits.md held against the settings: every number that bounds something has a row, with its default."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, get_args

import pytest

from config.layers import FIELDS

PAGE: Final = (Path(__file__).parents[1] / "docs/limits.md").read_text(encoding="utf-8")
NO_BOUNDS: Final = {
    "GATEWAY_LOG_SAMPLE": "a share of requests",
    "GATEWAY_TRACE_SAMPLE": "a share of requests",
    "GATEWAY_PASSWORD_COST": "the work of one hash",
    "GATEWAY_TLS_REDIRECT_PORT": "a port",
    "GATEWAY_METRICS_INTERVAL_SECONDS": "a pace of sending",
}
"""Numbers among the settings that limit nothing, with what they are."""


def is_number(annotation: object) -> bool:
    return annotation in {int, float} or any(is_number(part) for part in get_args(annotation))


BOUNDS: Final = [name for name, field in FIELDS.items() if is_number(field.annotation)]
ROWS: Final = dict(re.findall(r"^\| .+ \| `(GATEWAY_[A-Z_]+)`[^|]* \| ([^|]+) \| .*\|$", PAGE, re.MULTILINE))
WORDS: Final = {
    "GATEWAY_LIMIT_BODY_BYTES": "0: none",
    "GATEWAY_SHED_LAG_SECONDS": "0: never",
    "GATEWAY_SHED_MEMORY": "0: never",
    **dict.fromkeys(
        (
            *("GATEWAY_QUOTA_KEY_DAY", "GATEWAY_QUOTA_KEY_MONTH"),
            *("GATEWAY_QUOTA_ORGANIZATION_DAY", "GATEWAY_QUOTA_ORGANIZATION_MONTH"),
        ),
        "0: none",
    ),
    "GATEWAY_PASSWORD_NETWORK_WORKERS": "half of the threads",
}
"""Defaults that the page explains, of settings whose 0 has a meaning of its own."""


def test_settings_without_a_row_are_no_bounds() -> None:
    assert set(NO_BOUNDS) <= set(BOUNDS)
    assert set(NO_BOUNDS).isdisjoint(ROWS)


@pytest.mark.parametrize("name", [name for name in BOUNDS if name not in NO_BOUNDS])
def test_every_limit_and_deadline_has_a_row_with_its_default(name: str) -> None:
    assert name in ROWS, f"docs/limits.md has no row `{name}`"
    default = FIELDS[name].get_default(call_default_factory=True)
    if name in WORDS:
        assert default == 0
        assert ROWS[name] == WORDS[name]
    elif default is not None:
        assert float(ROWS[name].partition(":")[0].replace(",", "")) == default, ROWS[name]


def test_every_row_is_of_a_setting() -> None:
    assert set(ROWS) <= set(BOUNDS)
