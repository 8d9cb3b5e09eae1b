"""A checkout runs its compiled warm path only while that is of its very sources; else the sources."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.programs import program

ROOT = Path(__file__).parents[2]
SECONDS = 60


def python(*arguments: str, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        env={"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1", **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small checkout, whose command prints which tree it runs from, and a tree compiled from it."""
    root = tmp_path / "checkout"
    shutil.copytree(ROOT / "release", root / "release", ignore=shutil.ignore_patterns("__pycache__"))
    for package in ("authcore", "config", "gateway"):
        (root / package).mkdir()
        (root / package / "__init__.py").write_text("")
    (root / "pyproject.toml").write_text("")
    (root / "gateway" / "entry.py").write_text("def main():\n    print(__file__)\n")
    tree = compiled(root)
    shutil.copytree(root / "gateway", tree / "gateway")
    digest = "import sys, checkout; print(checkout.sources_digest(checkout.ROOT), end='')"
    (tree.parent / "digest").write_text(python("-c", digest, PYTHONPATH=str(root / "release")))
    return root


def compiled(root: Path) -> Path:
    return root / f".compiled{Path(sys.prefix).name.removeprefix('.venv')}" / "tree"


def runs_from(root: Path, **variables: str) -> Path:
    """The tree from which the command of the checkout runs."""
    out = python(str(root / "release" / "command.py"), PYTHONPATH=str(root), **variables)
    return Path(out.strip().splitlines()[-1]).parents[1]


def describe(root: Path, **variables: str) -> str:
    return python(str(root / "release" / "checkout.py"), "describe", compiled(root).parent.name, **variables)


def test_the_compiled_tree_runs_while_the_sources_are_what_was_compiled(checkout: Path) -> None:
    assert runs_from(checkout) == compiled(checkout)
    assert "its warm path compiled" in describe(checkout)


def test_a_setting_of_the_environment_runs_the_sources(checkout: Path) -> None:
    assert runs_from(checkout, COMPILED="0") == checkout
    assert "interpreted (COMPILED=0)" in describe(checkout, COMPILED="0")


@pytest.mark.parametrize("change", ["edit", "add", "remove", "touch", "pyproject"])
def test_a_changed_source_is_never_passed_over(checkout: Path, change: str) -> None:
    module = checkout / "config" / "__init__.py"
    if change == "edit":
        module.write_text("#")
    elif change == "add":
        module.with_name("new.py").write_text("")
    elif change == "remove":
        module.unlink()
    elif change == "pyproject":
        (checkout / "pyproject.toml").write_text("[tool]")
    else:
        module.touch()
    assert runs_from(checkout) == (compiled(checkout) if change == "touch" else checkout)
    assert ("the sources have changed" in describe(checkout)) is (change != "touch")


def test_a_checkout_that_was_never_compiled_runs_its_sources(checkout: Path) -> None:
    shutil.rmtree(compiled(checkout).parent)
    assert runs_from(checkout) == checkout
    assert "interpreted" in describe(checkout)


def test_the_command_runs_where_the_folder_has_a_space_in_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "my projects" / "bin"
    folder.mkdir(parents=True)
    (folder / "python").symlink_to(sys.executable)
    install = "import pathlib, sys, checkout; checkout.install_command(pathlib.Path(sys.argv[1]))"
    python("-c", install, str(folder / "python"), PYTHONPATH=str(ROOT / "release"))
    (tmp_path / "gateway").mkdir()
    (tmp_path / "gateway" / "__init__.py").write_text("")
    (tmp_path / "gateway" / "entry.py").write_text(
        "import sys\ndef main(): print(sys.executable, sys.argv[1:])\n"
    )
    done = subprocess.run(
        [folder / "whatomate-gateway", "a b", "c"],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert (done.stdout, done.stderr) == (f"{folder / 'python'} ['a b', 'c']\n", "")


@pytest.mark.parametrize(("belongs_to", "is_made_anew"), [(ROOT, False), (ROOT / "elsewhere", True)])
def test_a_virtual_environment_that_came_with_a_copied_checkout_is_made_anew(
    tmp_path: Path, belongs_to: Path, is_made_anew: bool
) -> None:
    """A copied one would run the sources of the checkout that it was copied from."""
    stamp = tmp_path / ".venv" / ".installed"
    stamp.parent.mkdir()
    stamp.write_text(f"{belongs_to}\n")
    planned = subprocess.run(
        [program("make"), "--dry-run", "install", f"VENV={stamp.parent}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS,
    )
    assert ("rm -rf" in planned.stdout) == is_made_anew
