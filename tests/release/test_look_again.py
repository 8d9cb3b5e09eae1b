"""Second look of `.ci/look-again` at tests that fail, with a suite that fails as the test has set it.

The script runs beside a Makefile of the test's own, whose target says which tests failed in each of its runs, in the
file where pytest writes them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ALONE = "-n 0 --last-failed --last-failed-no-failures none"

SUITE = """\
#!/bin/sh
# Run K fails what the file K says, or nothing; each run notes its arguments.
run=$(($(wc -l <runs) + 1))
echo "$*" >>runs
[ -e "$run" ] || exit 0
mkdir -p .pytest_cache/v/cache
cp "$run" .pytest_cache/v/cache/lastfailed
exit 1
"""


@dataclass
class Suite:
    """A tree with the script and a suite.

    Attributes:
        path: The tree.
    """

    path: Path

    def fails(self, run: int, *names: str) -> None:
        """Have these tests fail in a run of the suite, the first of which is 1."""
        (self.path / str(run)).write_text(json.dumps(dict.fromkeys(names, True)), encoding="utf-8")

    def look_again(self) -> subprocess.CompletedProcess[str]:
        """Run the script to its end."""
        return subprocess.run(
            [str(self.path / ".ci/look-again"), "test", "ARGS=first"],
            env={**os.environ, "UNSTABLE_TESTS": str(self.path / "unstable")},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    @property
    def runs(self) -> list[str]:
        """The arguments of each run so far."""
        return (self.path / "runs").read_text(encoding="utf-8").splitlines()

    @property
    def unstable(self) -> list[str]:
        """The tests that are named as unstable."""
        path = self.path / "unstable"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/look-again", tmp_path / ".ci")
    (tmp_path / "Makefile").write_text("test:\n\t@./suite $(ARGS)\n", encoding="utf-8")
    (tmp_path / "runs").touch()
    (tmp_path / "suite").write_text(SUITE, encoding="utf-8")
    (tmp_path / "suite").chmod(0o755)
    return Suite(tmp_path)


def test_a_suite_that_passes_runs_once(suite: Suite) -> None:
    assert suite.look_again().returncode == 0
    assert suite.runs == ["first"]
    assert suite.unstable == []


def test_what_failed_once_has_to_pass_ten_times_alone_and_is_named(suite: Suite) -> None:
    suite.fails(1, "tests/a.py::test_a[x y]", "tests/b.py::test_b")
    assert suite.look_again().returncode == 0
    assert suite.runs == ["first", *[ALONE] * 10]
    assert suite.unstable == ["tests/a.py::test_a[x y]", "tests/b.py::test_b"]


@pytest.mark.parametrize("run", [2, 11])
def test_what_fails_a_second_time_fails_the_run(run: int, suite: Suite) -> None:
    suite.fails(1, "tests/a.py::test_a")
    suite.fails(run, "tests/a.py::test_a")
    assert suite.look_again().returncode != 0
    assert len(suite.runs) == run
    assert suite.unstable == []


def test_more_than_five_are_not_run_again(suite: Suite) -> None:
    suite.fails(1, *(f"tests/a.py::test_{number}" for number in range(6)))
    assert suite.look_again().returncode != 0
    assert suite.runs == ["first"]


def test_a_suite_that_fails_without_a_failed_test_fails_the_run(suite: Suite) -> None:
    """As for lines that were not covered."""
    suite.fails(1)
    assert suite.look_again().returncode != 0
    assert suite.runs == ["first"]


def test_what_an_earlier_run_left_is_not_looked_at(suite: Suite) -> None:
    left = suite.path / ".pytest_cache/v/cache/lastfailed"
    left.parent.mkdir(parents=True)
    left.write_text('{"tests/old.py::test_old": true}', encoding="utf-8")
    (suite.path / "suite").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    assert suite.look_again().returncode != 0
    assert suite.unstable == []
