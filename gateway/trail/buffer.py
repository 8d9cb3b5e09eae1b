"""Record buffer of the audit trail: a bounded queue whose losses are counted where they happen.

Laws:

- Records leave in the order in which they came, each once. A batch is handed out unchanged until it is written, given
  up, or refused for what is in it.
- What finds no room is counted. A record ``records_lost`` with the number takes its place, before all later ones.
- At most `most` records wait, and one that says how many were lost.
"""

from __future__ import annotations

import json
from collections import deque
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from authcore.trail import AuditOutcome, AuditRecord, Event

if TYPE_CHECKING:
    from collections.abc import Sequence

BATCH: Final = 200
"""Records in one statement at most: for so many the chain is locked."""


class Batch(NamedTuple):
    """Batch of records.

    Attributes:
        number: Its number, by which the database knows that it was written before.
        records: The records, in order.
    """

    number: int
    records: Sequence[AuditRecord]


class RecordBuffer:
    """Record buffer of one process.

    Attributes:
        lost: Records lost since the start.
        written: Records written since the start.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: deque[AuditRecord] = deque()
        self._batch: Batch | None = None
        self._number = 0
        self._missing = 0
        self._missing_since = self._missing_until = datetime.min.replace(tzinfo=UTC)
        self.lost = self.written = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, record: AuditRecord) -> bool:
        """Add a record; return False if there is no room for it."""
        if self._missing or len(self._waiting) >= self._most:
            self._miss(record)
            return False
        self._waiting.append(record)
        return True

    def batch(self) -> Batch | None:
        """Return the records to write next; None if there are none. The same until they are written or spoiled."""
        if self._batch is None and self._waiting:
            self._number += 1
            self._batch = Batch(self._number, tuple(islice(self._waiting, BATCH)))
        return self._batch

    def wrote(self, batch: Batch) -> None:
        """Forget a batch that is written, and count what was lost meanwhile as the next record."""
        self._remove(batch)
        self.written += len(batch.records)
        if self._missing:
            self._waiting.append(_gap(self._missing, "buffer_full", self._missing_since, self._missing_until))
            self._missing = 0

    def instead(self, batch: Batch, records: Sequence[AuditRecord]) -> None:
        """Hand out `records` next: forms of the first ones of a batch that the database has refused whole."""
        if batch is not self._batch:
            raise RuntimeError("the batch is not the one under way")
        self._number += 1
        self._batch = Batch(self._number, tuple(records))

    def spoil(self, batch: Batch) -> None:
        """Give up a batch that the database refuses for what is in it; the loss is the next record."""
        self._remove(batch)
        self.lost += len(batch.records)
        if len(batch.records) == 1 and batch.records[0].event == Event.RECORDS_LOST:
            return  # else there would be no end
        lost, first, last = len(batch.records), batch.records[0].at, batch.records[-1].at
        self._waiting.appendleft(_gap(lost, "not_storable", first, last))

    def _remove(self, batch: Batch) -> None:
        if batch is not self._batch:
            raise RuntimeError("the batch is not the one under way")
        self._batch = None
        for _ in batch.records:
            self._waiting.popleft()

    def _miss(self, record: AuditRecord) -> None:
        if not self._missing:
            self._missing_since = record.at
        self._missing_until = record.at
        self._missing += 1
        self.lost += 1


def _gap(lost: int, reason: str, first: datetime, last: datetime) -> AuditRecord:
    details = {"lost": lost, "since": first.isoformat(), "until": last.isoformat()}
    return AuditRecord(
        at=last,
        event=Event.RECORDS_LOST,
        outcome=AuditOutcome.FAILED,
        reason=reason,
        details=json.dumps(details),
    )
