"""Entry point of the command ``whatomate-gateway``: it heeds SIGTERM from the first moment, then runs the command line.

The imports of the command line take a good part of a second. As the first process of a container a program gets no
signal that it has no handler for: a pod that is deleted while it starts would wait out its grace period.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import FrameType

TERMINATED: Final = 128 + 15
"""The exit code that shells report for a program that SIGTERM ended."""


def main(prog_name: str | None = None) -> None:
    """Run the command line under the name `prog_name`; without one, that of the program."""
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, _end)  # a serving gateway puts its own handler in this one's place
    from gateway.cli import main as run  # noqa: PLC0415 -- the handler comes first

    run(prog_name=prog_name)


def _end(_number: int, _frame: FrameType | None) -> None:
    os._exit(TERMINATED)
