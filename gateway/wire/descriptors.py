"""File descriptors of the process: their limit, and whether there is room for one more.

A connection that finds none fails like one to a dead server. So room is looked for before an upstream is dialled: our
own want is not taken for the upstream's fault, and the admin listener keeps a reserve.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

RESERVE: Final = 64
"""Descriptors that no upstream connection takes: for the admin listener, the database and the process itself."""
NO_ROOM: Final = frozenset({errno.EMFILE, errno.ENFILE})
_FOLDER: Final = "/proc/self/fd" if sys.platform == "linux" else "/dev/fd"
_LISTED_SECONDS: Final = 0.25
_SPARING: Final = 50


class Dials:
    """Count of the connections to upstreams that are being opened, in all pools of the process.

    Attributes:
        under_way: How many; each may be about to take a descriptor.
    """

    __slots__ = ("under_way",)

    def __init__(self) -> None:
        self.under_way = 0

    def ended(self, _dial: object) -> None:
        """Count one less; for ``add_done_callback``."""
        self.under_way -= 1


DIALS: Final = Dials()


class OpenFiles:
    """Number of descriptors that the process has open.

    Linux tells it as the size of the folder that lists them, since 6.2. Elsewhere the folder is read, at most four
    times a second and for at most a fiftieth of the time: a thousand take half a millisecond or more. Between two
    readings, and where there is no such folder, the lowest free number tells of what is open. By itself it is no count:
    a client that leaves makes a low number free, beneath those of all who came after it.
    """

    def __init__(self, folder: str = _FOLDER) -> None:
        """`folder` lists the open descriptors."""
        self._folder = Path(folder)
        self._listed, self._next = 0, 0.0

    def number(self) -> int:
        """Return how many are open.

        Raises:
            OSError: There is no descriptor to find it out by.
        """
        with suppress(FileNotFoundError):
            number = self._folder.stat().st_size if sys.platform == "linux" else 0
            if number:
                return number
            begun = time.monotonic()
            if begun >= self._next:
                self._listed = sum(1 for _ in self._folder.iterdir())
                ended = time.monotonic()
                self._next = ended + max(_LISTED_SECONDS, _SPARING * (ended - begun))
        lowest_free = os.open(os.devnull, os.O_RDONLY)
        os.close(lowest_free)
        return max(self._listed, lowest_free)


_OPEN: Final = OpenFiles()


def descriptor_limit() -> int | None:
    """Return how many descriptors the process may have open; None where the system has no such limit."""
    if sys.platform == "win32":
        return None
    import resource  # noqa: PLC0415 -- not on Windows

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def raise_descriptor_limit() -> None:
    """Raise the soft limit to the hard one, as far as the system lets us."""
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 -- not on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):  # macOS refuses an infinite one
            return


def are_descriptors_scarce() -> bool:
    """Return whether one more descriptor would be of the reserve.

    Dials that are under way count as open, since they have their descriptor only a little later.
    """
    limit = descriptor_limit()
    if limit is None:
        return False
    try:
        number = _OPEN.number()
    except OSError as error:
        return error.errno in NO_ROOM
    return number + DIALS.under_way >= limit - RESERVE
