"""pydantic loads no plugin with the settings, unless the environment lets it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

LOAD = "import config.load, sys; print('seen_by_plugin' in sys.modules)"


@pytest.mark.parametrize(
    ("environment", "loaded"), [({}, "False"), ({"PYDANTIC_DISABLE_PLUGINS": ""}, "True")]
)
def test_a_plugin_that_is_installed_is_loaded_only_where_the_environment_lets_it(
    tmp_path: Path, environment: dict[str, str], loaded: str
) -> None:
    metadata = tmp_path / "seen_by_plugin-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: seen-by-plugin\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[pydantic]\nseen = seen_by_plugin:plugin\n")
    (tmp_path / "seen_by_plugin.py").write_text(
        "class plugin:\n    def new_schema_validator(*_):\n        return None, None, None\n"
    )
    path = ":".join([str(tmp_path), *(place for place in sys.path if place)])
    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        env={"PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == loaded
