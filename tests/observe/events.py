"""Events that the code logs: their names and levels, read from the calls."""

from __future__ import annotations

import ast
from typing import Final

from tests.laws import ROOT

LEVELS: Final = {
    "info": "info",
    "notice": "info",
    "warning": "warning",
    "error": "error",
    "exception": "error",
}
"""Level by the method that logs it."""
OF_COMMANDS: Final = ("audit", "commands", "dev")
"""Packages of the gateway that no running gateway has a part in."""


def written() -> dict[str, set[str]]:
    """Return the levels of each event of a running gateway."""
    found: dict[str, set[str]] = {}
    for folder in ("gateway", "authcore"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path.relative_to(ROOT / folder).parts[0] in OF_COMMANDS:
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                match node:
                    case ast.Call(
                        func=ast.Attribute(attr=method), args=[ast.Constant(value=str(event)), *_]
                    ) if method in LEVELS:
                        found.setdefault(event, set()).add(LEVELS[method])
    return found
