"""The programs that are not ours and that tests run for real: proxies, browsers, checkers.

Without its program a test is skipped, and says which one it lacks; with ``GATEWAY_TESTS_SKIP=never``, as in CI, it
fails.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest


def program(name: str) -> str:
    """The path of a program, from beside the interpreter (PyPI) or from the search path (the system)."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is not None:
        return found
    lacking = f"{name} is not installed (see .ci/packages; `make programs` for those of PyPI)"
    if os.environ.get("GATEWAY_TESTS_SKIP") == "never":
        pytest.fail(lacking)
    pytest.skip(lacking)
