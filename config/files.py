"""Reader of the files that settings name: each is read whole, in bounded time and memory."""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

MOST_MIB: Final = 16
"""No key, certificate or route table comes near this size; a device such as ``/dev/zero`` has no end."""
PIPE_SECONDS: Final = 10
"""Time in which somebody has to have written a pipe to its end."""
_MOST_BYTES: Final = MOST_MIB * 1024 * 1024
_CHUNK_BYTES: Final = 65_536
_NONBLOCK: Final = getattr(os, "O_NONBLOCK", 0)  # Windows has none, and no pipes among its files


def read_file(path: Path, *, pipes: bool = False) -> bytes:
    """Return what a file holds.

    Args:
        path: The file. Opening it never blocks.
        pipes: Read a pipe as well, which can be done once; else it is refused.

    Raises:
        OSError: It cannot be read, is larger than ``MOST_MIB``, or is a pipe that may not be read or is not written to
            its end in ``PIPE_SECONDS``; ``strerror`` is made for a message.
    """
    try:
        with open(path, "rb", opener=_open) as file:
            is_pipe = _is_pipe(file.fileno(), may_be=pipes)
            content = _piped(file.fileno()) if is_pipe else file.read(_MOST_BYTES + 1)
    except ValueError as error:  # of the path, before anything is opened
        raise OSError(errno.EINVAL, "its name has a NUL in it") from error
    if len(content) > _MOST_BYTES:
        raise OSError(errno.EFBIG, f"it has more than {MOST_MIB} MiB")
    return content


def unreadable(path: Path) -> str | None:
    """Return why a file cannot be read more than once, or None if it can."""
    try:
        with open(path, "rb", opener=_open) as file:
            _is_pipe(file.fileno(), may_be=False)
    except ValueError:
        return "its name has a NUL in it"
    except OSError as error:
        return error.strerror or "it failed"
    return None


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | _NONBLOCK)


def _is_pipe(descriptor: int, *, may_be: bool) -> bool:
    if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        if not may_be:
            raise OSError(errno.EINVAL, "it is a pipe, and is read more than once; name a file")
        return True
    if _NONBLOCK:
        os.set_blocking(descriptor, True)  # a terminal
    return False


def _piped(descriptor: int) -> bytes:
    """Read a pipe to its end; its writer may come a little later."""
    until, content = time.monotonic() + PIPE_SECONDS, b""
    readable = select.poll()
    readable.register(descriptor, select.POLLIN)
    while len(content) <= _MOST_BYTES:
        if not readable.poll(max(until - time.monotonic(), 0) * 1000):
            raise OSError(
                errno.ETIMEDOUT, f"it is a pipe, and nobody wrote it to its end within {PIPE_SECONDS} s"
            )
        chunk = os.read(descriptor, _CHUNK_BYTES)
        if not chunk:
            break
        content += chunk
    return content
