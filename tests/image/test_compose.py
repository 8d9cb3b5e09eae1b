"""compose.yaml, as far as it can be held without an engine: its form, its settings, its files."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.load import load_settings
from tests.support.programs import program

ROOT = Path(__file__).parents[2]
SECRETS = {"GATEWAY_JWT_SECRET": "0123456789-0123456789-0123456789", "POSTGRES_PASSWORD": "abc"}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """The services with everything filled in."""
    found = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert isinstance(found, dict)
    return found


def composed(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    (folder / "env").touch()  # not the developer's own .env
    files = ("--file", str(ROOT / "compose.yaml"), "--env-file", str(folder / "env"))
    return subprocess.run(
        [program("docker-compose"), *files, "config"],
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_compose_file_asks_for_its_secrets(tmp_path: Path) -> None:
    done = composed(tmp_path, **SECRETS)
    assert done.returncode == 0, done.stderr
    assert set(yaml.safe_load(done.stdout)["services"]) == {
        *("gateway", "migrate", "upstream", "postgres", "prometheus", "grafana")
    }
    without = composed(tmp_path)
    assert without.returncode != 0
    assert "compose.yaml says how" in without.stderr


def test_the_gateway_accepts_its_settings_and_has_time_to_drain(
    services: dict[str, Any], tmp_path: Path
) -> None:
    written = services["gateway"]["environment"]
    filled = {
        name: re.sub(r"\$\{(\w+):[^}]*\}", lambda found: SECRETS[found[1]], value)
        for name, value in written.items()
    }
    settings = load_settings(environment=filled, env_file=tmp_path / "none")
    drain = settings.timeout.drain_delay_seconds + settings.timeout.drain_seconds
    assert int(services["gateway"]["stop_grace_period"].removesuffix("s")) >= drain + 5


def test_every_file_it_mounts_is_there(services: dict[str, Any]) -> None:
    mounted = [one.partition(":")[0] for name in services for one in services[name].get("volumes", ())]
    ours = [one for one in mounted if one.startswith("./")]
    assert len(ours) == 5
    for one in ours:
        assert (ROOT / one).exists(), one


def test_nothing_but_the_machine_itself_is_let_in(services: dict[str, Any]) -> None:
    for service in services.values():
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:")
        assert "privileged" not in service
    assert services["gateway"]["read_only"] is True


def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    text = (ROOT / "compose" / "prometheus.yml").read_text()
    rules = ROOT / "helm" / "whatomate-gateway" / "rules"
    (tmp_path / "prometheus.yml").write_text(text.replace("rules/*.yaml", f"{rules}/*.yaml"))
    done = subprocess.run(
        [program("promtool"), "check", "config", str(tmp_path / "prometheus.yml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 rule files found" in done.stdout


DIGEST = f"sha256:{'0123456789abcdef' * 4}"
"""A digest in form, and of nothing."""


def test_every_image_of_others_can_be_named_by_its_digest(services: dict[str, Any], tmp_path: Path) -> None:
    others = {
        name: services[name]["image"] for name in services if "whatomate" not in services[name]["image"]
    }
    assert set(others) == {"postgres", "prometheus", "grafana"}
    variables = {f"{name.upper()}_IMAGE": f"{name}@{DIGEST}" for name in others}
    by_tag = composed(tmp_path, **SECRETS)
    pinned = composed(tmp_path, **SECRETS, **variables, BASE_DIGEST=DIGEST)
    assert (by_tag.returncode, pinned.returncode) == (0, 0), by_tag.stderr + pinned.stderr
    tags, digests = (yaml.safe_load(done.stdout)["services"] for done in (by_tag, pinned))
    assert tags["gateway"]["build"]["args"]["DIGEST"] == ""
    assert digests["gateway"]["build"]["args"]["DIGEST"] == DIGEST
    for name in others:
        image = tags[name]["image"]
        assert re.fullmatch(r"[a-z/]+:v?[0-9][0-9.]*", image), "a version, and not a tag that always moves"
        assert digests[name]["image"] == f"{name}@{DIGEST}"


def test_every_base_of_the_dockerfile_can_be_named_by_its_digest() -> None:
    text = (ROOT / "Dockerfile").read_text()
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert bases == ["${BASE}${DIGEST:+@${DIGEST}}", "scratch"]
    assert re.search(r"^ARG DIGEST=(sha256:[0-9a-f]{64})?$", text, re.MULTILINE)
    copied = re.findall(r"^COPY --from=(\S+)", text, re.MULTILINE)
    assert set(copied) <= {"build"}, "an image that is only copied from is a base too"
