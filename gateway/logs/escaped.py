"""Reporter of uncaught exceptions: it logs as events what Python and asyncio would print to standard error.

Python and asyncio print a traceback to standard error for an exception in a callback of C code, in a ``__del__``, or in
a task that is never awaited. Any client that can connect can cause some of them. Laws:

- An event names the type of the exception and the lines that led to it, and nothing that a client sent: neither the
  text of the exception nor the arguments of a call.
- Of one type and place there is one event a minute at most (:class:`~gateway.logs.limited.LimitedEvents`).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from traceback import extract_tb
from typing import TYPE_CHECKING, Any, Final

from gateway.logs.limited import LimitedEvents

if TYPE_CHECKING:
    import asyncio

_FRAMES: Final = 6
_WORDS: Final = re.compile(r"[\w ,.:-]*")
"""Part of an event loop's message that is logged: the rest may be the representation of an object."""


def report_escaped(loop: asyncio.AbstractEventLoop) -> None:
    """Log uncaught exceptions of `loop`, and unraisable ones of the process, as the event ``exception_escaped``."""
    events = LimitedEvents()

    def report(error: BaseException | None, kind: str, source: str) -> None:
        place = _place(error)
        events.warning(
            "exception_escaped", key=f"{kind} {place} {source}", error=kind, place=place, source=source
        )

    def of_loop(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error: BaseException | None = context.get("exception")
        source = _WORDS.match(str(context.get("message", "")))
        report(error, "none" if error is None else type(error).__name__, source.group() if source else "")

    def of_process(unraisable: sys.UnraisableHookArgs) -> None:
        source = getattr(unraisable.object, "__qualname__", type(unraisable.object).__name__)
        report(unraisable.exc_value, unraisable.exc_type.__name__, str(source))

    loop.set_exception_handler(of_loop)
    sys.unraisablehook = of_process


def _place(error: BaseException | None) -> str:
    """Return file and line of the innermost frames, the innermost first; empty if there is none."""
    frames = extract_tb(None if error is None else error.__traceback__, limit=-_FRAMES)
    return " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))
