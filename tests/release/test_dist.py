"""`make dist`: two builds in two folders give the same bytes, and each artifact holds what it should."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.programs import lacking, program

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
WHEEL = f"whatomate_gateway-{VERSION}-py3-none-any.whl"
SDIST = f"whatomate_gateway-{VERSION}.tar.gz"
CHART = f"whatomate-gateway-{VERSION}.tgz"
BILL = f"whatomate-gateway-{VERSION}.cdx.json"
BUILD_SECONDS = 300

pytestmark = pytest.mark.timeout(2 * BUILD_SECONDS + 60)


def run(*command: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def built(folder: Path, name: str) -> dict[str, Path]:
    """Build from a clone at `folder`/`name`, with a strict umask and another time zone in every second one."""
    checkout = folder / name / "checkout"
    run(program("git"), "clone", "--quiet", "--no-hardlinks", str(ROOT), str(checkout))
    changed = run("git", "-C", str(ROOT), "diff", "HEAD", "--binary").stdout
    if changed:  # the developer's, not committed yet
        subprocess.run(
            ["git", "-C", str(checkout), "apply"], input=changed, text=True, check=True, timeout=60
        )
    for tools in (".tools", ".dist-tools"):
        if (ROOT / tools).exists():
            (checkout / tools).symlink_to(ROOT / tools)
    out = folder / name / "out"
    only = "sdist,wheel,chart,sbom"
    run(
        sys.executable,
        "release/make_dist.py",
        "--only",
        only,
        "--out",
        str(out),
        cwd=checkout,
        TZ=f"Etc/GMT-{len(name)}",
    )
    return {path.name: path for path in out.iterdir()}


@pytest.fixture(scope="module")
def builds() -> Iterator[list[dict[str, Path]]]:
    program("helm")
    program("git")
    if not (ROOT / ".git").exists():
        lacking("this is no git checkout")
    if not (ROOT / ".dist-tools" / "bin" / "cyclonedx-py").exists():
        lacking("cyclonedx-py is not installed (make programs)")
    folder = Path(tempfile.mkdtemp(prefix="whatomate-dist-"))
    try:
        yield [built(folder, name) for name in ("one", "another-place")]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_two_builds_have_the_same_bytes_and_the_sums_are_theirs(builds: list[dict[str, Path]]) -> None:
    first, second = builds
    assert first.keys() == second.keys()
    assert {
        WHEEL,
        SDIST,
        CHART,
        BILL,
        "constraints.txt",
        "requirements.txt",
        "whatomate-gateway.service",
    } < first.keys()
    for name in first:
        assert first[name].read_bytes() == second[name].read_bytes(), name
    lines = [line.split("  ") for line in first["SHA256SUMS"].read_text().splitlines()]
    sums = {name: digest for digest, name in lines}
    assert sums == {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in first.items()
        if name != "SHA256SUMS"
    }


def test_the_wheel_of_the_sdist_is_the_wheel(builds: list[dict[str, Path]], tmp_path: Path) -> None:
    with tarfile.open(builds[0][SDIST]) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    when = str(int(run("git", "-C", str(ROOT), "log", "-1", "--format=%ct").stdout))
    command = ("-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path / "out"))
    run(sys.executable, *command, cwd=unpacked, SOURCE_DATE_EPOCH=when)
    assert (tmp_path / "out" / WHEEL).read_bytes() == builds[0][WHEEL].read_bytes()


def test_the_wheel_has_completions_a_manual_page_and_the_commit(builds: list[dict[str, Path]]) -> None:
    with zipfile.ZipFile(builds[0][WHEEL]) as wheel:
        names = set(wheel.namelist())
        commit = wheel.read("gateway/commit.txt").decode().strip()
        manual = next(name for name in names if name.endswith("share/man/man1/whatomate-gateway.1"))
        page = wheel.read(manual).decode()
    assert commit == run("git", "-C", str(ROOT), "rev-parse", "HEAD").stdout.strip()
    assert page.startswith(".")
    assert "check-config" in page.replace("\\-", "-")
    shared = {name.partition(".data/data/")[2] for name in names if ".data/data/" in name}
    assert shared == {
        "share/bash-completion/completions/whatomate-gateway",
        "share/fish/vendor_completions.d/whatomate-gateway.fish",
        "share/man/man1/whatomate-gateway.1",
        "share/zsh/site-functions/_whatomate-gateway",
    }
    tops = {name.partition("/")[0] for name in names}
    assert tops - {"authcore", "config", "gateway"} == {
        f"whatomate_gateway-{VERSION}.{end}" for end in ("data", "dist-info")
    }


def test_the_packaged_chart_is_the_chart(builds: list[dict[str, Path]]) -> None:
    shown = run(program("helm"), "show", "chart", str(builds[0][CHART])).stdout
    assert re.search(r"^name: whatomate-gateway$", shown, re.MULTILINE)
    values = run(program("helm"), "show", "values", str(builds[0][CHART])).stdout
    assert values.strip() == (ROOT / "helm" / "whatomate-gateway" / "values.yaml").read_text().strip()


def test_the_bill_of_materials_names_every_locked_package_with_licence_and_purl(
    builds: list[dict[str, Path]],
) -> None:
    bill: dict[str, Any] = json.loads(builds[0][BILL].read_text())
    assert (bill["bomFormat"], "serialNumber" in bill) == ("CycloneDX", False)
    listed = {one["purl"] for one in bill["components"]}
    lock = builds[0]["requirements.txt"].read_text()
    for name, version, marker in re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)([^\\\n]*)", lock, re.MULTILINE):
        if not marker.strip():  # others are for other systems and Pythons
            assert f"pkg:pypi/{name.lower().replace('_', '-')}@{version}" in listed
    assert [one["name"] for one in bill["components"] if not one.get("licenses")] == []


def test_the_constraints_are_the_lock_without_hashes(builds: list[dict[str, Path]]) -> None:
    constraints = builds[0]["constraints.txt"].read_text()
    lock = builds[0]["requirements.txt"].read_text()
    assert "--hash" not in constraints
    assert len(constraints.splitlines()) == lock.count("==") - lock.count("version ==") > 30


SMALL = ["authcore/figures.py", "gateway/tracing/context.py"]
"""Modules that are compiled in seconds. The whole warm path takes a minute of processor time, twice over; what could
differ (paths, times, order, the compiler's own numbers) is in these two as it is in all."""

COMPILE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from packages import build_wheel
build_wheel(Path(sys.argv[2]), Path(sys.argv[3]), 1_700_000_000, compiled=True)
"""


def test_the_image_compiles_with_the_flags_of_the_wheel() -> None:
    flags = re.search(r'COMPILER_FLAGS: Final = (".*")', (ROOT / "release" / "packages.py").read_text())
    assert flags
    assert f" CFLAGS={flags[1]} " in (ROOT / "Dockerfile").read_text()


def test_compiled_wheels_of_two_folders_have_the_same_bytes_and_name_neither(tmp_path: Path) -> None:
    if not any(shutil.which(name) for name in ("cc", "gcc", "clang")):
        lacking("a C compiler is not installed")
    wheels = []
    for name in ("one", "another-place"):
        source = tmp_path / name / "source"
        source.mkdir(parents=True)
        for package in ("authcore", "config", "gateway"):
            shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
        for file in ("README.md", "LICENSE"):
            shutil.copy(ROOT / file, source / file)
        project = (ROOT / "pyproject.toml").read_text()
        few = re.sub(
            r"^include = \[\n.*?^\]",
            f"include = {json.dumps(SMALL)}",
            project,
            flags=re.MULTILINE | re.DOTALL,
        )
        assert few != project
        (source / "pyproject.toml").write_text(few)
        run(sys.executable, "-c", COMPILE, str(ROOT / "release"), str(source), str(tmp_path / name / "out"))
        (wheel,) = (tmp_path / name / "out").glob("*.whl")
        wheels.append(wheel)
    first, second = wheels
    assert (first.name, first.read_bytes()) == (second.name, second.read_bytes())
    with zipfile.ZipFile(first) as wheel_file:
        modules = [name for name in wheel_file.namelist() if name.endswith(".so")]
        assert len(modules) == len(SMALL) + 1
        for module in modules:
            assert str(tmp_path).encode() not in wheel_file.read(module), module
