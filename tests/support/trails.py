"""The audit trail as tests read it: the rows of a database, and the check of their chain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from authcore.store.trail import TrailFilter
from tests.support.processes import eventually

if TYPE_CHECKING:
    from collections.abc import Sequence

    from authcore.store.postgres import PostgresStore
    from authcore.trail import AuditRecord, ChainPosition


async def records(store: PostgresStore, **which: Any) -> list[AuditRecord]:
    """The records of the trail, the first written first."""
    rows = await store.list_trail(TrailFilter(**which), 1000)
    return [row.record for row in reversed(rows)]


async def recorded(store: PostgresStore, event: str, number: int = 1) -> list[AuditRecord]:
    """Wait until so many records of an event are written, and return them."""
    found: list[AuditRecord] = []

    async def are_there() -> bool:
        found[:] = await records(store, event=event)
        return len(found) >= number

    await eventually(are_there)
    return found


async def verified(store: PostgresStore, expected: ChainPosition | None = None) -> tuple[int, str]:
    """Return the number of right rows of the chain, and the first break; empty for none."""
    check = await store.check_trail(expected)
    return check.rows, check.broken


def events(found: Sequence[AuditRecord]) -> list[tuple[str, str]]:
    """Event and outcome of each record."""
    return [(one.event, one.outcome) for one in found]
