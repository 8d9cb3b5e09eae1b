"""Services of docs/packages, run as processes of their own behind gateways that sign."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.support.peers import Client
from tests.support.programs import TOOLS, lacking, program

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

PACKAGES: Final = Path(__file__).parents[2] / "docs" / "packages"
EXPRESS: Final = TOOLS.parent / "express"
BUILDING_SECONDS: Final = 230
STARTING_SECONDS: Final = 60
ENDING_SECONDS: Final = 10
KEY_SET: Final = "/.well-known/identity-jwks.json"


def python_command(framework: str) -> list[str]:
    """Return the command of a service in Python, which has the package and neither gateway nor authcore on its path."""
    return [sys.executable, "-P", str(PACKAGES / "python" / "examples" / f"{framework}_service.py")]


def node_command(work: Path) -> list[str]:
    """Return the command of the service in Express, in a folder where both packages are installed as npm does."""
    express = EXPRESS / "node_modules" / "express"
    if not express.is_dir():
        lacking("express is not installed (`make programs`)")
    modules = work / "node_modules"
    modules.mkdir()
    (modules / "express").symlink_to(express)
    (modules / "whatomate-identity").symlink_to(PACKAGES / "node")
    shutil.copy(PACKAGES / "node" / "examples" / "express_service.mjs", work)
    return [program("node"), str(work / "express_service.mjs")]


def go(work: Path, *arguments: str) -> None:
    """Run a command of Go's on the package; what is compiled is kept beside the tools, its standard library too."""
    environment = {
        **os.environ,
        "HOME": str(work),
        "GOCACHE": str(TOOLS.parent / "go-build"),
        "GOPROXY": "off",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "",
    }
    run_in(PACKAGES / "go", program("go"), *arguments, environment=environment)


def run_in(folder: Path, *command: str, environment: Mapping[str, str] | None = None) -> None:
    """Run a command to its end; it fails with what it has printed."""
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, timeout=BUILDING_SECONDS, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode()


@asynccontextmanager
async def serving(
    command: list[str], port: int, keys_url: str, audience: str
) -> AsyncIterator[tuple[str, int]]:
    """Run a service; yield where it listens."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(PACKAGES / "python"),
        "KEYS_URL": keys_url,
        "AUDIENCE": audience,
        "PORT": str(port),
    }
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment,
        cwd=PACKAGES,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(STARTING_SECONDS):
            while True:
                with suppress(OSError):
                    async with Client(("127.0.0.1", port)):
                        break
                assert process.returncode is None, "the service has ended"
                await asyncio.sleep(0.05)
        yield "127.0.0.1", port
    finally:
        if process.returncode is None:
            process.kill()
        async with asyncio.timeout(ENDING_SECONDS):
            await process.wait()
