"""Running version: that of the installed package, and how it was built."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from importlib.machinery import ExtensionFileLoader, PathFinder
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Final, NamedTuple

_PACKAGE: Final = Path(__file__).parent
_COMMIT_FILE: Final = "commit.txt"
_COMMIT_DIGITS: Final = 12
_GIT_SECONDS: Final = 5


class Build(NamedTuple):
    """Running build: versions, and how it was compiled.

    Attributes:
        version: Of the installed package; ``unknown`` if it is not installed.
        python: Of the interpreter.
        is_compiled: Whether the warm path is machine code, made by mypyc.
        commit: Of the source, the first digits; None if it is not known.
    """

    version: str
    python: str
    is_compiled: bool
    commit: str | None


def running_version() -> str:
    """Return the installed version; ``unknown`` if the package is not installed."""
    try:
        return version("whatomate-gateway")
    except PackageNotFoundError:
        return "unknown"


def running_build() -> Build:
    """Return the running build. In a checkout, git is run for the commit."""
    return Build(running_version(), platform.python_version(), is_compiled(), _commit())


def is_compiled(package: Path = _PACKAGE) -> bool:
    """Return whether the warm path of `package` is compiled, and import nothing of it."""
    spec = PathFinder.find_spec("downstream", [str(package / "wire")])
    return spec is not None and isinstance(spec.loader, ExtensionFileLoader)


def _commit() -> str | None:
    """Return the commit that a build wrote into ``commit.txt``, that pip noted, or that is checked out."""
    found = written_commit(_PACKAGE) or _installed() or checked_out_commit(_PACKAGE.parent)
    return found[:_COMMIT_DIGITS] if found else None


def written_commit(package: Path) -> str | None:
    """Return the commit that a build has written into `package`; None if it was not built so."""
    try:
        return (package / _COMMIT_FILE).read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _installed() -> str | None:
    try:
        noted = json.loads(distribution("whatomate-gateway").read_text("direct_url.json") or "{}")
        commit = noted.get("vcs_info", {}).get("commit_id")
    except (PackageNotFoundError, ValueError, AttributeError):
        return None
    return commit if isinstance(commit, str) else None


def checked_out_commit(root: Path) -> str | None:
    """Return the commit of the checkout that has its packages in `root`, or compiled there; None if it is none."""
    if root.name == "tree" and root.parent.name.startswith(".compiled"):  # where a checkout has it compiled
        root = root.parents[1]
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(  # noqa: S603 -- a fixed command
            [git, "-C", str(root), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=_GIT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
