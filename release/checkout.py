"""Compiled warm path of a checkout: when it can be made, made, and whether it is of these very sources.

    python release/checkout.py can-compile | compile TREE | describe TREE | install-command

Law: a compiled tree holds a copy of every module. It is used only if all sources are as they were when it was made, by
their contents, and by the Python that it was made for; one byte of difference, and the checkout runs interpreted.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
PACKAGES: Final = ("authcore", "config", "gateway")
KINDS: Final = {".py", ".sql", ".yaml"}


def can_compile() -> bool:
    """Return whether a C compiler and the headers of the running Python are there."""
    headers = Path(sysconfig.get_path("include"), "Python.h")
    return headers.exists() and any(shutil.which(name) for name in ("cc", "gcc", "clang"))


def sources_digest(root: Path) -> str:
    """Return a digest of the sources below `root`, of how they are compiled, and of the running Python."""
    digest = hashlib.sha256(f"{sys.version}\n".encode())
    paths = [path for package in PACKAGES for path in (root / package).rglob("*") if path.suffix in KINDS]
    for path in (root / "pyproject.toml", *sorted(paths)):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root)} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def compiled_tree(root: Path, environment: Path) -> Path:
    """Return where the compiled tree of the virtual environment `environment` is, or would be."""
    return root / f".compiled{environment.name.removeprefix('.venv')}" / "tree"


def is_fresh(root: Path, tree: Path) -> bool:
    """Return whether `tree` was compiled from the sources below `root`, for the running Python."""
    try:
        return (tree.parent / "digest").read_text() == sources_digest(root)
    except OSError:
        return False


def compile_checkout(folder: Path) -> None:
    """Compile the sources into `folder`/wheel, and unpack that into `folder`/tree."""
    from packages import build_wheel  # noqa: PLC0415 -- the command needs none of it

    shutil.rmtree(folder, ignore_errors=True)
    source = folder / "source"
    source.mkdir(parents=True)
    before = sources_digest(ROOT)
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__", "*.so")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, source / name)
    build_wheel(source, folder / "wheel", 315_532_800, compiled=True, strip=False)
    (wheel,) = (folder / "wheel").glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input"]
    subprocess.run([*pip, "install", "--no-deps", "--target", str(folder / "tree"), str(wheel)], check=True)
    for name in ("source", "mypyc"):
        shutil.rmtree(folder / name)
    (folder / "digest").write_text(before)


def install_command(python: Path) -> None:
    """Write release/command.py beside `python`, as the command that `python` runs.

    The kernel splits a ``#!`` line at spaces and bounds its length, so a shell starts `python`. The lines of the shell
    are a string to Python, and part of the docstring: ``from __future__`` may follow one string alone.
    """
    command = python.with_name("whatomate-gateway")
    shell = f"#!/bin/sh\n'''exec' {shlex.quote(str(python))} \"$0\" \"$@\"\n' ''' \\\n"
    command.write_text(shell + (ROOT / "release" / "command.py").read_text())
    command.chmod(0o755)


def describe(folder: Path) -> str:
    """Say which command there is, and why its warm path is compiled or not."""
    ready = f"ready: {Path(sys.prefix).name}/bin/whatomate-gateway, its warm path"
    if os.environ.get("COMPILED") == "0":
        return f"{ready} interpreted (COMPILED=0)"
    if is_fresh(ROOT, folder / "tree"):
        return f"{ready} compiled (COMPILED=0 runs it interpreted)"
    if (folder / "digest").exists():
        return f"{ready} interpreted: the sources have changed since it was compiled (make install compiles them)"
    if not can_compile():
        return (
            f"{ready} interpreted: there is no C compiler, or no headers of this Python (on Debian gcc and "
            "python3-dev); with them make install compiles it, and it serves about 1.6 times as many requests"
        )
    return f"{ready} interpreted: it is not compiled (make install compiles it)"


def main(command: str, *arguments: str) -> int:
    """Run one of the commands; return the exit code."""
    if command == "can-compile":
        return 0 if can_compile() else 1
    if command == "install-command":
        install_command(Path(sys.executable))
        return 0
    folder = ROOT / arguments[0]
    if command == "compile":
        compile_checkout(folder)
    else:
        sys.stdout.write(f"{describe(folder)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
