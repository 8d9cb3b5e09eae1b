"""The systemd unit: systemd takes it, it is closed, and its times agree with the gateway's own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from config.settings import Settings
from gateway.app import STOP_SECONDS
from tests.support.programs import program

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "release" / "whatomate-gateway.service"
MOST_EXPOSED = 1.5
"""On systemd's scale of 0 (closed) to 10; what is left is the network, which is the service's purpose."""


def values(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)


def analyzed(folder: Path, text: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Ask systemd about the unit, installed at a place that is there."""
    (folder / "gateway").write_text("#!/bin/sh\n")
    (folder / "gateway").chmod(0o755)
    unit = folder / UNIT.name
    unit.write_text(text.replace("/opt/whatomate-gateway/bin/whatomate-gateway", str(folder / "gateway")))
    return subprocess.run(
        [program("systemd-analyze"), *command, str(unit)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    good = analyzed(tmp_path, UNIT.read_text(), "verify")
    of_others = re.compile(
        r"^/(usr/)?lib/systemd/system/"
    )  # what it says of other units that this machine has
    told = [line for line in (good.stdout + good.stderr).splitlines() if not of_others.match(line)]
    assert (good.returncode, told) == (0, [])
    bad = analyzed(tmp_path, UNIT.read_text().replace("PrivateTmp", "PrivateTemp"), "verify")
    assert "PrivateTemp" in bad.stderr, "the checker must be able to fail"


def test_systemd_finds_it_closed(tmp_path: Path) -> None:
    review = ("security", "--offline=true", f"--threshold={MOST_EXPOSED * 10:.0f}", "--no-pager")
    closed = analyzed(tmp_path, UNIT.read_text(), *review)
    assert closed.returncode == 0, closed.stdout.splitlines()[-1]
    opened = analyzed(tmp_path, UNIT.read_text().replace("DynamicUser=yes", "User=root"), *review)
    assert opened.returncode != 0


def test_a_stopping_gateway_is_killed_no_earlier_than_the_gateways_own_times_are_over() -> None:
    timeout = Settings.model_fields["timeout"].get_default(call_default_factory=True)
    longest = timeout.drain_delay_seconds + timeout.drain_seconds + STOP_SECONDS
    (stop,) = values("TimeoutStopSec")
    assert float(stop) >= longest


def test_every_credential_bears_the_name_of_a_setting() -> None:
    documented = (ROOT / "docs" / "configuration.md").read_text()
    loaded = [value.partition(":") for value in values("LoadCredential")]
    assert {name for name, _, _ in loaded} == {"GATEWAY_DATABASE_URL", "GATEWAY_JWT_SECRET"}
    for name, _, path in loaded:
        assert f"`{name}`" in documented
        assert Path(path).name == name
    assert "GATEWAY_SECRETS_DIR=%d" in values("Environment")


@pytest.mark.parametrize("name", ["CapabilityBoundingSet", "AmbientCapabilities"])
def test_the_service_has_no_capability(name: str) -> None:
    assert values(name) == [""]


def test_roots_commands_read_the_services_settings_by_the_lines_of_the_page(tmp_path: Path) -> None:
    """The folder of settings is the test's, and the command its Python's; what is typed is the page's."""
    page = (ROOT / "docs" / "deploy.md").read_text()
    section = page.partition("## A machine with systemd")[2].partition("\n## ")[0]
    _, made, used = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    function = used.partition("\n}\n")[0] + "\n}\n"
    typed = f"set -e\n{made}{function}gateway check-config\n"
    for old, new in (
        ("/etc/whatomate-gateway", str(tmp_path)),
        ("/opt/whatomate-gateway/bin/whatomate-gateway", f"{sys.executable} -m gateway"),
        ("'…'", f"'{'s' * 32}'"),
    ):
        assert old in typed
        typed = typed.replace(old, new)
    (tmp_path / "secrets").mkdir()
    done = subprocess.run(
        ["bash"],
        input=typed,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "GATEWAY_UPSTREAM_URL=http://127.0.0.1:3000" in done.stdout
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "secrets").iterdir()} == {0o600}
    assert (tmp_path / "environment").stat().st_mode & 0o777 == 0o600
