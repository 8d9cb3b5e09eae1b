"""Reader of the files that settings name: each is read whole, and none that is larger than makes sense."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

MOST_MIB: Final = 16
"""Size that no key, certificate or route table comes near; a device such as ``/dev/zero`` has no end."""


def read_file(path: Path) -> bytes:
    """Return what a file holds.

    Raises:
        OSError: It cannot be read, or is larger than ``MOST_MIB``; ``strerror`` is made for a message.
    """
    most = MOST_MIB * 1024 * 1024
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except ValueError as error:  # of the path, before anything is opened
        raise OSError(errno.EINVAL, "its name has a NUL in it") from error
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it has more than {MOST_MIB} MiB")
    return content
