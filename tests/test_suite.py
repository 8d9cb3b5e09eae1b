"""Suite: a test that fails ends, and the run with it, whatever the test has left open."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from tests.laws import ROOT

if TYPE_CHECKING:
    from pathlib import Path

LEAKING = """
import asyncio, socket, uvloop

def test_leaves_a_connection_open():
    ours, theirs = socket.socketpair()
    async def leave():
        await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
        assert theirs.fileno() == -1
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(leave())
"""


def test_a_failing_test_that_leaves_a_connection_open_ends(tmp_path: Path) -> None:
    """uvloop warns of the connection when its loop closes. As an error, the warning let it wait for ever."""
    path = tmp_path / "test_leaking.py"
    path.write_text(LEAKING, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        f"--config-file={ROOT / 'pyproject.toml'}",
        "-p",
        "no:cacheprovider",
    ]
    ended = subprocess.run(
        [*command, str(path)], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert "1 failed" in ended.stdout
