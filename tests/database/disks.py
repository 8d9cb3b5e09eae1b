"""Small disk: a tmpfs of the test's own, which can be made full and emptied again; for root alone."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOUNT_SECONDS = 30
SIZE = "256m"


def mount(*arguments: str) -> bool:
    done = subprocess.run(["mount", *arguments], check=False, capture_output=True, timeout=MOUNT_SECONDS)
    return done.returncode == 0


class Disk:
    """A mounted file system, whose size changes while it is in use."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self) -> None:
        """Leave no room: what is there can be changed, and nothing can be added."""
        for _ in range(100):  # something may be added meanwhile
            state = os.statvfs(self.path)
            used = (state.f_blocks - state.f_bfree) * state.f_frsize
            if mount("-o", f"remount,size={used}", str(self.path)):
                return
        raise AssertionError("the disk would not be filled")

    def empty(self) -> None:
        """Make room again."""
        assert mount("-o", f"remount,size={SIZE}", str(self.path))


def can_mount(path: Path) -> bool:
    """Return whether a small disk can be had at `path`, an empty folder: root may be without the right to mount."""
    return os.geteuid() == 0 and mount("-t", "tmpfs", "-o", f"size={SIZE},mode=0755", "tmpfs", str(path))


def unmount(path: Path) -> None:
    """Take a disk away, whoever is in it."""
    subprocess.run(["umount", "-l", str(path)], check=True, timeout=MOUNT_SECONDS)


@contextmanager
def small_disk(path: Path) -> Iterator[Disk]:
    """Mount a small disk at `path`, which is made; skip the test where that may not be done, in CI too."""
    path.mkdir(mode=0o755)
    if not can_mount(path):
        pytest.skip("a full disk: only root may mount a tmpfs, and not in every container")
    try:
        yield Disk(path)
    finally:
        unmount(path)
