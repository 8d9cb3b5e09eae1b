"""Moments: POSIX seconds, as clocks and tokens give them, as the datetimes that asyncpg expects."""

from __future__ import annotations

from datetime import UTC, datetime


def moment(seconds: float) -> datetime:
    """Return POSIX seconds as an aware datetime in UTC."""
    return datetime.fromtimestamp(seconds, UTC)
