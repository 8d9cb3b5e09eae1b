"""Progress indicator of a long operation, on standard error.

Law: an operation that ends within a second prints nothing. On a terminal the seconds are counted in place; elsewhere a
line is written after the first second and then less and less often, so that a log has a few lines and not hundreds.
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST_SECONDS: Final = 1.0
_TICK_SECONDS: Final = 0.25
_CLEAR: Final = "\r\x1b[K"


@contextmanager
def working(what: str) -> Iterator[None]:
    """Report on standard error that `what` is in progress, until the block ends."""
    ended = threading.Event()
    teller = threading.Thread(target=_tell, args=(what, ended, sys.stderr.isatty()), daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()


def _tell(what: str, ended: threading.Event, is_terminal: bool) -> None:  # noqa: FBT001 -- of a thread's arguments
    begun = time.monotonic()
    if ended.wait(FIRST_SECONDS):
        return
    if not is_terminal:
        pause = FIRST_SECONDS
        while True:
            sys.stderr.write(f"{what}: {time.monotonic() - begun:.0f} s\n")
            sys.stderr.flush()
            pause *= 2
            if ended.wait(pause):
                return
    while not ended.wait(_TICK_SECONDS):
        sys.stderr.write(f"{_CLEAR}{what}: {time.monotonic() - begun:.0f} s")
        sys.stderr.flush()
    sys.stderr.write(_CLEAR)
    sys.stderr.flush()
