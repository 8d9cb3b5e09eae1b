"""Folded e-mails: the SQL by which two spellings of an e-mail are one.

Law: both sides of a comparison are folded. Whatomate stores an e-mail as it was typed, spaces around it included; an
index holds the folded form (migration 0020).
"""

from __future__ import annotations

from typing import Final

_SPACES: Final = r"E' \t\n\r\f\x0b'"


def folded(expression: str) -> str:
    """Return SQL for the e-mail in `expression`, in lower case and without spaces around it."""
    return f"lower(btrim({expression}, {_SPACES}))"
