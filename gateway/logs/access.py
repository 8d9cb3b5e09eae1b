"""Access log: one record for each request, collected by the loop and rendered by the writer thread.

Law: refusals and errors are always written; of successes an evenly spaced share is, if so configured.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

import orjson

from gateway.logs import events
from gateway.logs.redaction import masked
from gateway.logs.text import access_line, escaped
from gateway.logs.verdicts import Verdicts
from gateway.logs.writer import Writer, standard_output

if TYPE_CHECKING:
    from gateway.logs.writer import Out

Record = dict[str, object]

BATCH: Final = 128
_QUOTING: Final = ("request_id", "method", "path", "query", "detail", "shadow_detail")
"""Fields that may quote what the client or a proxy sent, or the text of an error."""


class AccessLog:
    """Access log: the queue and the sampling of records.

    Attributes:
        enabled: Records are written at all.
        values: Records have the values of queries.
        skipped: Number of successes left out by sampling.
        verdicts: Refusals by hosted endpoints, for the records of those requests.
    """

    def __init__(
        self,
        out: Out | None = None,
        *,
        enabled: bool = True,
        sample: float = 1.0,
        form: str = "json",
        query: str = "names",
    ) -> None:
        """Create the log; ``start`` starts its thread.

        Args:
            out: Where records are written; standard output if not given, together with the events.
            enabled: Write records at all.
            sample: The share of successes to be written.
            form: ``json`` or ``text``.
            query: ``names``, ``values`` or ``off``.
        """
        shared = events.shared_writer() if out is None else None
        self._own = shared is None
        self._writer = shared or Writer(out or standard_output(), events.dropped_line)
        self._line = access_line if form == "text" else _json_line
        self._clock = _Clock()
        self._sample = sample
        self._owed = 0.0
        self._batch: list[Record] = []
        self.query = query != "off"
        self.values = query == "values"
        self.enabled = enabled
        self.skipped = 0
        self.verdicts = Verdicts()

    @property
    def written(self) -> int:
        """Number of records written."""
        return self._writer.written

    @property
    def dropped(self) -> int:
        """Number of records lost because the reader of the log was slow."""
        return self._writer.dropped

    @property
    def pending(self) -> int:
        """Number of records that wait to be written."""
        return self._writer.pending + len(self._batch)

    def wants_success(self) -> bool:
        """Return whether the next success is written: as many as the share demands are, evenly spaced."""
        if self._sample >= 1:
            return True
        self._owed += self._sample
        if self._owed >= 1:
            self._owed -= 1
            return True
        self.skipped += 1
        return False

    def start(self) -> None:
        """Start the thread that writes."""
        if self.enabled:
            self._writer.start()

    def add(self, record: Record) -> None:
        """Queue a record; its ``time`` is POSIX seconds, its ``…_ms`` are rounded when it is written."""
        if not self.enabled:
            return
        self._batch.append(record)
        if len(self._batch) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Pass the queued records to the writer thread; called several times a second."""
        if self._batch:
            batch, self._batch = self._batch, []
            self._writer.put(len(batch), partial(self._render, batch))

    def stop(self) -> None:
        """Write what is left, and end the thread if this log owns it."""
        self.flush()
        if self._own:
            self._writer.stop()

    def _render(self, batch: list[Record]) -> bytes:
        return b"".join([self._line(_finished(record, self._clock)) for record in batch])


class _Clock:
    """Clock of the lines: most of them are of the same second as the line before."""

    def __init__(self) -> None:
        self._second = 0
        self._start = ""

    def text(self, moment: float) -> str:
        """Return POSIX seconds as text, in milliseconds."""
        second, microseconds = divmod(round(moment * 1_000_000), 1_000_000)
        if second != self._second:
            at = datetime.fromtimestamp(second, UTC).isoformat(timespec="seconds")
            self._second, self._start = second, at.removesuffix("+00:00")
        return f"{self._start}.{microseconds // 1000:03}Z"


def _finished(record: Record, clock: _Clock) -> Record:
    moment = record["time"]
    if isinstance(moment, float):
        record["time"] = clock.text(moment)
    for name, field in record.items():
        if isinstance(field, float):
            record[name] = round(field, 3)
    for name in _QUOTING:
        text = record.get(name)
        if isinstance(text, str):
            record[name] = masked(text)
    return record


def _json_line(record: Record) -> bytes:
    return escaped(orjson.dumps(record, default=str)) + b"\n"
