"""The chart, by a real helm: linted, rendered in both modes, validated, scanned; and it agrees with the gateway."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from config.load import load_settings
from gateway.commands.health import health
from gateway.status.readiness import ANSWER_SECONDS
from gateway.workers import READY_SECONDS
from tests.chart.rendering import CHART, EVERYTHING, EXAMPLE, LEAST, WAYS, WORKLOAD, helm, rendered, the
from tests.support.programs import TOOLS, program

if TYPE_CHECKING:
    from pathlib import Path

KUBERNETES = "1.34"
NOT_KUBERNETES_OWN = {"PodMonitor", "ServiceMonitor", "PrometheusRule", "HTTPRoute"}
"""Kinds of operators: no schema of Kubernetes' own has them."""


def test_probes_wait_longer_than_readiness_takes_to_answer() -> None:
    probe = yaml.safe_load((CHART / "values.yaml").read_text())["probes"]["readiness"]
    (of_health,) = [float(str(one.default)) for one in health.params if one.name == "timeout_seconds"]
    (of_helm_test,) = re.findall(
        r"^SECONDS = (\d+)$", (CHART / "tests" / "ready.py").read_text(), re.MULTILINE
    )
    for patience in (probe["timeoutSeconds"], of_health, int(of_helm_test)):
        assert ANSWER_SECONDS < READY_SECONDS < patience


@pytest.mark.parametrize("way", WAYS)
def test_the_chart_is_linted_strictly(way: str, tmp_path: Path) -> None:
    done = helm("lint", "--strict", str(CHART), values=WAYS[way], folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("way", WAYS)
def test_what_it_renders_is_what_kubernetes_takes(way: str, tmp_path: Path) -> None:
    documents = rendered(WAYS[way], tmp_path)
    names = [
        (one["kind"], one["metadata"]["name"])
        for one in documents
        if "helm.sh/hook" not in str(one["metadata"])
    ]
    assert len(names) == len(set(names)), "two of one name"
    own = [one for one in documents if one["kind"] not in NOT_KUBERNETES_OWN]
    (tmp_path / "own.yaml").write_text(yaml.safe_dump_all(own))
    done = subprocess.run(
        [
            program("kubernetes-validate"),
            "--strict",
            "--kubernetes-version",
            KUBERNETES,
            str(tmp_path / "own.yaml"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_validator_can_fail(tmp_path: Path) -> None:
    service = the("Service", rendered(LEAST, tmp_path), "-gateway")
    service["spec"]["prots"] = service["spec"].pop("ports")
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(service))
    done = subprocess.run(
        [
            program("kubernetes-validate"),
            "--strict",
            "--kubernetes-version",
            KUBERNETES,
            str(tmp_path / "bad.yaml"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0


def scan(chart: Path, values: dict[str, Any], folder: Path) -> dict[str, Any]:
    (folder / "scan.yaml").write_text(yaml.safe_dump(values))
    done = subprocess.run(
        [
            *(
                program("checkov"),
                "--directory",
                str(chart),
                "--framework",
                "helm",
                "--output",
                "json",
                "--quiet",
            ),
            *("--var-file", str(folder / "scan.yaml"), "--config-file", str(CHART.parent / "checkov.yaml")),
        ],
        # Without helm it would find nothing, and pass.
        env={
            "PATH": f"{TOOLS}:{os.environ['PATH']}",
            "HOME": str(folder),
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("way", ["gateway", "sidecar-everything"])
def test_a_scanner_finds_nothing(way: str, tmp_path: Path) -> None:
    program("helm")
    found = scan(CHART, WAYS[way], tmp_path)
    failed = [
        (one["check_id"], one["check_name"], one["resource"]) for one in found["results"]["failed_checks"]
    ]
    assert failed == []
    assert found["summary"]["passed"] > 40


def test_the_scanner_can_fail(tmp_path: Path) -> None:
    program("helm")
    values = {**LEAST, "securityContext": {"allowPrivilegeEscalation": True, "readOnlyRootFilesystem": False}}
    assert scan(CHART, values, tmp_path)["summary"]["failed"] > 0


@pytest.mark.parametrize("way", ["gateway", "gateway-everything"])
def test_the_gateway_accepts_the_settings_it_is_given(way: str, tmp_path: Path) -> None:
    documents = rendered(WAYS[way], tmp_path)
    settings = dict(the("ConfigMap", documents, "whatomate-gateway")["data"])
    secrets, routes, keys = tmp_path / "secrets", tmp_path / "routes.yaml", tmp_path / "keys"
    secrets.mkdir()
    keys.mkdir()
    for name, value in EVERYTHING["secrets"]["create"].items():
        (secrets / name).write_text(value)
    settings["GATEWAY_SECRETS_DIR"] = str(secrets)
    if "GATEWAY_ROUTES" in settings:
        routes.write_text(the("ConfigMap", documents, "routes")["data"]["routes.yaml"])
        settings["GATEWAY_ROUTES"] = str(routes)
    if "GATEWAY_JWT_KEYS_DIR" in settings:
        settings["GATEWAY_JWT_KEYS_DIR"] = str(keys)
    if "GATEWAY_ADMIN_TOKEN_FILE" in settings:
        (tmp_path / "token").write_text("0123456789-0123456789")
        settings["GATEWAY_ADMIN_TOKEN_FILE"] = str(tmp_path / "token")
    found = load_settings(environment=settings, env_file=tmp_path / "none")
    assert found.admin.listen == (":8081" if way == "gateway-everything" else "0.0.0.0:8081")
    if way == "gateway-everything":
        assert found.limit.body_bytes == 1_073_741_824
        assert [str(one) for one in found.trusted_proxies] == ["10.0.0.0/8", "fd00::/8"]
        assert found.database.triggers is False


@pytest.mark.parametrize("way", ["gateway", "gateway-everything", "nothing-beside"])
def test_the_time_a_pod_has_to_end_covers_its_drain(way: str, tmp_path: Path) -> None:
    documents = rendered(WAYS[way], tmp_path)
    pod = the("Deployment", documents)["spec"]["template"]["spec"]
    container = pod["containers"][0]
    before = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    told = the("ConfigMap", documents, "whatomate-gateway")["data"]
    delay = float(told["GATEWAY_TIMEOUT_DRAIN_DELAY_SECONDS"])
    assert (
        before + delay + float(told["GATEWAY_TIMEOUT_DRAIN_SECONDS"]) + 5
        <= pod["terminationGracePeriodSeconds"]
    )


def test_defaults_of_the_chart_are_the_gateways_where_a_setting_is_left_out(tmp_path: Path) -> None:
    left_out = dict.fromkeys(("GATEWAY_TIMEOUT_DRAIN_DELAY_SECONDS", "GATEWAY_TIMEOUT_DRAIN_SECONDS"))
    documents = rendered({**LEAST, "config": {**LEAST["config"], **left_out}}, tmp_path)
    settings = load_settings(environment={}, env_file=tmp_path / "none", required=frozenset())
    pod = the("Deployment", documents)["spec"]["template"]["spec"]
    drain = settings.timeout.drain_delay_seconds + settings.timeout.drain_seconds
    assert pod["terminationGracePeriodSeconds"] == 5 + drain + 10
    assert not left_out.keys() & the("ConfigMap", documents, "whatomate-gateway")["data"].keys()


def test_probes_ask_the_admin_port_and_pods_are_restricted(tmp_path: Path) -> None:
    pod = the("Deployment", rendered(LEAST, tmp_path))["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    assert ports == {"http": 8080, "admin": 8081}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] == "admin"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["readinessProbe"]["failureThreshold"] == 3, "one late answer must take no pod out"
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez", "a database away must not restart pods"
    for context in (container["securityContext"], pod["securityContext"]):
        assert context["runAsNonRoot"] is True
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pod["automountServiceAccountToken"] is False


def test_the_path_of_readiness_is_set_and_its_place_is_not(tmp_path: Path) -> None:
    values = {**LEAST, "probes": {"readiness": {"path": "/livez", "failureThreshold": 5}}}
    (container,) = the("Deployment", rendered(values, tmp_path))["spec"]["template"]["spec"]["containers"]
    probe = container["readinessProbe"]
    assert probe["httpGet"] == {"path": "/livez", "port": "admin"}
    assert (probe["failureThreshold"], "path" in probe) == (5, False)
    with pytest.raises(AssertionError, match="httpGet"):
        rendered({**LEAST, "probes": {"readiness": {"httpGet": {"path": "/livez"}}}}, tmp_path)


def test_a_changed_setting_replaces_pods_and_a_changed_route_does_not(tmp_path: Path) -> None:
    def checksum(**values: Any) -> str:
        deployment = the("Deployment", rendered({**EVERYTHING, **values}, tmp_path))
        found = deployment["spec"]["template"]["metadata"]["annotations"]["checksum/gateway"]
        assert isinstance(found, str)
        return found

    before = checksum()
    assert checksum() == before
    assert checksum(config={**EVERYTHING["config"], "GATEWAY_LOG_LEVEL": "debug"}) != before
    assert checksum(routes={"upstreams": {"files": {"url": "http://others:7070"}}}) == before


def egress_ports(policy: dict[str, Any]) -> set[int]:
    return {one["port"] for rule in policy["egress"] for one in rule.get("ports", ())}


def test_the_network_policy_lets_out_to_every_upstream_that_is_named(tmp_path: Path) -> None:
    policy = the("NetworkPolicy", rendered(EVERYTHING, tmp_path))["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert egress_ports(policy) == {53, 443, 4318, 5432, 7070, 9000}
    by_port = {rule["ports"][0]["port"]: rule for rule in policy["ingress"]}
    assert by_port[8081]["from"][:-1] == EVERYTHING["networkPolicy"]["adminFrom"]


def test_the_migration_runs_before_the_pods_and_needs_nothing_that_comes_after_it(tmp_path: Path) -> None:
    documents = rendered(EVERYTHING, tmp_path)
    job = the("Job", documents)
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    pod = job["spec"]["template"]["spec"]
    assert pod["containers"][0]["args"] == ["migrate"]
    secret = the("Secret", documents, "migrate")
    assert secret["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert int(secret["metadata"]["annotations"]["helm.sh/hook-weight"]) < int(
        job["metadata"]["annotations"]["helm.sh/hook-weight"]
    )
    assert pod["volumes"][0]["secret"]["secretName"] == secret["metadata"]["name"]
    account = the("ServiceAccount", documents, "-migrate")
    assert pod["serviceAccountName"] == account["metadata"]["name"]
    assert (
        account["metadata"]["annotations"].items() >= {"role": "owner", "helm.sh/hook-weight": "-10"}.items()
    )
    assert account["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert "serviceAccountName" not in the("Job", rendered(LEAST, tmp_path))["spec"]["template"]["spec"]
    assert {"name": "GATEWAY_DATABASE_TRIGGERS", "value": "false"} in pod["containers"][0]["env"]


FROM_SECRET = {"secretKeyRef": {"name": "db", "key": "password"}}
PASSWORD = {"name": "GATEWAY_DATABASE_PASSWORD", "valueFrom": FROM_SECRET}


def job_env(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The variables of the Job: each with its value, or where that is from; none is there twice."""
    (container,) = the("Job", rendered(values, folder))["spec"]["template"]["spec"]["containers"]
    env = {one["name"]: one.get("value", one.get("valueFrom")) for one in container["env"]}
    assert len(env) == len(container["env"])
    return env


def test_the_migration_has_the_configuration_of_the_gateway(tmp_path: Path) -> None:
    values = {
        **LEAST,
        "secrets": {"existing": "gateway"},
        "config": {
            **LEAST["config"],
            "GATEWAY_AUDIT_TABLE": False,
            "GATEWAY_FOREIGN_NAMES": "GATEWAY_API",
            "GATEWAY_RESOLVER_SERVERS": "10.0.0.2",
            "GATEWAY_DATABASE_STATEMENT_CACHE": "off",
        },
        "extraEnv": [
            PASSWORD,
            {"name": "GATEWAY_DATABASE_URL_FILE", "value": "/mounted/by/the/gateway/alone"},
            {"name": "OTEL_EXPORTER_OTLP_HEADERS", "value": "a=b"},
        ],
    }
    assert job_env(values, tmp_path) == {
        "GATEWAY_SECRETS_DIR": "/run/secrets/gateway",
        "GATEWAY_AUDIT_TABLE": "false",
        "GATEWAY_DATABASE_STATEMENT_CACHE": "off",
        "GATEWAY_FOREIGN_NAMES": "GATEWAY_API",
        "GATEWAY_RESOLVER_SERVERS": "10.0.0.2",
        "GATEWAY_DATABASE_PASSWORD": FROM_SECRET,
    }


@pytest.mark.parametrize(
    "migrations",
    [
        {"secrets": {"existing": "owner"}},
        {"secrets": {"create": {"GATEWAY_MIGRATE_DATABASE_URL": "postgresql://owner:x@db/w"}}},
        {"extraEnv": [{"name": "GATEWAY_DATABASE_PASSWORD_FILE", "value": "/own"}]},
    ],
    ids=["Secret of theirs", "Secret that it makes", "variable of its own"],
)
def test_the_migration_takes_no_password_of_the_gateways_beside_its_own(
    migrations: dict[str, Any], tmp_path: Path
) -> None:
    env = job_env({**LEAST, "extraEnv": [PASSWORD], "migrations": migrations}, tmp_path)
    assert "GATEWAY_DATABASE_PASSWORD" not in env
    assert ("GATEWAY_DATABASE_PASSWORD_FILE" in env) == ("extraEnv" in migrations)


OWNER = "postgresql://owner:x@db/w"


@pytest.mark.parametrize("existing", [True, False], ids=["a Secret of theirs", "a Secret that it makes"])
def test_the_owners_secret_is_the_jobs_alone(existing: bool, tmp_path: Path) -> None:
    secrets = {"existing": "owner"} if existing else {"create": {"GATEWAY_MIGRATE_DATABASE_URL": OWNER}}
    migrations = {
        "secrets": secrets,
        "grantTo": "gateway",
        "extraVolumes": [{"name": "ca", "configMap": {"name": "db-ca"}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/db-ca"}],
    }
    documents = rendered({**EVERYTHING, "migrations": migrations}, tmp_path)
    pod = the("Job", documents)["spec"]["template"]["spec"]
    assert pod["containers"][0]["args"] == ["migrate", "--grant-to=gateway"]
    assert {"name": "ca", "mountPath": "/etc/db-ca"} in pod["containers"][0]["volumeMounts"]
    assert {"name": "ca", "configMap": {"name": "db-ca"}} in pod["volumes"]
    name = pod["volumes"][0]["secret"]["secretName"]
    if existing:
        assert name == "owner"
    else:
        made = [one for one in documents if one["kind"] == "Secret" and one["metadata"]["name"] == name]
        assert [one["stringData"] for one in made] == [{"GATEWAY_MIGRATE_DATABASE_URL": OWNER}]
    serving = the("Deployment", documents)["spec"]["template"]["spec"]
    assert name not in str(serving)
    assert "MIGRATE" not in str([one for one in documents if one["metadata"]["name"] != name])


def test_a_password_that_the_chart_is_given_goes_to_the_job_as_well(tmp_path: Path) -> None:
    create = {**EVERYTHING["secrets"]["create"], "GATEWAY_DATABASE_PASSWORD": "p"}
    secret = the("Secret", rendered({**EVERYTHING, "secrets": {"create": create}}, tmp_path), "migrate")
    assert secret["stringData"] == {
        "GATEWAY_DATABASE_URL": "postgresql://a:b@db/w",
        "GATEWAY_DATABASE_PASSWORD": "p",
    }


def test_in_a_sidecar_there_is_no_workload_but_everything_beside_it(tmp_path: Path) -> None:
    kinds = {one["kind"] for one in rendered(WAYS["sidecar-everything"], tmp_path)}
    assert kinds == {
        "ConfigMap",
        "Secret",
        "ServiceAccount",
        "Job",
        "NetworkPolicy",
        "PodMonitor",
        "PrometheusRule",
    }


def test_in_a_sidecar_the_pod_is_reached_through_the_gateway_alone(tmp_path: Path) -> None:
    policy = the("NetworkPolicy", rendered(WAYS["sidecar-everything"], tmp_path))["spec"]
    assert policy["podSelector"]["matchLabels"] == {"whatomate-gateway/sidecar": "release"}
    assert policy["policyTypes"] == ["Ingress"], "what a backend has to reach is not known here"
    assert "egress" not in policy
    by_port = {rule["ports"][0]["port"]: rule["from"] for rule in policy["ingress"]}
    given = EVERYTHING["networkPolicy"]
    assert by_port == {9090: given["from"], 8081: given["adminFrom"]}
    more = {"ports": [{"port": 7000, "protocol": "TCP"}]}
    values = {**WAYS["sidecar"], "networkPolicy": {"extraIngress": [more]}}
    policy = the("NetworkPolicy", rendered(values, tmp_path))["spec"]
    assert more in policy["ingress"]
    assert {"podSelector": {}} in policy["ingress"][1]["from"]
    values = {**WAYS["sidecar"], "networkPolicy": {"enabled": False}}
    assert "NetworkPolicy" not in {one["kind"] for one in rendered(values, tmp_path)}


@pytest.mark.parametrize("way", ["gateway-everything", "sidecar-everything"])
def test_scrapes_send_the_admin_token_that_the_gateway_reads(way: str, tmp_path: Path) -> None:
    documents = rendered(WAYS[way], tmp_path)
    data = the("ConfigMap", documents, "whatomate-gateway")["data"]
    assert data["GATEWAY_ADMIN_TOKEN_FILE"] == "/run/secrets/admin/token"
    asked = the("PodMonitor", documents)["spec"]["podMetricsEndpoints"]
    if way == "gateway-everything":
        asked += the("ServiceMonitor", documents)["spec"]["endpoints"]
        pod = the("Deployment", documents)["spec"]["template"]["spec"]
        mounted = {one["name"]: one["mountPath"] for one in pod["containers"][0]["volumeMounts"]}
        assert mounted["gateway-admin"] == "/run/secrets/admin"
        (volume,) = (one for one in pod["volumes"] if one["name"] == "gateway-admin")
        assert volume["secret"]["secretName"] == "admin"
        assert volume["secret"]["items"] == [{"key": "bearer", "path": "token"}]
    for endpoint in asked:
        assert endpoint["authorization"] == {
            "type": "Bearer",
            "credentials": {"name": "admin", "key": "bearer"},
        }


@pytest.mark.parametrize("way", ["gateway-everything", "sidecar-everything"])
def test_scrapes_ask_by_tls_where_the_admin_listener_speaks_it(way: str, tmp_path: Path) -> None:
    tls = {"ca": {"secret": {"name": "admin-tls", "key": "ca.crt"}}, "serverName": "gateway-admin"}
    secured = {
        **WAYS[way],
        "config": {
            **WAYS[way]["config"],
            "GATEWAY_ADMIN_TLS_CERT_FILE": "/tls/tls.crt",
            "GATEWAY_ADMIN_TLS_KEY_FILE": "/tls/tls.key",
        },
        "monitoring": {**WAYS[way]["monitoring"], "tls": tls},
    }
    for values, scheme, config in ((WAYS[way], None, None), (secured, "https", tls)):
        documents = rendered(values, tmp_path)
        asked = the("PodMonitor", documents)["spec"]["podMetricsEndpoints"]
        if way == "gateway-everything":
            asked += the("ServiceMonitor", documents)["spec"]["endpoints"]
        for endpoint in asked:
            assert (endpoint.get("scheme"), endpoint.get("tlsConfig")) == (scheme, config)
            assert endpoint["authorization"]["type"] == "Bearer"


def test_each_alert_leads_to_the_runbook_where_a_value_says_it_is(tmp_path: Path) -> None:
    for base in ("", "https://docs.example.com/gateway/runbook/"):
        rule = {"enabled": True, "runbookUrl": base}
        values = {**EVERYTHING, "monitoring": {**EVERYTHING["monitoring"], "prometheusRule": rule}}
        (group,) = the("PrometheusRule", rendered(values, tmp_path))["spec"]["groups"]
        assert len(group["rules"]) > 30
        for one in group["rules"]:
            url = one["annotations"]["runbook_url"]
            assert url == f"{base or 'docs/runbook.md'}#{one['alert'].lower()}"


def test_a_token_among_the_secrets_of_the_chart_is_sent_too(tmp_path: Path) -> None:
    create = {**EVERYTHING["secrets"]["create"], "GATEWAY_ADMIN_TOKEN": "0123456789-0123456789"}
    values = {**WORKLOAD, "adminToken": {"existing": ""}, "secrets": {"create": create}}
    documents = rendered(values, tmp_path)
    (endpoint,) = the("ServiceMonitor", documents)["spec"]["endpoints"]
    secret = the("Secret", documents, "whatomate-gateway")
    named = endpoint["authorization"]["credentials"]
    assert (named["name"], named["key"] in secret["stringData"]) == (secret["metadata"]["name"], True)
    (endpoint,) = the("ServiceMonitor", rendered({**WORKLOAD, "adminToken": {"existing": ""}}, tmp_path))[
        "spec"
    ]["endpoints"]
    assert "authorization" not in endpoint


def test_a_secret_with_a_certificate_makes_the_public_port_speak_tls(tmp_path: Path) -> None:
    values = {
        **EVERYTHING,
        "tls": {"existing": "gateway-tls", "clientAuthorities": "clients"},
        "config": {**EVERYTHING["config"], "GATEWAY_TLS_CLIENT_AUTH": "required"},
    }
    documents = rendered(values, tmp_path)
    settings = the("ConfigMap", documents, "whatomate-gateway")["data"]
    pod = the("Deployment", documents)["spec"]["template"]["spec"]
    mounted = {one["name"]: one["mountPath"] for one in pod["containers"][0]["volumeMounts"]}
    secrets = {one["name"]: one["secret"]["secretName"] for one in pod["volumes"] if "secret" in one}
    for name, secret, files in (
        ("gateway-tls", "gateway-tls", {"CERT_FILE": "tls.crt", "KEY_FILE": "tls.key"}),
        ("gateway-client-authorities", "clients", {"CLIENT_CA_FILE": "ca.crt"}),
    ):
        assert secrets[name] == secret
        for setting, file in files.items():
            assert settings[f"GATEWAY_TLS_{setting}"] == f"{mounted[name]}/{file}"
    assert the("Service", documents, "whatomate-gateway")["spec"]["ports"][0]["appProtocol"] == "https"


def test_the_example_puts_a_native_sidecar_into_a_backends_pod(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "examples" / "backend")
    shutil.copytree(CHART, tmp_path / "whatomate-gateway")
    chart = tmp_path / "examples" / "backend"
    built = helm("dependency", "build", "--skip-refresh", str(chart), folder=tmp_path)
    built = built if built.returncode == 0 else helm("dependency", "update", str(chart), folder=tmp_path)
    assert built.returncode == 0, built.stderr
    documents = rendered({}, tmp_path, chart)
    pod = the("Deployment", documents)["spec"]["template"]["spec"]
    (gateway,) = pod["initContainers"]
    assert gateway["restartPolicy"] == "Always"
    mounted = {one["name"] for one in gateway["volumeMounts"]}
    assert mounted <= {one["name"] for one in pod["volumes"]}
    data = the("ConfigMap", documents, "whatomate-gateway")["data"]
    assert (
        gateway["envFrom"][0]["configMapRef"]["name"]
        == the("ConfigMap", documents, "whatomate-gateway")["metadata"]["name"]
    )
    assert data["GATEWAY_UPSTREAM_URL"] == "http://127.0.0.1:3000"
    own = tmp_path / "own.yaml"
    own.write_text(yaml.safe_dump_all(documents))
    done = subprocess.run(
        [program("kubernetes-validate"), "--strict", "--kubernetes-version", KUBERNETES, str(own)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"config": {}}, "config.GATEWAY_UPSTREAM_URL is required: http://host:port"),
        (
            {"config": {"GATEWAY_UPSTREAM_URL": "http://a", "GATEWAY_LOG_LEVEL": "loud"}},
            "must be one of 'debug'",
        ),
        ({"config": {"GATEWAY_UPSTREAM_URL": "http://a", "GATEWAY_DATABSE_POOL_MAX": 3}}, "DATABSE_POOL_MAX"),
        (
            {"config": {"GATEWAY_UPSTREAM_URL": "http://a", "GATEWAY_JWT_SECRET": "x" * 40}},
            "GATEWAY_JWT_SECRET",
        ),
        ({"config": {"GATEWAY_UPSTREAM_URL": "http://a", "GATEWAY_DATABASE_POOL_MAX": 0}}, "minimum"),
        ({"secrets": {}}, "GATEWAY_DATABASE_URL is required: name a Secret"),
        ({"ingress": {"enabled": True}}, "ingress.hosts is required"),
        ({"httpRoute": {"enabled": True}}, "httpRoute.parentRefs is required"),
        (
            {
                "config": {**LEAST["config"], "GATEWAY_ADMIN_TLS_CERT_FILE": "/tls/tls.crt"},
                "monitoring": {"podMonitor": {"enabled": True}},
            },
            "monitoring.tls is required where the admin listener speaks TLS",
        ),
        ({"mode": "both"}, "must be one of 'gateway', 'sidecar'"),
        ({"routes": {"upstreams": {"files": {"url": "ftp://files"}}}}, "/routes/upstreams/files/url"),
        ({"routes": {"upstreems": {}}}, "'upstreems' not allowed"),
    ],
)
def test_what_the_gateway_would_refuse_is_refused_at_the_install(
    change: dict[str, Any], said: str, tmp_path: Path
) -> None:
    done = helm("template", "r", str(CHART), values={**LEAST, **change}, folder=tmp_path)
    assert done.returncode != 0
    assert said in done.stderr
