"""Audit trail in PostgreSQL: records are appended to one hash chain, listed, and read in order.

Laws:

- The gateway's role may read the trail, and writes it by two functions of the migrating role's alone.
- A batch whose number was written before changes nothing.
- An append waits for the head of the chain, in a statement of its own that no request waits for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from authcore.trail import BEGINNING, AuditRecord, ChainCheck, ChainedRow, ChainPosition, Head

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from authcore.store.pool import DatabasePool, Row

_APPEND: Final = "SELECT last_seq, last_hash FROM gateway_audit_append($1::uuid, $2::bigint, $3::jsonb)"
_UPKEEP: Final = "SELECT gateway_audit_upkeep($1::integer)"
# It takes no snapshot. With an older one than the lock, a month that is dropped meanwhile would seem to be taken away.
_HOLD: Final = "LOCK TABLE ONLY gateway_audit IN ACCESS SHARE MODE"
_HEAD: Final = "SELECT seq, hash, dropped_seq, dropped_hash FROM gateway_audit_head"
_COLUMNS: Final = tuple(field.name for field in fields(AuditRecord))
_OTHERS: Final = ", ".join(name for name in _COLUMNS if name != "at")


def _bounded(moment: str) -> str:
    """Return the expression of a moment that Python can hold: somebody may have written the year 12000, or infinity.

    No hash is right for such a row, so the check of the chain names it.
    """
    return f"greatest('0001-01-02Z', least('9999-12-30Z', {moment})) AS {moment}"


_ROWS: Final = (
    f"SELECT seq, {_bounded('written_at')}, writer, hash, {_bounded('at')}, {_OTHERS} FROM gateway_audit"  # noqa: S608 -- constants
)
_NEXT: Final = (
    f"{_ROWS} WHERE (seq, written_at) > ($1::bigint, $2::timestamptz)"
    " ORDER BY seq, gateway_audit.written_at LIMIT 1000"
)
_FIRST: Final = (-(2**63), datetime(1, 1, 1, tzinfo=UTC))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrailFilter:
    """Filter of listed records; a part that is None filters nothing.

    Attributes:
        since, until: Records that happened from then on, and before then.
        user_id: Records of what the user did, or what was done to them.
        email, organization_id, event, outcome: Records that have it.
        before: Records with a lower number: the last one of the page before.
    """

    since: datetime | None = None
    until: datetime | None = None
    user_id: UUID | None = None
    email: str | None = None
    organization_id: UUID | None = None
    event: str | None = None
    outcome: str | None = None
    before: int | None = None


_CONDITIONS: Final = {
    "since": "at >= ${}",
    "until": "at < ${}",
    "user_id": "(user_id = ${0}::uuid OR target = ${0}::uuid::text)",
    "email": "lower(email) = lower(${})",
    "organization_id": "organization_id = ${}",
    "event": "event = ${}",
    "outcome": "outcome = ${}",
    "before": "seq < ${}",
}


class TrailRows:
    """Writes and reads of the audit trail."""

    _pool: DatabasePool

    async def append_trail(self, writer: UUID, number: int, records: Sequence[AuditRecord]) -> ChainPosition:
        """Append a batch of a process, unless it was appended before; return the last row of the trail then."""
        row = await self._pool.fetchrow(_APPEND, writer, number, _json(records))
        return ChainPosition(0, b"") if row is None else ChainPosition(row["last_seq"], row["last_hash"])

    async def tidy_trail(self, keep_days: int) -> int:
        """Make the partitions of this and the next months; drop months that ended `keep_days` ago, 0: none.

        Return how many months were dropped.
        """
        return int(await self._pool.fetchval(_UPKEEP, keep_days))

    async def list_trail(self, which: TrailFilter, limit: int) -> Sequence[ChainedRow]:
        """Return records, the last written first, `limit` at most."""
        conditions: list[str] = []
        values: list[object] = []
        for name, condition in _CONDITIONS.items():
            value = getattr(which, name)
            if value is not None:
                values.append(value)
                conditions.append(condition.format(len(values)))
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        statement = f"{_ROWS}{where} ORDER BY seq DESC LIMIT ${len(values) + 1}"
        return [_row(row) for row in await self._pool.fetch(statement, *values, limit)]

    async def check_trail(self, expected: ChainPosition | None = None) -> ChainCheck:
        """Read the whole trail in order, as it is at one moment, and return the check of its chain.

        `expected` is a row that was noted elsewhere.
        """
        async with self._pool.transaction() as connection:
            await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            await connection.execute(_HOLD)
            head = _head(await connection.fetchrow(_HEAD))
            check = ChainCheck(head.dropped, expected)
            last = _FIRST
            while not check.broken and (rows := await connection.fetch(_NEXT, *last)):
                for one in rows:
                    check.take(_row(one))
                last = rows[-1]["seq"], rows[-1]["written_at"]
        check.end(head)
        return check


def _head(row: Row | None) -> Head:
    if row is None:  # somebody has deleted it
        return Head(ChainPosition(0, BEGINNING), ChainPosition(0, BEGINNING))
    return Head(
        ChainPosition(row["seq"], row["hash"]), ChainPosition(row["dropped_seq"], row["dropped_hash"])
    )


def _json(records: Sequence[AuditRecord]) -> str:
    return json.dumps(
        [{name: _plain(value) for name, value in _values(one)} for one in records], ensure_ascii=False
    )


def _values(record: AuditRecord) -> list[tuple[str, object]]:
    return [*record.parts(), ("details", record.details)]


def _plain(value: object) -> object:
    isoformat = getattr(value, "isoformat", None)
    return isoformat() if isoformat is not None else str(value)


def _row(row: Row) -> ChainedRow:
    record = AuditRecord(**{name: row[name] for name in _COLUMNS})
    return ChainedRow(row["seq"], row["written_at"], row["writer"], row["hash"], record)
