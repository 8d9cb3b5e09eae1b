"""Data folder of ``whatomate-gateway dev``: ``.data``, or another where PostgreSQL could not enter that.

Laws:

- Root's own home is usually closed to others, and as root PostgreSQL runs as another user: the folder is then one in
  /var/tmp that belongs to the current folder, and the same in the next run.
- /var/tmp is everybody's. A folder there that is a link, another user's, or writable by others is refused.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.dev.programs import PostgresError, barrier

if TYPE_CHECKING:
    from collections.abc import Callable

USUAL: Final = ".data"
_SHARED: Final = Path("/var/tmp")  # noqa: S108 - what is found in there is checked


def choose_folder(here: Path, note: Callable[[str], None]) -> Path:
    """Return the data folder of a run in `here`, which PostgreSQL may enter; `note` prints why if it is an unusual one.

    Raises:
        PostgresError: the folder in /var/tmp is somebody else's.
    """
    usual = here / USUAL
    if os.geteuid() != 0 or barrier(usual) is None:
        return usual
    folder = claim_folder(shared_folder(here))
    note(f"data goes to {folder}, since PostgreSQL, which does not run as root, could not enter {here}")
    return folder


def shared_folder(here: Path) -> Path:
    """Return the folder in /var/tmp that belongs to `here`."""
    name = hashlib.sha256(os.fsencode(here)).hexdigest()[:12]
    return _SHARED / f"whatomate-gateway-{name}"


def claim_folder(folder: Path) -> Path:
    """Make `folder` if it is missing, and return it.

    Raises:
        PostgresError: somebody else made it, or may write to it.
    """
    try:
        folder.mkdir(mode=0o700)
        folder.chmod(0o755)  # PostgreSQL runs as another user and has to enter; secrets in here are 0600
    except FileExistsError:
        status = folder.lstat()
        if (
            not stat.S_ISDIR(status.st_mode)
            or status.st_uid != os.geteuid()
            or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        ):
            raise PostgresError(
                f"{folder} is not a folder of this user alone: remove it, or choose another with --data-dir"
            ) from None
    return folder
