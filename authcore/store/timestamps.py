"""Timestamp expressions: SQL that brings absent timestamps, and those out of Python's range, into that range.

``created_at`` and ``updated_at`` have no default there: a row that plain SQL wrote lacks them, and Whatomate reads them
as Go's zero time. PostgreSQL's timestamps reach from 4713 BC to 294276 and to infinity, Python's from 1 to 9999.
"""

from __future__ import annotations

from typing import Final

_FIRST: Final = "timestamptz '0001-01-01 00:00:00+00'"
_LAST: Final = "timestamptz '9999-12-31 23:59:59+00'"


def readable(sql: str) -> str:
    """Return the SQL of a moment between the first and the last of Python's; the first one where `sql` is NULL."""
    return f"least(greatest({sql}, {_FIRST}), {_LAST})"


def readable_or_null(sql: str) -> str:
    """Return the same, which stays NULL where `sql` is NULL."""
    return f"CASE WHEN {sql} IS NOT NULL THEN {readable(sql)} END"
