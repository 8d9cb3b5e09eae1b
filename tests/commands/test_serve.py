"""serve, as a process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.certificates import Authority
from tests.support.commands import SECRET
from tests.support.processes import STARTING

if TYPE_CHECKING:
    from collections.abc import Iterator


ROOT = Path(__file__).parents[2]


@pytest.fixture
def environment(database_url: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    return clean | {
        "PYTHONPATH": str(ROOT),
        "GATEWAY_DATABASE_URL": database_url,
        "GATEWAY_JWT_SECRET": SECRET,
        "GATEWAY_UPSTREAM_URL": "http://127.0.0.1:9",
        "GATEWAY_LISTEN": "127.0.0.1:0",
        "GATEWAY_ADMIN_LISTEN": "127.0.0.1:0",
        "GATEWAY_TIMEOUT_DRAIN_DELAY_SECONDS": "0",
    }


@pytest.fixture
def served(environment: dict[str, str], tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "serve", "--migrate"],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()


def events(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    assert process.stdout is not None
    for line in process.stdout:
        yield json.loads(line)


def test_serve_migrates_listens_and_leaves_on_sigterm_with_zero(served: subprocess.Popen[str]) -> None:
    for event in events(served):
        if event["event"] == "listening":
            break
    host, port = event["admin"]
    with urllib.request.urlopen(f"http://{host}:{port}/readyz", timeout=10) as answer:
        assert answer.status == 200
    served.send_signal(signal.SIGTERM)
    assert [event["event"] for event in events(served)][-1] == "stopped"
    assert served.wait(10) == 0


def serve_on_a_taken_address(
    setting: str, environment: dict[str, str], folder: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run ``serve`` with an address in `setting` that is in use; it has to end, and to say so in one line."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = subprocess.run(
            [sys.executable, "-m", "gateway", "serve", *arguments],
            env=environment | {setting: address},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=STARTING,
            check=False,
        )
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"Error: {setting}={address}: ")
    return result


def test_serve_says_which_setting_names_an_address_that_is_taken(
    environment: dict[str, str], tmp_path: Path
) -> None:
    serve_on_a_taken_address("GATEWAY_LISTEN", environment, tmp_path)


@pytest.mark.parametrize("setting", ["GATEWAY_LISTEN", "GATEWAY_ADMIN_LISTEN", "GATEWAY_TLS_REDIRECT_LISTEN"])
def test_workers_do_not_start_while_any_address_is_taken(
    setting: str, environment: dict[str, str], tmp_path: Path
) -> None:
    pair = Authority(tmp_path).issue("gateway.example")
    tls = {"GATEWAY_TLS_CERT_FILE": str(pair.certificate), "GATEWAY_TLS_KEY_FILE": str(pair.key)}
    result = serve_on_a_taken_address(setting, environment | tls, tmp_path, "--workers", "2")
    assert "worker_died" not in result.stdout


def test_serve_does_not_start_on_a_short_secret(environment: dict[str, str], tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "gateway", "serve"],
        env=environment | {"GATEWAY_JWT_SECRET": "short"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=STARTING,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr.startswith("Error: GATEWAY_JWT_SECRET: only 5 bytes long")
    assert result.stdout == ""
