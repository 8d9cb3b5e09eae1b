"""SQL of moments that may be absent: ``created_at`` and ``updated_at`` of Whatomate's tables, which have no default.

A row that plain SQL wrote lacks them. Whatomate reads such a moment as the zero time of Go, and so does the gateway.
"""

from __future__ import annotations


def moment(column: str) -> str:
    """Return the SQL of a column's moment, which is the first one there is where the column is NULL."""
    return f"coalesce({column}, timestamptz '0001-01-01 00:00:00+00')"
