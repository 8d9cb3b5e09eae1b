"""Entry point of the command ``whatomate-gateway``: it heeds SIGTERM from the first moment, then runs the command line.

Laws:

- The imports of the command line take a good part of a second. As the first process of a container a program gets no
  signal that it has no handler for: a pod that is deleted while it starts would wait out its grace period.
- What imports make is not searched for garbage while they go on. `gateway.gc_tuning` sets the collector for serving.
"""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import FrameType

TERMINATED: Final = 128 + 15
"""The exit code that shells report for a program that SIGTERM ended."""
OBJECTS: Final = 200_000
"""Net allocations before the garbage collector looks. Imports make 140,000, nearly all of which live until the end."""


def main(prog_name: str | None = None) -> None:
    """Run the command line under the name `prog_name`; without one, that of the program."""
    _open_what_is_closed()
    # In a locale such as de_DE.ISO-8859-1 it cannot hold every name.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, _end)  # a serving gateway puts its own handler in this one's place
    gc.set_threshold(OBJECTS, 10, 10)
    from gateway.cli import main as run  # noqa: PLC0415 -- the handler comes first

    run(prog_name=prog_name)


def _open_what_is_closed() -> None:
    """Open the null device in the place of each standard stream that is closed.

    Otherwise the next file or connection gets its number, and what is printed goes there.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 -- for good


def _end(_number: int, _frame: FrameType | None) -> None:
    os._exit(TERMINATED)
