"""Archives whose bytes depend on nothing but names, modes and contents: sorted, of one time, of one owner."""

from __future__ import annotations

import gzip
import io
import tarfile
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_LEVEL: Final = 9


def pack(entries: dict[str, bytes], target: Path, time: int, *, compressed: bool) -> None:
    """Write the files `entries`, by name, as a tar archive that was made at `time` (POSIX seconds)."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(entries):
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = len(entries[name]), time, 0o644
            archive.addfile(member, io.BytesIO(entries[name]))
    whole = gzip.compress(plain.getvalue(), _LEVEL, mtime=time) if compressed else plain.getvalue()
    target.write_bytes(whole)


def unpack(archive: Path) -> dict[str, bytes]:
    """Return the files of a tar archive by name."""
    found = {}
    with tarfile.open(archive) as opened:
        for member in opened:
            if (content := opened.extractfile(member)) is not None:
                found[member.name] = content.read()
    return found


def files_below(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder by their path in it."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
