"""Services of docs/packages, run as processes of their own behind gateways that sign."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.support.peers import Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PACKAGES: Final = Path(__file__).parents[2] / "docs" / "packages"
STARTING_SECONDS: Final = 60
ENDING_SECONDS: Final = 10
KEY_SET: Final = "/.well-known/identity-jwks.json"


def python_command(framework: str) -> list[str]:
    """Return the command of a service in Python, which has the package and neither gateway nor authcore on its path."""
    return [sys.executable, "-P", str(PACKAGES / "python" / "examples" / f"{framework}_service.py")]


@asynccontextmanager
async def serving(
    command: list[str], port: int, keys_url: str, audience: str
) -> AsyncIterator[tuple[str, int]]:
    """Run a service; yield where it listens."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(PACKAGES / "python"),
        "NODE_PATH": os.environ.get("NODE_PATH", ""),
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
