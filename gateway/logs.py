"""Records on standard output: one JSON line per request, and structlog for everything else.

Laws:

- No credential, cookie, query value or body is ever in a record: what is not put in cannot leak.
- The loop never waits for the reader of the log. Records are handed to a thread in batches; when it falls behind by
  ``MAX_PENDING``, they are dropped and the drop is counted and told.
"""

from __future__ import annotations

import logging
import queue
import sys
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO, Final

import orjson
import structlog

if TYPE_CHECKING:
    from collections.abc import Mapping

    from structlog.typing import EventDict, WrappedLogger

Record = dict[str, object]

BATCH: Final = 128
MAX_PENDING: Final = 50_000


def configure(level: str) -> None:
    """Send structlog's events, and the standard library's, to standard output as JSON lines."""
    severity = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.JSONRenderer(serializer=_dumps),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(severity),
        logger_factory=structlog.BytesLoggerFactory(sys.stdout.buffer),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[_Bridge()], level=max(severity, logging.WARNING), force=True)


def _dumps(event: Mapping[str, object], **_: object) -> bytes:
    return orjson.dumps(event, default=str)


class _Bridge(logging.Handler):
    """What libraries log, through structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        log: WrappedLogger = structlog.get_logger()
        fields: EventDict = {"logger": record.name}
        if record.exc_info:
            fields["exc_info"] = record.exc_info
        log.log(record.levelno, record.getMessage(), **fields)


class AccessLog:
    """The writer of access records.

    Attributes:
        enabled: Records are written at all.
        dropped: Records lost because the reader of the log was slow.
        skipped: Successes left out by sampling.
        written: Records written.
    """

    def __init__(self, out: BinaryIO | None = None, *, enabled: bool = True) -> None:
        self._out = out or sys.stdout.buffer
        self.enabled = enabled
        self._batch: list[Record] = []
        self._queue: queue.SimpleQueue[list[Record] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self.dropped = self.skipped = self.written = 0

    def start(self) -> None:
        """Start the thread that writes."""
        if self.enabled:
            self._thread = threading.Thread(target=self._write_all, name="access-log", daemon=True)
            self._thread.start()

    def add(self, record: Record) -> None:
        """Take in a record; its ``time`` is POSIX seconds."""
        if not self.enabled:
            return
        self._batch.append(record)
        if len(self._batch) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Hand what has been taken in to the thread; called several times a second."""
        if not self._batch:
            return
        if self._queue.qsize() * BATCH >= MAX_PENDING:
            self.dropped += len(self._batch)
        else:
            self._queue.put(self._batch)
        self._batch = []

    def stop(self) -> None:
        """Write what is left and end the thread."""
        self.flush()
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(timeout=5)

    def _write_all(self) -> None:
        told = 0
        while (batch := self._queue.get()) is not None:
            lines = [_line(record) for record in batch]
            if self.dropped > told:
                lines.append(
                    _line({"event": "access_log_dropped", "level": "warning", "records": self.dropped - told})
                )
                told = self.dropped
            try:
                self._out.write(b"".join(lines))
                self._out.flush()
                self.written += len(batch)
            except (OSError, ValueError):  # nobody reads any more; serving goes on
                self.dropped += len(batch)


def _line(record: Record) -> bytes:
    moment = record.get("time")
    if isinstance(moment, float):
        record["time"] = (
            datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        )
    return orjson.dumps(record, default=str) + b"\n"
