"""Progress indicator of a long operation, on standard error.

Law: an operation that ends within a second prints nothing. On a terminal the seconds are counted in place; elsewhere a
line is written after the first second and then less and less often, so that a log has a few lines and not hundreds.
"""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FIRST_SECONDS: Final = 1.0
_TICK_SECONDS: Final = 0.25
_CLEAR: Final = "\r\x1b[K"


@contextmanager
def working(
    what: str, wait: Callable[[threading.Event, float], bool] = threading.Event.wait
) -> Iterator[None]:
    """Report on standard error that `what` is in progress, until the block ends.

    Args:
        what: The operation.
        wait: Waits until the event is set, or so many seconds, and returns whether it is set. It counts the seconds.
    """
    ended = threading.Event()
    reporter = threading.Thread(target=_report, args=(what, ended, sys.stderr, wait), daemon=True)
    reporter.start()
    try:
        yield
    finally:
        ended.set()
        reporter.join()


def _report(
    what: str, ended: threading.Event, out: TextIO, wait: Callable[[threading.Event, float], bool]
) -> None:
    if wait(ended, FIRST_SECONDS):
        return
    passed = pause = FIRST_SECONDS
    if not out.isatty():
        while True:
            out.write(f"{what}: {passed:.0f} s\n")
            out.flush()
            pause *= 2
            if wait(ended, pause):
                return
            passed += pause
    while not wait(ended, _TICK_SECONDS):
        passed += _TICK_SECONDS
        out.write(f"{_CLEAR}{what}: {passed:.0f} s")
        out.flush()
    out.write(_CLEAR)
    out.flush()
