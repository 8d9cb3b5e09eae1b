"""One run of the development gateway as a process, and what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
END = "Press Ctrl-C to stop"


@dataclass
class Dev:
    """One run of the command in a folder of its own."""

    folder: Path
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, folder: Path, *arguments: str, **environment: str) -> Dev:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
        ports = {"GATEWAY_LISTEN": "127.0.0.1:0", "GATEWAY_ADMIN_LISTEN": "127.0.0.1:0"}
        with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
            process = subprocess.Popen(
                [sys.executable, "-m", "gateway", "dev", *arguments],
                env={**clean, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **ports, **environment},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        return cls(folder, process)

    @property
    def out(self) -> str:
        return (self.folder / "out").read_text()

    @property
    def err(self) -> str:
        return (self.folder / "err").read_text()

    def wait_until_up(self) -> Dev:
        deadline = time.monotonic() + 60
        while END not in self.out:
            assert self.process.poll() is None, self.err
            assert time.monotonic() < deadline, self.out + self.err
            time.sleep(0.05)
        return self

    @property
    def lines(self) -> str:
        """The printed lines that are meant to be pasted."""
        begin = self.out.find("# curl is not")
        return self.out[begin if begin >= 0 else self.out.index("# register") : self.out.index(END)]

    def paste(self, path: str | None = None) -> list[Any]:
        """Run the printed lines verbatim, with the search path `path`, and return each JSON document they print."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.lines],
            env={**os.environ, "PATH": path or os.environ["PATH"], "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        documents, rest = [], done.stdout.strip()
        while rest:
            document, end = json.JSONDecoder().raw_decode(rest)
            documents.append(document)
            rest = rest[end:].strip()
        return documents

    def told(self, name: str) -> str:
        found = re.search(rf"^{name} +(\S+)", self.out, re.MULTILINE)
        assert found is not None, self.out
        return found[1]

    def family(self) -> list[int]:
        """The process and everything it started, however deep."""
        parents: dict[int, list[int]] = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if fields[0] != "Z":
                parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
        found = [self.process.pid]
        for pid in found:
            found += parents.get(pid, [])
        return found

    def stop(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


def running(pids: list[int]) -> list[int]:
    alive = []
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state != "Z":
            alive.append(pid)
    return alive


def wait_until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + 20
    while left := running(pids):
        assert time.monotonic() < deadline, f"still running: {left}"
        time.sleep(0.05)


@contextmanager
def made_folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="whatomate-dev-"))
    made.chmod(0o755)  # as root, PostgreSQL is another user, who must get in
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)  # of a test that failed, a server may still be writing


@contextmanager
def started_in(folder: Path, *arguments: str) -> Iterator[Dev]:
    started = Dev.start(folder, *arguments)
    try:
        yield started.wait_until_up()
    finally:
        if started.process.poll() is None:
            started.process.kill()
            started.process.wait()


def dev_over(data: Path) -> subprocess.CompletedProcess[str]:
    """A run that is expected to end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "gateway", "dev", "--data-dir", str(data)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "GATEWAY_LISTEN": ":0", "GATEWAY_ADMIN_LISTEN": ":0"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def headers(document: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in document["headers"]}
