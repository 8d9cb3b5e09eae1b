"""Event log: it sends structlog's events, and what libraries log, through the access log's writer thread."""

from __future__ import annotations

import atexit
import logging
from typing import TYPE_CHECKING, BinaryIO, Final, cast

import orjson
import structlog

from authcore.store.failures import classify, is_of_connections
from gateway.logs.limited import LimitedEvents
from gateway.logs.redaction import masked
from gateway.logs.text import escaped, spelled_out
from gateway.logs.turns import SharedTurns
from gateway.logs.writer import MAX_PENDING, Writer, standard_output

if TYPE_CHECKING:
    from collections.abc import Mapping

    from structlog.typing import EventDict, Processor, WrappedLogger

_shared: list[Writer] = []
"""The process's writer, once :func:`configure` has made it; empty before."""

_OF_THE_DATABASE: Final = ("asyncpg", "asyncpg.pool")
"""asyncpg's loggers: they log a traceback per connection that is lost; the store's events report it in a line."""

_EVENTS_PENDING: Final = 2 * MAX_PENDING
"""Above the bound of access records: events are few and matter more, so a flood of records leaves room for them."""


def configure(level: str, form: str = "json", turns: int | None = None) -> None:
    """Send structlog's and the standard library's events to standard output, as JSON lines or as ``text``.

    Args:
        level: The least severe level that is written.
        form: ``json`` or ``text``.
        turns: Descriptor of the file by which several processes take turns at standard output; None for one process.
    """
    severity = logging.getLevelNamesMapping()[level.upper()]
    if not _shared:
        _shared.append(Writer(standard_output(), dropped_line, None if turns is None else SharedTurns(turns)))
        atexit.register(_shared[0].stop)
    _shared[0].start()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            *_rendering(form),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(severity),
        logger_factory=structlog.BytesLoggerFactory(cast("BinaryIO", _Queued(_shared[0]))),
        cache_logger_on_first_use=False,
    )
    for name in _OF_THE_DATABASE:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    logging.basicConfig(handlers=[_Bridge()], level=max(severity, logging.WARNING), force=True)


def shared_writer() -> Writer | None:
    """Return the writer of the events; None if there is none."""
    return _shared[0] if _shared else None


def dropped_line(records: int) -> bytes:
    """Return the line that reports dropped records."""
    return _dumps({"event": "log_dropped", "level": "warning", "records": records}) + b"\n"


def _rendering(form: str) -> list[Processor]:
    if form == "text":
        return [
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=True, key="time"),
            structlog.processors.format_exc_info,
            _text,
        ]
    return [
        structlog.processors.format_exc_info,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.JSONRenderer(serializer=_dumps),
    ]


def _text(_logger: WrappedLogger, _method: str, event: EventDict) -> bytes:
    failure = event.pop("exception", None)
    first = f"{event.pop('time')} {event.pop('level'):7} {event.pop('event')}"
    line = "  ".join([first, *(f"{name}={field}" for name, field in event.items())])
    rest = (
        "" if failure is None else "".join(f"\n  {spelled_out(part)}" for part in str(failure).splitlines())
    )
    return (spelled_out(line) + rest).encode()


def _dumps(event: Mapping[str, object], **_: object) -> bytes:
    return escaped(orjson.dumps(event, default=str))


class _Queued:
    """File object for structlog that passes lines to the writer thread."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def write(self, line: bytes, /) -> int:
        """Queue a line, with what looks like a credential masked: an event may quote a client or an upstream."""
        self._writer.put(1, lambda: masked(line.decode()).encode(), most=_EVENTS_PENDING)
        return len(line)

    def flush(self) -> None:
        """Do nothing: the thread's writes are not buffered."""


class _Bridge(logging.Handler):
    """Handler that passes the libraries' log records to structlog, those of one message once a minute at most.

    An exporter of spans writes three for each batch that its collector does not take.
    """

    def __init__(self) -> None:
        super().__init__()
        self._events = LimitedEvents()

    def emit(self, record: logging.LogRecord) -> None:
        log: WrappedLogger = structlog.get_logger()
        fields: EventDict = {"logger": record.name}
        error = record.exc_info[1] if record.exc_info else None
        # Such as the failure of an asyncpg task that is not awaited.
        if error is not None and is_of_connections(error):
            fields["kind"], fields["words"] = str(classify(error).kind), classify(error).words
        elif record.exc_info:
            fields["exc_info"] = record.exc_info
        # What is written into the message, such as the pause before the next try, makes no other kind of it.
        kind = f"{record.name} {record.levelno} {record.msg} {type(error).__name__}"
        message = record.getMessage()
        self._events.record(kind, lambda **rest: log.log(record.levelno, message, **rest), dict(fields))
