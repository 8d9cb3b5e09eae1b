"""Audit recorder: it takes records without waiting, logs them, and writes them to ``gateway_audit`` in the background.

Laws:

- Recording waits for nothing and never fails a request. The database may be away: records wait in a bounded buffer.
- A batch is written once, whatever answers are lost. What is lost is counted, and the trail says so itself.
- A record that the database refuses costs no other: its texts are escaped, and if that is no use, it alone is lost.
- Refusals are bounded by a minute's allowance; successes never are.
- No password, token, API key or cookie comes here: texts of clients are cleaned, and masked where they look like one.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol
from uuid import uuid4

import structlog

from authcore.errors import StoreUnavailable
from authcore.figures import MetricSample
from authcore.moments import moment
from authcore.networks import network
from authcore.store.failures import classify
from authcore.store.kinds import FailureKind
from authcore.trail import AuditOutcome, AuditRecord, Event
from gateway.logs import masked
from gateway.logs.limited import LimitedEvents
from gateway.trail.allowance import Allowance
from gateway.trail.buffer import RecordBuffer
from gateway.trail.texts import clean, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from uuid import UUID

    from authcore.store.trail import TrailFilter
    from authcore.trail import ChainedRow, ChainPosition
    from gateway.trail.buffer import Batch

GAP_SECONDS: Final = 0.1
"""Between two statements, at least: what comes meanwhile is written together."""
_IDLE_SECONDS: Final = 5.0
_LAST_SECONDS: Final = 2.0
"""What writing the rest may take at the end."""

log = structlog.get_logger()


class TrailStore(Protocol):
    """Store of the trail, as ``authcore.store.trail`` has it."""

    async def append_trail(self, writer: UUID, number: int, records: Sequence[AuditRecord]) -> ChainPosition:
        """Append a batch, unless it was appended before."""

    async def tidy_trail(self, keep_days: int) -> int:
        """Make partitions, and drop the months that are too old; return how many."""

    async def list_trail(self, which: TrailFilter, limit: int) -> Sequence[ChainedRow]:
        """Return records, the last written first."""


class Trail:
    """Audit recorder of one process."""

    def __init__(  # noqa: PLR0913 -- its collaborators by position, its settings by name
        self,
        store: TrailStore,
        now: Callable[[], float],
        *,
        to_table: bool = True,
        to_log: bool = True,
        buffer: int = 10_000,
        refusals: int = 600,
        keep_days: int = 400,
    ) -> None:
        """Prepare.

        Args:
            store: The trail in the database.
            now: The clock that all gateways share, POSIX seconds.
            to_table: Write records to the database.
            to_log: Log each record as an event.
            buffer: Records that may wait for the database.
            refusals: Refusals recorded in a minute.
            keep_days: A month is dropped so many days after its end; 0: never.
        """
        self._store = store
        self._now = now
        self._to_table = to_table
        self._to_log = to_log
        self._keep_days = keep_days
        self._buffer = RecordBuffer(buffer)
        self._allowance = Allowance(refusals)
        self._writer = uuid4()
        self._due = asyncio.Event()
        self._turn = asyncio.Lock()
        self._trouble = ""
        self._events = LimitedEvents()
        self._last: ChainPosition | None = None
        self._closed = False

    @property
    def is_on(self) -> bool:
        """True if records go anywhere."""
        return self._to_table or self._to_log

    # -- recording -------------------------------------------------------------------------------------------------

    def record(  # noqa: PLR0913 -- a record, by name
        self,
        event: Event,
        outcome: AuditOutcome,
        *,
        reason: str | None = None,
        user_id: UUID | None = None,
        email: str | None = None,
        organization_id: UUID | None = None,
        api_key_id: UUID | None = None,
        session_id: UUID | None = None,
        target: str | None = None,
        address: str | None = None,
        user_agent: str | None = None,
        request_id: str | None = None,
        details: Mapping[str, object] | None = None,
    ) -> None:
        """Record what happened. The parts are those of ``AuditRecord``; texts may be as a client has sent them."""
        if not self.is_on:
            return
        if outcome is not AuditOutcome.SUCCESS and not self._allowance.allows(
            network(address or ""), time.monotonic()
        ):
            return
        self._take(
            AuditRecord(
                at=moment(self._now()),
                event=event,
                outcome=outcome,
                reason=reason,
                user_id=user_id,
                email=clean(email),
                organization_id=organization_id,
                api_key_id=api_key_id,
                session_id=session_id,
                target=clean(target),
                address=clean(address),
                user_agent=clean(user_agent),
                request_id=clean(request_id),
                details=masked(json.dumps(details or {}, default=str)),
            )
        )

    def _take(self, record: AuditRecord) -> None:
        if self._to_log:
            parts = {name: part for name, part in record.parts() if name != "event"}
            event = f"audit_{record.event}"
            if record.facts:
                parts["details"] = record.facts
            log.info(event, **parts)
        if self._to_table and self._closed:
            log.error("audit_records_lost", records=1, error="it came after the trail was closed")
        elif self._to_table:
            if not self._buffer.add(record):
                self._events.warning(
                    "audit_records_lost",
                    waiting=len(self._buffer),
                    meaning="they are counted, and the trail will say so; GATEWAY_AUDIT_BUFFER bounds what waits",
                )
            self._due.set()

    def _take_left_out(self, *, at_once: bool = False) -> None:
        number = self._allowance.left_out(time.monotonic(), at_once=at_once)
        if number:
            self._take(
                AuditRecord(
                    at=moment(self._now()),
                    event=Event.REFUSALS_OMITTED,
                    outcome=AuditOutcome.REFUSED,
                    reason="allowance",
                    details=json.dumps({"omitted": number}),
                )
            )

    # -- writing ---------------------------------------------------------------------------------------------------

    async def turn(self) -> None:
        """Wait until there is a record, and write; the task runs this again and again."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_IDLE_SECONDS):
                await self._due.wait()
        self._due.clear()
        self._take_left_out()
        if not await asyncio.shield(self.flush()):
            self._due.set()
            await asyncio.sleep(1)

    async def flush(self) -> bool:
        """Write what waits; return False if the database does not answer."""
        async with self._turn:
            while (batch := self._buffer.batch()) is not None:
                try:
                    self._last = await self._store.append_trail(self._writer, batch.number, batch.records)
                except StoreUnavailable as error:
                    failure = classify(error.__cause__)
                    if failure.kind is not FailureKind.ROWS:
                        self._note(failure.sentence)
                        return False
                    self._lighten(batch, failure.sentence)
                except Exception:
                    log.exception("audit_batch_refused", records=len(batch.records))
                    self._buffer.spoil(batch)
                else:
                    self._note("")
                    self._buffer.wrote(batch)
        return True

    def _lighten(self, batch: Batch, refusal: str) -> None:
        """Escape the texts of a batch that was refused for what is in it; then halve it, and give up a record alone."""
        records = tuple(map(plain, batch.records))
        if records != batch.records:
            self._buffer.instead(batch, records)
        elif len(records) > 1:
            self._buffer.instead(batch, records[: len(records) // 2])
        else:
            log.error("audit_batch_refused", records=1, error=refusal)
            self._buffer.spoil(batch)

    def _note(self, trouble: str) -> None:
        if trouble and not self._trouble:
            log.warning("audit_not_written", error=trouble, meaning="records wait in memory")
        elif self._trouble and not trouble:
            log.info("audit_written_again")
        self._trouble = trouble

    async def tidy(self) -> int:
        """Make partitions ahead, drop months that are too old, and log the end of the chain; return how many months."""
        if not self._to_table:
            return 0
        months = await self._store.tidy_trail(self._keep_days)
        if months:
            details = {"months": months, "keep_days": self._keep_days}
            self.record(Event.RETENTION, AuditOutcome.SUCCESS, details=details)
        self._log_head()
        return months

    def _log_head(self) -> None:
        """Log the last row this process wrote, so that what is kept elsewhere proves what the chain was."""
        if self._last is not None:
            log.info("audit_head", seq=self._last.seq, hash=self._last.hash.hex())
            self._last = None

    async def close(self) -> None:
        """Write what waits, if the database answers in time."""
        self._take_left_out(at_once=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_SECONDS):
                await self.flush()
        self._closed = True
        if len(self._buffer):
            log.error(
                "audit_records_lost", records=len(self._buffer), error=self._trouble or "no answer in time"
            )
        self._log_head()

    # -- reading ---------------------------------------------------------------------------------------------------

    async def find(self, which: TrailFilter, limit: int) -> Sequence[ChainedRow]:
        """Return records, the last written first, `limit` at most. What waits in this process is written before.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        await self.flush()
        return await self._store.list_trail(which, limit)

    def figures(self) -> Iterable[MetricSample]:
        """Return the metrics to publish."""
        buffer, allowance = self._buffer, self._allowance
        yield MetricSample(
            "waiting", "Records of the audit trail that wait for the database.", lambda: len(buffer)
        )
        yield MetricSample(
            "written", "Records of the audit trail written.", lambda: buffer.written, counts=True
        )
        yield MetricSample("lost", "Records of the audit trail lost.", lambda: buffer.lost, counts=True)
        yield MetricSample(
            "omitted",
            "Refusals left out of the audit trail, beyond a minute's allowance.",
            lambda: allowance.omitted,
            counts=True,
        )
        yield MetricSample(
            "away", "1 while the database does not take the audit trail.", lambda: float(bool(self._trouble))
        )
