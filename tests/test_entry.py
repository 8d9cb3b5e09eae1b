"""The program as a process: as the first one of a container, and with standard streams that are closed or full."""

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
        # Without a handler the kernel drops the signal, of a first process.
        async with asyncio.timeout(PATIENCE):
            while not handles(first):
                await asyncio.sleep(0.005)
        os.kill(first, signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            await process.communicate()
        assert process.returncode == 143, "as shells report SIGTERM, and docs/commands.md"
    except (ProcessLookupError, FileNotFoundError):
        _, words = await process.communicate()
        pytest.skip(f"no namespace for a process of its own: {words.decode().strip()}")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def handles(process: int) -> bool:
    """Return whether a process has a handler for SIGTERM."""
    status = Path(f"/proc/{process}/status").read_text()
    caught = int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")), 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize(
    ("typed", "code", "error"),
    [
        ("token inspect - <&-", 2, "no token was given"),
        ("check-config --token - <&-", 2, "--token: no token was given"),
        ("users set-password ada@acme.example <&-", 2, "there is no terminal to type a password at"),
        ("users set-password ada@acme.example </dev/null", 2, "there is no terminal to type a password at"),
        ("routes schema >&-", 0, ""),
        ("keys list >&-", 0, ""),
        ("keys list <&- >&-", 0, ""),
        ("keys list >/dev/full", 1, "standard output cannot be written: No space left on device"),
        ("--version >/dev/full", 1, "standard output cannot be written: No space left on device"),
        ("--help >/dev/full", 1, "standard output cannot be written: No space left on device"),
        ("users list --help >/dev/full", 1, "standard output cannot be written: No space left on device"),
        ("token inspect x >/dev/full", 3, "standard output cannot be written: No space left on device"),
        ("keys generate >/dev/full", 1, "standard output cannot be written: No space left on device"),
    ],
)
async def test_a_standard_stream_that_is_closed_or_full_is_an_error_in_words(
    tmp_path: Path, typed: str, code: int, error: str
) -> None:
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", f'"$0" -m gateway {typed}', sys.executable),
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "GATEWAY_DATABASE_URL": "postgresql://127.0.0.1:1/none",
            "GATEWAY_JWT_SECRET": "a-secret-of-thirty-two-bytes-or-more-0123",
            "GATEWAY_UPSTREAM_URL": "http://127.0.0.1:1",
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # without a terminal to ask
    )
    try:
        async with asyncio.timeout(PATIENCE):
            printed, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (process.returncode, printed) == (code, b"")
    lines = [line for line in errors.decode().splitlines() if line.startswith("Error: ")]
    assert [line.startswith(f"Error: {error}") for line in lines] == ([True] if error else [])
    assert b"Traceback" not in errors


@pytest.mark.parametrize(("typed", "code"), [("token inspect x", 3), ("keys list", 1)])
async def test_a_reader_that_has_gone_is_no_answer_and_no_traceback(
    tmp_path: Path, typed: str, code: int
) -> None:
    gone, end = os.pipe()
    os.close(gone)
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", *typed.split()),
            cwd=tmp_path,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                "GATEWAY_JWT_SECRET": "a-secret-of-thirty-two-bytes-or-more-0123",
            },
            stdout=end,
            stderr=asyncio.subprocess.PIPE,
        )
    finally:
        os.close(end)
    async with asyncio.timeout(PATIENCE):
        _, errors = await process.communicate()
    assert (process.returncode, errors) == (code, b"")


async def test_what_a_locale_cannot_write_is_escaped(tmp_path: Path) -> None:
    """As in de_DE.ISO-8859-1, which has no sign for less or equal and no name with a Polish letter."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "settings", "GATEWAY_LOG_SAMPLE"),
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "latin-1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE):
        printed, errors = await process.communicate()
    assert (process.returncode, errors) == (0, b"")
    assert printed.startswith(b"GATEWAY_LOG_SAMPLE  (number, \\u2265 0, \\u2264 1; default 1)")


async def test_what_is_opened_gets_no_number_of_a_closed_stream(tmp_path: Path) -> None:
    script = "import gateway.entry, os; gateway.entry.main(prog_name='x')"
    (tmp_path / "click.py").write_text("import os; os._exit(0 if os.open('/', os.O_RDONLY) > 2 else 7)")
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", '"$0" -c "$1" <&- >&- 2>&-', sys.executable, script),
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{tmp_path}:{ROOT}"},
    )
    try:
        async with asyncio.timeout(PATIENCE):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
