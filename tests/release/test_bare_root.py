"""A wheel in a Debian that has Python and nothing else: installed by hash without a network, it serves.

The pure wheel, or under ``make test-compiled`` the compiled one.
"""

from __future__ import annotations

import asyncio
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.calls import bearer, get
from tests.support.peers import Client
from tests.support.ports import free_port
from tests.support.postgres_port import over_tcp
from tests.support.programs import lacking, program
from tests.support.worlds import SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.peers import Upstream
    from tests.support.worlds import World

ROOT = Path(__file__).parents[2]
COMPILED = "TESTS_COMPILED" in os.environ
HOME = "/opt/whatomate-gateway"
COMMAND = f"{HOME}/bin/whatomate-gateway"
STEP_SECONDS = 400
LONG = 60
GLIBC_OF_THE_ROOT = (2, 36)

pytestmark = pytest.mark.timeout(3 * STEP_SECONDS)


def run(*command: str, **variables: str) -> str:
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **variables}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=STEP_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def offline(root: Path, *command: str) -> str:
    """Run a command in the root, without any network."""
    return run("unshare", "--net", "chroot", str(root), *command)


def wheel(folder: Path) -> Path:
    if not COMPILED:
        run(
            sys.executable,
            str(ROOT / "release/make_dist.py"),
            "--only",
            "wheel",
            "--out",
            str(folder),
            **os.environ,
        )
        (found,) = folder.glob("*.whl")
        return found
    if tuple(map(int, platform.libc_ver()[1].split("."))) > GLIBC_OF_THE_ROOT:
        lacking("the compiled wheel is of a newer glibc than the root's")
    (found,) = (ROOT / ".compiled" / "wheel").glob("*-cp311-*.whl")
    return found


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    """A Debian 12 with python3 and python3-venv, the gateway installed as docs/deploy.md says."""
    if os.geteuid() != 0:
        lacking("only root makes a root")
    for name in ("mmdebstrap", "unshare", "git"):
        program(name)
    if COMPILED and sys.version_info[:2] != (3, 11):
        lacking("the root has Python 3.11, for which nothing is compiled here")
    made = Path(tempfile.mkdtemp(prefix="whatomate-root-"))
    try:
        folder = made / "root"
        packages = "--include=python3,python3-venv"
        made_by = (program("mmdebstrap"), "--quiet", "--variant=minbase", packages, "bookworm")
        run(*made_by, str(folder), **os.environ)
        lock = ROOT / "requirements-image.lock"
        # pip judges markers by the Python that it runs on, which may be a later 3.11 than the root's.
        wanted = made / "wanted.txt"
        wanted.write_text(re.sub(r" ; python_full_version [^\\\n]*", " ", lock.read_text()))
        pip = (
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-input",
        )
        which = ("--no-deps", "--only-binary", ":all:", "--python-version", "3.11", "--require-hashes")
        run(*pip, *which, "-r", str(wanted), "--dest", str(folder / "wheels"), **os.environ)
        shutil.copy(lock, folder / "requirements.txt")
        ours = wheel(made / "out")
        shutil.copy(ours, folder / ours.name)
        offline(folder, "python3", "-m", "venv", HOME)
        install = (f"{HOME}/bin/pip", "install", "--quiet", "--disable-pip-version-check", "--no-index")
        locked = ("--find-links", "/wheels", "--no-deps", "--require-hashes", "-r", "/requirements.txt")
        offline(folder, *install, *locked)
        offline(folder, *install, "--no-deps", f"/{ours.name}")
        yield folder
    finally:
        shutil.rmtree(made, ignore_errors=True)


def test_the_installed_command_says_what_it_is(root: Path) -> None:
    said = offline(root, COMMAND, "--version")
    assert ("interpreted" in said, "compiled" in said) == (not COMPILED, COMPILED), said


@pytest.mark.skipif(
    COMPILED, reason="a checkout's own wheel has neither; the one of make dist is made as the pure one"
)
def test_the_manual_page_and_the_completions_are_where_they_are_looked_for(root: Path) -> None:
    share = root / HOME.removeprefix("/") / "share"
    assert (share / "man/man1/whatomate-gateway.1").read_text().startswith(".")
    assert "whatomate-gateway" in (share / "bash-completion/completions/whatomate-gateway").read_text()
    assert (share / "zsh/site-functions/_whatomate-gateway").exists()
    assert (share / "fish/vendor_completions.d/whatomate-gateway.fish").exists()


async def test_the_installed_gateway_serves(root: Path, world: World, upstream: Upstream) -> None:
    async with over_tcp(world.url) as url:
        settings = {
            "GATEWAY_DATABASE_URL": url,
            "GATEWAY_JWT_SECRET": SECRET,
            "GATEWAY_UPSTREAM_URL": f"http://127.0.0.1:{upstream.port}",
            "GATEWAY_LISTEN": f"127.0.0.1:{(port := free_port())}",
            "GATEWAY_ADMIN_LISTEN": f"127.0.0.1:{free_port()}",
            "GATEWAY_TIMEOUT_DRAIN_DELAY_SECONDS": "0",
        }
        inside = ("chroot", "--userspec=65534:65534", str(root), COMMAND)
        process = await asyncio.create_subprocess_exec(
            *inside, "serve", env={"PATH": os.environ["PATH"], **settings}, stdout=asyncio.subprocess.DEVNULL
        )
        try:
            async with asyncio.timeout(LONG):
                while True:
                    done = await asyncio.create_subprocess_exec(
                        *inside,
                        *("health", "--ready"),
                        env={"PATH": os.environ["PATH"], **settings},
                        stdout=asyncio.subprocess.DEVNULL,
                        stderr=asyncio.subprocess.DEVNULL,
                    )
                    if await done.wait() == 0:
                        break
                    assert process.returncode is None
            async with asyncio.timeout(LONG), Client(("127.0.0.1", port)) as client:
                answer = await client.exchange(get("/api/x", bearer(world.token(world.agent))))
            assert answer.status == 200
            assert upstream.requests[0].one("X-User-ID") == str(world.agent)
            process.terminate()
            assert await asyncio.wait_for(process.wait(), LONG) == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
