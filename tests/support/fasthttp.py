"""Servers on Go's fasthttp, compiled for a test."""

from __future__ import annotations

import os
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.programs import lacking, program

if TYPE_CHECKING:
    from collections.abc import Iterator

GOPATH = Path("/usr/share/gocode")
BUILDING_SECONDS = 600


@contextmanager
def fasthttp_server(source: str, work: Path) -> Iterator[int]:
    """Compile and run the program `source`, which prints its port; yield that."""
    go = program("go")
    if not (GOPATH / "src" / "github.com" / "valyala" / "fasthttp").is_dir():
        lacking("fasthttp is not installed (golang-github-valyala-fasthttp-dev, see .ci/packages)")
    (work / "main.go").write_text(source)
    # The library takes half a minute to compile, so what is compiled outlives the test.
    cache = os.environ.get("GOCACHE", str(Path(tempfile.gettempdir()) / "whatomate-gateway-go"))
    environment = {**os.environ, "HOME": str(work), "GOCACHE": cache, "GOPATH": str(GOPATH)}
    environment |= {"GO111MODULE": "off", "GOTOOLCHAIN": "local", "GOFLAGS": ""}
    subprocess.run(
        [go, "build", "-o", "server", "main.go"],
        check=True,
        cwd=work,
        env=environment,
        timeout=BUILDING_SECONDS,
    )
    with running([str(work / "server")]) as port:
        yield port


@contextmanager
def running(command: list[str]) -> Iterator[int]:
    """Run a server that prints its port; yield that."""
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()
