"""The program as the first process of a container: SIGTERM ends it from its first moment."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from tests.support.peers import PATIENCE
from tests.support.processes import ROOT


async def inside(outer: int) -> int:
    """The process that `unshare` made, as it is numbered outside."""
    async with asyncio.timeout(PATIENCE):
        while not (found := Path(f"/proc/{outer}/task/{outer}/children").read_text().split()):
            await asyncio.sleep(0.005)
    return int(found[0])


async def test_a_first_process_that_is_still_starting_ends_at_sigterm(tmp_path: Path) -> None:
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("unshare is not installed")
    (tmp_path / "click.py").write_text("import time; time.sleep(60)")  # imports that take long
    process = await asyncio.create_subprocess_exec(
        *(
            unshare,
            "-Urpf",
            "--kill-child",
            sys.executable,
            "-m",
            "gateway",
            "echo",
            "--listen",
            "127.0.0.1:0",
        ),
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{tmp_path}:{ROOT}"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        first = await inside(process.pid)
        async with asyncio.timeout(
            PATIENCE
        ):  # without a handler the kernel drops the signal, of a first process
            while not handles(first):
                await asyncio.sleep(0.005)
        os.kill(first, signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            await process.communicate()
    except (ProcessLookupError, FileNotFoundError):
        _, words = await process.communicate()
        pytest.skip(f"no namespace for a process of its own: {words.decode().strip()}")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def handles(process: int) -> bool:
    """Whether it has a handler for SIGTERM."""
    status = Path(f"/proc/{process}/status").read_text()
    caught = int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")), 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)
