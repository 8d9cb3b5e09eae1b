"""echo: an upstream to try a gateway with."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.addresses import url_of

if TYPE_CHECKING:
    from tests.support.commands import Run

ROOT = Path(__file__).parents[2]
EVERY = "0.0.0.0"  # noqa: S104 -- a host that an operator may name; it is bound to in a test alone


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", EVERY, ""])
def test_echo_answers_at_the_url_that_it_prints_with_what_it_received(tmp_path: Path, host: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "echo", "--listen", f"{host}:0"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        url = process.stderr.readline().split()[2].rstrip(";")
        with urllib.request.urlopen(f"{url}/a?b=c", timeout=10) as answer:
            assert json.load(answer)["path"] == "/a"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ((EVERY, 80), "http://127.0.0.1:80"),
        (("::", 80), "http://[::1]:80"),
        (("::1", 80), "http://[::1]:80"),
        (("192.0.2.7", 80), "http://192.0.2.7:80"),
    ],
)
def test_a_listener_on_every_address_of_a_family_is_reached_by_that_family(
    address: tuple[str, int], url: str
) -> None:
    assert url_of(address) == url


def test_an_address_that_cannot_be_had_is_told(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run("echo", "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
    assert result.exit_code == 1
    assert "choose another address" in result.stderr
    assert run("echo", "--listen", "nowhere").exit_code == 2
