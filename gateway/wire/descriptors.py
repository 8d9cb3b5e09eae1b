"""File descriptors of the process: their limit, and whether there is room for one more.

A connection that finds none fails like one to a dead server. So room is looked for before an upstream is dialled: our
own want is not taken for the upstream's fault, and the admin listener keeps a reserve.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Final

RESERVE: Final = 64
"""Descriptors that no upstream connection takes: for the admin listener, the database and the process itself."""
NO_ROOM: Final = frozenset({errno.EMFILE, errno.ENFILE})


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

    The system gives out the lowest free number, so a number near the limit says that the lower ones are taken. Dials
    that are under way count as well, since they have their descriptor only a little later.
    """
    limit = descriptor_limit()
    if limit is None:
        return False
    try:
        probe = os.open(os.devnull, os.O_RDONLY)
    except OSError as error:
        return error.errno in NO_ROOM
    os.close(probe)
    return probe + DIALS.under_way >= limit - RESERVE
