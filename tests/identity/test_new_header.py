"""A row added to the table of identity headers is enough: for what is sent, for the triggers, against forgers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 300


def test_a_row_is_all_that_a_header_needs() -> None:
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"),
            *("-p", "tests.identity.locale_row", "tests/identity/locale_cases.py"),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    passed = re.search(r"(\d+) passed", ran.stdout)
    # Those of proxies that are not installed are skipped.
    assert passed is None or int(passed[1]) >= 3, ran.stdout
