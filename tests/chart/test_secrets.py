"""Secrets in the chart: each secret setting goes into a Secret, into files, and into nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from config.describing import described
from tests.chart.rendering import CHART, LEAST, WAYS, helm, over, parsed, rendered, the, whole

if TYPE_CHECKING:
    from pathlib import Path

SECRETS = sorted(one.name for one in described() if one.is_secret)
VALIDATOR = jsonschema.Draft202012Validator(
    json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
)
NEEDED = {"GATEWAY_DATABASE_URL": "postgresql://a:b@db/w", "GATEWAY_JWT_SECRET": "x" * 32}


def planted(name: str) -> str:
    return f"planted-{name.lower().replace('_', '-')}-0123456789-0123456789"


def test_no_secret_setting_is_taken_in_config() -> None:
    assert len(SECRETS) > 8
    for name in SECRETS:
        values = whole(LEAST)
        assert VALIDATOR.is_valid(values)
        assert not VALIDATOR.is_valid(over(values, {"config": {name: "x" * 40}})), name
        assert VALIDATOR.is_valid(over(values, {"secrets": {"create": {name: "x" * 40}}})), name


@pytest.mark.parametrize("mode", ["gateway", "sidecar"])
def test_every_secret_that_the_chart_is_given_stands_in_a_secret_alone(mode: str, tmp_path: Path) -> None:
    create = {name: planted(name) for name in SECRETS}
    owner = "planted-owner-0123456789-0123456789"
    values = {
        "mode": mode,
        "secrets": {"existing": "", "create": create},
        "migrations": {"secrets": {"create": {"GATEWAY_MIGRATE_DATABASE_URL": owner}}},
        "monitoring": {"podMonitor": {"enabled": True}, "dashboard": {"enabled": True}},
    }
    done = helm("template", "release", str(CHART), values=over(LEAST, values), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    documents = parsed(done.stdout)
    others = json.dumps([one for one in documents if one["kind"] != "Secret"])
    assert "planted" not in others
    held = the("Secret", documents, "-gateway")["stringData"]
    assert held == create
    assert the("Secret", documents, "-migrate")["stringData"] == {"GATEWAY_MIGRATE_DATABASE_URL": owner}
    notes = helm("install", "r", str(CHART), "--dry-run=client", values=over(LEAST, values), folder=tmp_path)
    assert "planted" not in notes.stdout.partition("\nNOTES:\n")[2]


def test_a_secret_that_is_empty_is_left_out(tmp_path: Path) -> None:
    """The gateway refuses the empty file that it would be."""
    create = {name: planted(name) for name in ("GATEWAY_DATABASE_URL", "GATEWAY_JWT_SECRET")}
    values = {
        "secrets": {
            "existing": "",
            "create": {**create, "GATEWAY_ADMIN_TOKEN": "", "GATEWAY_DATABASE_PASSWORD": ""},
        },
        "monitoring": {"podMonitor": {"enabled": True}},
    }
    done = helm("template", "release", str(CHART), values=over(LEAST, values), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    documents = parsed(done.stdout)
    assert the("Secret", documents, "-gateway")["stringData"] == create
    assert "authorization" not in json.dumps(the("PodMonitor", documents))
    assert the("Secret", documents, "-migrate")["stringData"].keys() == {"GATEWAY_DATABASE_URL"}


def test_a_changed_secret_of_the_chart_replaces_the_pods(tmp_path: Path) -> None:
    def checksum(secret: str) -> Any:
        values = {"secrets": {"existing": "", "create": {**NEEDED, "GATEWAY_JWT_SECRET": secret}}}
        template = the("Deployment", rendered(over(LEAST, values), tmp_path))["spec"]["template"]
        return template["metadata"]["annotations"]["checksum/gateway"]

    assert checksum("x" * 32) != checksum("y" * 32)


def test_a_secret_of_another_operator_is_read_key_by_key(tmp_path: Path) -> None:
    def of(name: str, key: str) -> dict[str, Any]:
        return {"name": name, "valueFrom": {"secretKeyRef": {"name": "whatomate-app", "key": key}}}

    env = [of("GATEWAY_DATABASE_URL", "uri"), of("GATEWAY_JWT_SECRET", "jwt")]
    values = {"secrets": {"existing": ""}, "extraEnv": env, "migrations": {"extraEnv": env[:1]}}
    documents = rendered(over(LEAST, values), tmp_path)
    pod = the("Deployment", documents)["spec"]["template"]["spec"]
    assert pod["containers"][0]["env"] == env
    assert [one["name"] for one in pod["volumes"]] == ["gateway-tmp"]
    assert the("Job", documents)["spec"]["template"]["spec"]["containers"][0]["env"] == env[:1]
    kinds = [one["kind"] for one in documents]
    assert "Secret" not in kinds
    assert "GATEWAY_SECRETS_DIR" not in the("ConfigMap", documents)["data"]


def test_variables_of_others_do_not_win_over_what_the_chart_writes(tmp_path: Path) -> None:
    (container, *_) = the("Deployment", rendered(WAYS["gateway-everything"], tmp_path))["spec"]["template"][
        "spec"
    ]["containers"]
    assert [next(iter(one)) for one in container["envFrom"]] == ["secretRef", "configMapRef"]
