"""Turns of several processes at writing to one log: a record lock, and a mark for a line that has no end.

A pipe takes a large write in pieces, and other writers may write between them. Laws:

- One process writes at a time. The lock belongs to the process (``fcntl``): the kernel frees it when the process ends,
  and a child with the same descriptor does not hold it.
- The mark is in memory that the processes share, and is set before a write. So if a process is killed in the middle of
  a line, the next writer ends that line first.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from types import TracebackType

_MARK: Final = 1


class Turns(Protocol):
    """Protocol of turns at writing; a turn is a ``with`` block.

    Attributes:
        is_cut: True if the last line in the log may have no end. It is read and set within a turn.
    """

    is_cut: bool

    def __enter__(self) -> object:
        """Begin a turn; wait for that of another process."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """End the turn."""


class OwnTurns:
    """Turns of the only process that writes to a log: it never waits."""

    def __init__(self) -> None:
        self.is_cut = False

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


class SharedTurns:
    """Turns of one of several processes; each has a descriptor of the same file."""

    def __init__(self, descriptor: int) -> None:
        """Use the file that :func:`make_file` has made.

        Raises:
            OSError: the descriptor cannot be mapped into memory.
            ValueError: the file is empty.
        """
        self._page = mmap.mmap(descriptor, 1)
        import fcntl  # noqa: PLC0415 -- Windows has none, and no workers

        self._begin = partial(fcntl.lockf, descriptor, fcntl.LOCK_EX)
        self._end = partial(fcntl.lockf, descriptor, fcntl.LOCK_UN)

    @property
    def is_cut(self) -> bool:
        """True if the last line in the log may have no end."""
        return self._page[0] == _MARK

    @is_cut.setter
    def is_cut(self, is_cut: bool) -> None:
        self._page[0] = _MARK if is_cut else 0

    def __enter__(self) -> None:
        self._begin()

    def __exit__(self, *_: object) -> None:
        self._end()


def make_file() -> int:
    """Return the descriptor of a new file without a name, for the processes to share.

    Raises:
        OSError: the system has no memory for it, or forbids it and has no folder for temporary files either.
    """
    try:
        descriptor = os.memfd_create("gateway-log-turns")
    except (AttributeError, OSError):  # not Linux, or vm.memfd_noexec=2
        with tempfile.TemporaryFile(buffering=0) as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, 1)
    return descriptor
