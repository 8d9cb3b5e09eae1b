"""The sidecar without Helm: files of the chart's own, which put the gateway before an existing Deployment."""

from __future__ import annotations

import shlex
import subprocess
from typing import TYPE_CHECKING, Any

import yaml

from config.load import load_settings
from tests.chart.rendering import ROOT, scripts, the
from tests.chart.validating import contradictions, refusals, versions
from tests.support.programs import program

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLE = ROOT / "helm/examples/kustomize"
GATEWAY = EXAMPLE / "gateway"
EXISTING = list(yaml.safe_load_all((EXAMPLE / "backend/deployment.yaml").read_text(encoding="utf-8")))


def kubectl(*arguments: str, given: str = "") -> list[dict[str, Any]]:
    done = subprocess.run(
        [program("kubectl"), *arguments],
        input=given,
        env={"HOME": "/nonexistent", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one is not None]


def patched(given: dict[str, Any], file: str = "sidecar.yaml") -> dict[str, Any]:
    """Return what the API server makes of a Deployment and the patch, by the same code in kubectl."""
    arguments = ("patch", "--local", "--filename=-", f"--patch-file={GATEWAY / file}", "--output=yaml")
    (found,) = kubectl(*arguments, given=yaml.safe_dump(given))
    return found


def test_the_files_are_what_the_chart_renders() -> None:
    program("helm")
    for name, text in scripts("make_manifests").manifests(program("helm")).items():
        assert (GATEWAY / name).read_text(encoding="utf-8") == text, (
            "the chart has changed: run `make manifests`"
        )


def test_kustomize_puts_the_gateway_before_an_existing_backend() -> None:
    documents = kubectl("kustomize", str(EXAMPLE / "with-gateway"))
    for version in versions():
        assert [found for one in documents for found in refusals(one, version)] == []
    assert list(contradictions(documents)) == []
    before, after = the("Deployment", EXISTING), the("Deployment", documents)
    assert after["spec"]["selector"] == before["spec"]["selector"], "a selector cannot be changed"
    pod = after["spec"]["template"]["spec"]
    (backend,) = pod["containers"]
    (gateway,) = pod["initContainers"]
    assert backend["image"] == before["spec"]["template"]["spec"]["containers"][0]["image"]
    assert backend["env"] == [{"name": "LISTEN", "value": "127.0.0.1:3000"}]
    assert (gateway["name"], gateway["restartPolicy"]) == ("gateway", "Always")
    settings = the("ConfigMap", documents)
    assert gateway["envFrom"] == [{"configMapRef": {"name": settings["metadata"]["name"]}}]
    assert settings["metadata"]["name"] != "gateway", "without a hash a changed setting would replace no pod"
    (port,) = the("Service", documents)["spec"]["ports"]
    opened = {one["containerPort"] for one in gateway["ports"]}
    assert port["targetPort"] in opened
    policy = the("NetworkPolicy", documents)["spec"]
    labels = after["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    let_in = {one["port"] for rule in policy["ingress"] for one in rule["ports"]}
    assert let_in == opened, "the backend's own port is not reached"


def test_the_patch_alone_does_the_same_and_twice_is_once() -> None:
    once = patched(the("Deployment", EXISTING))
    pod = once["spec"]["template"]["spec"]
    assert [one["name"] for one in pod["initContainers"]] == ["gateway"]
    assert [one["name"] for one in pod["containers"]] == ["backend"]
    for version in versions():
        assert refusals(once, version) == []
    assert patched(once) == once


def test_what_the_backend_has_already_stays() -> None:
    own: dict[str, Any] = yaml.safe_load(yaml.safe_dump(the("Deployment", EXISTING)))
    pod = own["spec"]["template"]["spec"]
    pod["initContainers"] = [{"name": "wait", "image": "wait:1"}]
    pod["volumes"] = [{"name": "own", "emptyDir": {}}]
    pod["containers"][0]["volumeMounts"] = [{"name": "own", "mountPath": "/own"}]
    after = patched(own)["spec"]["template"]["spec"]
    assert {one["name"] for one in after["initContainers"]} == {"wait", "gateway"}
    assert {"name": "own", "emptyDir": {}} in after["volumes"]
    assert after["containers"] == pod["containers"]


def test_the_gateway_accepts_the_settings_of_the_example(tmp_path: Path) -> None:
    lines = (GATEWAY / "settings.env").read_text(encoding="utf-8").splitlines()
    settings = dict(line.split("=", 1) for line in lines)
    (tmp_path / "GATEWAY_DATABASE_URL").write_text("postgresql://a:b@db/w")
    (tmp_path / "GATEWAY_JWT_SECRET").write_text("0123456789-0123456789-0123456789")
    settings["GATEWAY_SECRETS_DIR"] = str(tmp_path)
    found = load_settings(environment=settings, env_file=tmp_path / "none")
    assert found.upstream.url is not None


def test_the_migration_is_the_owners_and_runs_again_when_it_is_applied_again() -> None:
    documents = list(yaml.safe_load_all((GATEWAY / "beside.yaml").read_text(encoding="utf-8")))
    job = the("Job", documents)
    volumes = job["spec"]["template"]["spec"]["volumes"]
    assert volumes[0]["secret"]["secretName"] == "gateway-owner"
    assert job["spec"]["ttlSecondsAfterFinished"] > 0, "a Job that stays cannot be applied with another image"
    assert "helm" not in (GATEWAY / "beside.yaml").read_text(encoding="utf-8").lower()


def test_the_command_of_the_page_leads_the_service_to_the_gateway() -> None:
    page = (ROOT / "helm/whatomate-gateway/README.md").read_text(encoding="utf-8")
    (line,) = (line for line in page.splitlines() if line.startswith("$ kubectl patch service backend"))
    _, _, verb, kind, name, *options = shlex.split(line)
    assert (verb, kind, name) == ("patch", "service", "backend")
    given = yaml.safe_dump(the("Service", EXISTING))
    (after,) = kubectl("patch", "--local", "--filename=-", *options, "--output=yaml", given=given)
    assert [port["targetPort"] for port in after["spec"]["ports"]] == [8080]
