"""Identity providers of others, each a process of its own on loopback: two of npm and one of PyPI."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from tests.support.openid import CLIENT, SECRET, SSO
from tests.support.peers import PATIENCE
from tests.support.ports import free_port
from tests.support.programs import TOOLS, lacking, program

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator

ROOT: Final = Path(__file__).parents[2]
SCRIPT: Final = ROOT / "tests/sso/providers/serve.mjs"
MODULES: Final = TOOLS.parent / "providers"
STARTING_SECONDS: Final = 60
EMAIL: Final = "agent@example.com"


class Foreign:
    """A provider of others.

    Attributes:
        url: Its issuer.
    """

    def __init__(self, url: str, process: Process) -> None:
        self.url = url
        self._process = process

    async def know(self, gateway: str, algorithm: str = "RS256") -> None:
        """Register the gateway at `gateway`, an origin, as a client whose tokens are signed by `algorithm`."""
        written = {
            "client": CLIENT,
            "secret": SECRET,
            "callback": f"{gateway}{SSO}/custom/callback",
            "back": f"{gateway}/login",
            "logout": f"{gateway}{SSO}/custom/backchannel-logout",
            "email": EMAIL,
            "algorithm": algorithm,
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(written).encode() + b"\n")
        await self._process.stdin.drain()
        assert await _line(self._process) == "ready"


@asynccontextmanager
async def npm_provider(name: str) -> AsyncIterator[Foreign]:
    """Run a provider of npm's."""
    if not (MODULES / "node_modules" / name).is_dir():
        lacking(f"{name} is not installed (`make programs`)")
    command = (program("node"), str(SCRIPT), name, str(MODULES))
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield Foreign(f"http://127.0.0.1:{await _line(process)}", process)
    finally:
        await _end(process)


@asynccontextmanager
async def pypi_provider() -> AsyncIterator[Foreign]:
    """Run oidc-provider-mock, which knows every client, and asks for a user's name in a form."""
    port = free_port()
    user = json.dumps({"sub": "alice", "email": EMAIL, "email_verified": True, "name": "Agent Smith"})
    process = await asyncio.create_subprocess_exec(
        program("oidc-provider-mock"),
        *("--port", str(port), "--require-nonce", "true", "--user-claims", user),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        async with asyncio.timeout(STARTING_SECONDS), aiohttp.ClientSession() as session:
            while not await _answers(session, f"{url}/.well-known/openid-configuration"):
                await asyncio.sleep(0.05)
        yield Foreign(url, process)
    finally:
        await _end(process)


async def document_of(url: str) -> dict[str, Any]:
    """The discovery document of a provider."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url}/.well-known/openid-configuration") as answer,
    ):
        found: dict[str, Any] = await answer.json()
        return found


async def visit(url: str, form: dict[str, str] | None = None) -> str:
    """Follow a redirect of a provider by hand, sending its form if there is one; return where the browser is sent."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE)) as session:
        method = "GET" if form is None else "POST"
        async with session.request(method, url, data=form, allow_redirects=False) as answer:
            assert answer.status in {302, 303}, (
                answer.status,
                re.sub(r"\s+", " ", await answer.text())[:500],
            )
            return answer.headers["Location"]


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


async def _line(process: Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(STARTING_SECONDS):
        return (await process.stdout.readline()).decode().strip()


async def _end(process: Process) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # PyPI's node is a script that starts another program
    async with asyncio.timeout(PATIENCE):
        await process.communicate()  # which closes its pipes as well
