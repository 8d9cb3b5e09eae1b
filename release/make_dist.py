"""Maker of what is published, into dist/: packages, chart, image, bill of materials, checksums.

    python release/make_dist.py [--only sdist,wheel,compiled,chart,image,sbom] [--out dist]

Two runs on one commit, with the same compilers and the same versions of everything that is downloaded, give the same
bytes. What cannot be made on this machine is left out, and named.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from archives import files_below, pack, unpack
from checkout import can_compile
from packages import ROOT, build_sdist, build_wheel, copy_source, git, source_date

if TYPE_CHECKING:
    from collections.abc import Callable

NAME: Final = "whatomate-gateway"
TOOLS: Final = ROOT / ".tools" / "bin"
BILL_MAKER: Final = ROOT / ".dist-tools" / "bin" / "cyclonedx-py"


UNDECLARED: Final = {"protobuf": "BSD-3-Clause"}
"""Licences of packages whose metadata name a file and no licence."""


class NotHere(Exception):
    """The artifact cannot be made on this machine; the text says what is missing."""


class Maker:
    """One run: where it builds, where to, and the time that everything bears."""

    def __init__(self, work: Path, out: Path) -> None:
        self.work, self.out, self.time = work, out, source_date()
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        self.version: str = project["version"]
        self.source = copy_source(work / "source")

    def sdist(self) -> None:
        """Build the sdist."""
        build_sdist(self.source, self.out, self.time)

    def wheel(self) -> None:
        """Build the pure wheel."""
        build_wheel(self.source, self.out, self.time, compiled=False)

    def compiled(self) -> None:
        """Build the wheel for this Python, its warm path compiled."""
        if not can_compile():
            raise NotHere("a C compiler, and the headers of this Python (on Debian gcc and python3-dev)")
        build_wheel(self.source, self.out, self.time, compiled=True)

    def chart(self) -> None:
        """Package the chart by helm, and pack it anew: helm writes the time into it."""
        helm = next((str(path) for path in (TOOLS / "helm",) if path.exists()), shutil.which("helm"))
        if helm is None:
            raise NotHere("helm (make programs)")
        packed = self.work / "chart"
        _run(helm, "package", str(self.source / "helm" / NAME), "--destination", str(packed))
        (archive,) = packed.glob("*.tgz")
        pack(unpack(archive), self.out / archive.name, self.time, compressed=True)

    def image(self) -> None:
        """Build the image, and pack it as an OCI archive."""
        missing = [name for name in ("buildah", "mmdebstrap") if shutil.which(name) is None]
        if os.geteuid() != 0 or missing:
            raise NotHere(" and ".join(["root", *missing] if os.geteuid() else missing))
        taken = self.work / "image"
        _run(
            str(self.source / "image" / "build"),
            str(taken),
            SOURCE_DATE_EPOCH=str(self.time),
            REVISION=git("rev-parse", "HEAD").strip(),
        )
        architecture = json.loads((taken / "config.json").read_text())["OCIv1"]["architecture"]
        target = self.out / f"{NAME}-{self.version}-linux-{architecture}.oci.tar"
        pack(files_below(taken / "oci"), target, self.time, compressed=False)

    def sbom(self) -> None:
        """Write the bill of materials of what the image installs, in CycloneDX's format."""
        if not BILL_MAKER.exists():
            raise NotHere("cyclonedx-py in .dist-tools (make dist installs it)")
        environment = self.work / "environment"
        _run(sys.executable, "-m", "venv", "--without-pip", str(environment))
        python = str(environment / "bin" / "python")
        pip = (
            sys.executable,
            "-m",
            "pip",
            "--python",
            python,
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-input",
        )
        _run(
            *pip,
            "--no-compile",
            "--no-deps",
            "--require-hashes",
            "--only-binary",
            ":all:",
            "-r",
            str(self.source / "requirements-image.lock"),
        )
        bill = self.out / f"{NAME}-{self.version}.cdx.json"
        _run(
            *(str(BILL_MAKER), "environment", python, "--output-reproducible", "--output-format", "JSON"),
            *("--pyproject", str(self.source / "pyproject.toml"), "--output-file", str(bill)),
            SOURCE_DATE_EPOCH=str(self.time),
        )
        found = json.loads(bill.read_text())
        for component in found["components"]:
            if "licenses" not in component and component["name"] in UNDECLARED:
                component["licenses"] = [{"license": {"id": UNDECLARED[component["name"]]}}]
        bill.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")

    def texts(self) -> None:
        """Copy the unit and the lock that the image is made of; write the same as constraints, without hashes."""
        shutil.copyfile(self.source / "release" / f"{NAME}.service", self.out / f"{NAME}.service")
        lock = (self.source / "requirements-image.lock").read_text()
        (self.out / "requirements.txt").write_text(lock)
        pins = re.findall(r"^[A-Za-z0-9][^\\\n]*==[^\\\n]*", lock, re.MULTILINE)
        (self.out / "constraints.txt").write_text("".join(f"{pin.strip()}\n" for pin in pins))


def main() -> None:
    """Make everything, or what ``--only`` names."""
    parser = argparse.ArgumentParser(description="Make what is published.")
    parser.add_argument("--only", default="sdist,wheel,compiled,chart,image,sbom")
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    given = parser.parse_args()
    out: Path = given.out.absolute()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="whatomate-dist-") as work:
        maker = Maker(Path(work), out)
        steps: dict[str, Callable[[], None]] = {name: getattr(maker, name) for name in given.only.split(",")}
        for name, step in {**steps, "texts": maker.texts}.items():
            print(f"making {name}", file=sys.stderr)  # noqa: T201 -- a command's words
            try:
                step()
            except NotHere as error:
                print(f"left out: {name}, which needs {error}", file=sys.stderr)  # noqa: T201 -- as above
    (out / ".gitignore").unlink(missing_ok=True)  # hatchling writes one
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(out.iterdir())}
    (out / "SHA256SUMS").write_text("".join(f"{digest}  {name}\n" for name, digest in sums.items()))
    for path in out.iterdir():
        path.chmod(0o644)
    sys.stdout.write((out / "SHA256SUMS").read_text())


def _run(*command: str, **variables: str) -> None:
    done = subprocess.run(
        command, env={**os.environ, **variables}, capture_output=True, text=True, check=False, umask=0o022
    )
    if done.returncode != 0:
        sys.exit(f"error: {' '.join(command)} failed:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
