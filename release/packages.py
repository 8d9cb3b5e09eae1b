"""Builder of the Python packages: sdist, pure wheel, and the wheel whose warm path is compiled.

Laws:

- They are built from a copy of the tracked files, with the commit, the manual page and the completions in it. What else
  lies in the checkout has no part in them.
- The same commit gives the same bytes, in whatever folder: of the build's own folder nothing remains in a module.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
SHARED: Final = """
[tool.hatch.build.targets.wheel.shared-data]
"share" = "share"
"""
COMPLETIONS: Final = {
    "bash": "share/bash-completion/completions/whatomate-gateway",
    "zsh": "share/zsh/site-functions/_whatomate-gateway",
    "fish": "share/fish/vendor_completions.d/whatomate-gateway.fish",
}
MANUAL: Final = "share/man/man1/whatomate-gateway.1"
COMPILER_FLAGS: Final = "-g0 -DNDEBUG -fvisibility=hidden -fno-semantic-interposition -fno-plt"
"""Of the C compiler; the Dockerfile names the same. Hidden symbols let functions of the one module call each other
directly, and be inlined; without mypyc's own assertions and tables for others' calls, it is an eighth smaller."""


def git(*arguments: str) -> str:
    """Return what git prints, run in the checkout; empty without git or a checkout."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        return ""
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True)  # noqa: S607 -- fixed
    return done.stdout


def source_date() -> int:
    """Return the time that the artifacts bear: SOURCE_DATE_EPOCH, or that of the last commit."""
    found = os.environ.get("SOURCE_DATE_EPOCH") or git("log", "-1", "--format=%ct").strip()
    if not found:
        sys.exit(
            "error: this is no git checkout: set SOURCE_DATE_EPOCH to the time that the artifacts shall bear"
        )
    return int(found)


def copy_source(target: Path) -> Path:
    """Copy the tracked files to `target`, each with one of two modes, and what is generated; return `target`."""
    listed = git("ls-files", "-z").split("\0")
    if not any(listed):
        sys.exit("error: make dist is run in a git checkout, whose tracked files it takes")
    for name in filter(None, listed):
        source, copy = ROOT / name, target / name
        if source.is_file():  # a file that was deleted, and not committed, is not there
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)
            copy.chmod(0o755 if os.access(source, os.X_OK) else 0o644)
    (target / "gateway" / "commit.txt").write_text(git("rev-parse", "HEAD"))
    for shell, name in COMPLETIONS.items():
        _generate(target, name, "completion", shell)
    _generate(target, MANUAL, "man")
    with (target / "pyproject.toml").open("a") as project:
        project.write(SHARED)
    return target


def build_sdist(source: Path, out: Path, time: int) -> None:
    """Build the sdist of `source` into `out`."""
    _build(source, out, "sdist", {"SOURCE_DATE_EPOCH": str(time)})


def build_wheel(source: Path, out: Path, time: int, *, compiled: bool, strip: bool = True) -> None:
    """Build the wheel of `source` into `out`: pure, or with the warm path compiled for this Python.

    With `strip` its modules are without names for a profiler, and half as large.
    """
    variables = {"SOURCE_DATE_EPOCH": str(time), "PYTHONHASHSEED": "0"}
    if compiled:
        work = source.parent / "mypyc"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        maps = shlex.join(f"-ffile-prefix-map={folder}=/build" for folder in (work, source))
        variables |= {
            "HATCH_BUILD_HOOK_ENABLE_MYPYC": "1",
            "HATCH_MYPYC_BUILD_DIR": str(work),
            "CFLAGS": f"{os.environ.get('CFLAGS', '')} {COMPILER_FLAGS} {maps}".strip(),
            "LDFLAGS": f"{os.environ.get('LDFLAGS', '')} {'-Wl,--strip-all' if strip else ''}".strip(),
        }
    _build(source, out, "wheel", variables)


def _build(source: Path, out: Path, target: str, variables: dict[str, str]) -> None:
    _run(
        [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(out)],
        source,
        variables,
    )


def _generate(source: Path, name: str, *command: str) -> None:
    written = _run([sys.executable, "-m", "gateway", *command], source, {"PYTHONDONTWRITEBYTECODE": "1"})
    (source / name).parent.mkdir(parents=True, exist_ok=True)
    (source / name).write_text(written)


def _run(command: list[str], folder: Path, variables: dict[str, str]) -> str:
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("GATEWAY_", "COLUMNS"))
    }
    done = subprocess.run(
        command,
        cwd=folder,
        env={**clean, **variables},
        capture_output=True,
        text=True,
        check=False,
        umask=0o022,
    )
    if done.returncode != 0:
        sys.exit(f"error: {' '.join(command[1:])} failed:\n{done.stdout}{done.stderr}")
    return done.stdout
