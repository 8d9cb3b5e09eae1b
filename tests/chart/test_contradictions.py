"""Values that contradict each other: each is refused at the install, with what to do; and what NOTES say is true."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.chart.rendering import CHART, LEAST, WAYS, helm, over, rendered, the

if TYPE_CHECKING:
    from pathlib import Path

UPSTREAM = LEAST["config"]
ENV = {"name": "GATEWAY_DATABASE_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"secrets": {"create": {"GATEWAY_JWT_SECRET": "x" * 32}}}, "exclude each other"),
        (
            {"tls": {"existing": "a"}, "config": {"GATEWAY_TLS_CERT_FILE": "/a"}},
            "tls.existing and config.GATEWAY_TLS",
        ),
        (
            {"adminTls": {"existing": "a"}, "config": {"GATEWAY_ADMIN_TLS_KEY_FILE": "/a"}},
            "adminTls.existing and config.GATEWAY_ADMIN_TLS_KEY_FILE exclude",
        ),
        ({"extraEnv": [{"name": "GATEWAY_LOG_LEVEL", "value": "debug"}]}, "a setting belongs into config"),
        ({"extraEnv": [{"name": "GATEWAY_JWT_SECRET", "value": "x" * 32}]}, "a secret into a Secret"),
        (
            {"migrations": {"extraEnv": [{"name": "GATEWAY_DATABASE_URL", "value": "x"}]}},
            "migrations.extraEnv sets",
        ),
        ({"extraEnv": [{**ENV, "name": "GATEWAY_LISTEN"}]}, "which the chart has to know"),
        ({"config": {"GATEWAY_LISTEN": "unix:/run/x.sock"}}, "no address that a Service reaches"),
        (
            {"config": {"GATEWAY_LISTEN": ["127.0.0.1:8080", "[::1]:8080"]}},
            "no address that a Service reaches",
        ),
        ({"config": {"GATEWAY_LISTEN": "0.0.0.0:8081"}}, "port 8081 is the admin listener's"),
        ({"config": {"GATEWAY_TLS_REDIRECT_LISTEN": ":8081"}}, "port 8081 is the admin listener's"),
        ({"config": {"GATEWAY_LISTEN": "0.0.0.0:0"}}, "port 0"),
        ({"service": {"redirectPort": 81}}, "service.redirectPort needs config.GATEWAY_TLS_REDIRECT_LISTEN"),
        (
            {"service": {"loadBalancerClass": "a"}},
            "service.loadBalancerClass is for service.type LoadBalancer",
        ),
        ({"service": {"allocateLoadBalancerNodePorts": False}}, "allocateLoadBalancerNodePorts is for"),
        ({"service": {"nodePort": 30000}}, "service.nodePort is for"),
        ({"service": {"externalTrafficPolicy": "Local"}}, "service.externalTrafficPolicy is for"),
        ({"service": {"type": "LoadBalancer", "healthCheckNodePort": 30000}}, "externalTrafficPolicy Local"),
        ({"service": {"type": "NodePort", "clusterIP": "None"}}, "service.clusterIP None is for"),
        ({"service": {"sessionAffinityConfig": {"clientIP": {}}}}, "for service.sessionAffinity ClientIP"),
        ({"service": {"ipFamilies": ["IPv4", "IPv6"]}}, "needs service.ipFamilyPolicy"),
        ({"service": {"extraPorts": [{"name": "a", "port": 80}]}}, "port 80 stands twice"),
        (
            {"autoscaling": {"enabled": True, "minReplicas": 11}},
            "minReplicas is above autoscaling.maxReplicas",
        ),
        (
            {"autoscaling": {"enabled": True}, "resources": {"requests": {"cpu": None}}},
            "resources.requests.cpu",
        ),
        ({"terminationGracePeriodSeconds": 39}, "would be cut off"),
        ({"dnsPolicy": "None"}, "dnsPolicy None needs dnsConfig.nameservers"),
        (
            {"extraVolumes": [{"name": "gateway-tmp", "emptyDir": {}}]},
            "two volumes with the name gateway-tmp",
        ),
        ({"extraVolumeMounts": [{"name": "ca", "mountPath": "/ca"}]}, "no volume has the name ca"),
        ({"extraContainers": [{"name": "gateway", "image": "x"}]}, "two containers with the name gateway"),
        (
            {"mode": "sidecar", "ingress": {"enabled": True, "hosts": [{"host": "a"}]}},
            "no effect in mode sidecar",
        ),
        (
            {"mode": "sidecar", "monitoring": {"serviceMonitor": {"enabled": True}}},
            "use monitoring.podMonitor",
        ),
        ({"mode": "sidecar", "podLabels": {"a": "b"}}, "podLabels has no effect in mode sidecar"),
        (
            {"secrets": {"existing": ""}, "extraEnvFrom": [{"secretRef": {"name": "a"}}]},
            "Job has no database",
        ),
    ],
)
def test_a_contradiction_is_refused_with_the_way_out(
    change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    done = helm("template", "r", str(CHART), values=over(LEAST, change), folder=tmp_path)
    assert done.returncode != 0
    assert words in done.stderr


def test_a_release_that_begins_with_a_digit_needs_a_name_for_its_service(tmp_path: Path) -> None:
    done = helm("template", "1st", str(CHART), values=LEAST, folder=tmp_path)
    assert "set fullnameOverride" in done.stderr


@pytest.mark.parametrize(
    ("listen", "ports"),
    [
        ("0.0.0.0:9090", [9090]),
        (":9090,[::]:9091, unix:/run/x.sock", [9090, 9091]),
        (["unix:/run/x.sock", "0.0.0.0:9090", "127.0.0.1:9091"], [9090]),
        (["0.0.0.0:9090", "[::]:9090"], [9090]),
        ("", [8080]),
    ],
)
def test_the_pod_opens_every_port_that_is_listened_on(listen: Any, ports: list[int], tmp_path: Path) -> None:
    documents = rendered(over(LEAST, {"config": {"GATEWAY_LISTEN": listen}}), tmp_path)
    (container,) = the("Deployment", documents)["spec"]["template"]["spec"]["containers"]
    opened = [one["containerPort"] for one in container["ports"] if one["name"] != "admin"]
    assert opened == ports
    let_in = [one["port"] for one in the("NetworkPolicy", documents)["spec"]["ingress"][0]["ports"]]
    assert let_in == ports


def test_a_sidecar_may_listen_on_a_socket_alone(tmp_path: Path) -> None:
    values = over(WAYS["sidecar"], {"config": {"GATEWAY_LISTEN": "unix:/run/x.sock"}})
    (rule,) = the("NetworkPolicy", rendered(values, tmp_path))["spec"]["ingress"]
    assert [one["port"] for one in rule["ports"]] == [8081]


def test_browsers_are_sent_from_http_to_https_by_a_second_port(tmp_path: Path) -> None:
    values = {
        "tls": {"existing": "tls"},
        "config": {"GATEWAY_TLS_REDIRECT_LISTEN": "0.0.0.0:8082"},
        "service": {"port": 443, "redirectPort": 80},
    }
    documents = rendered(over(LEAST, values), tmp_path)
    https, http = the("Service", documents, "-gateway")["spec"]["ports"]
    assert (https["port"], https["targetPort"], https["appProtocol"]) == (443, "http", "https")
    assert (http["port"], http["targetPort"], http["appProtocol"]) == (80, "redirect", "http")
    (container,) = the("Deployment", documents)["spec"]["template"]["spec"]["containers"]
    assert {"name": "redirect", "containerPort": 8082, "protocol": "TCP"} in container["ports"]


def test_probes_speak_tls_where_the_admin_listener_does(tmp_path: Path) -> None:
    documents = rendered(over(LEAST, {"adminTls": {"existing": "admin"}}), tmp_path)
    pod = the("Deployment", documents)["spec"]["template"]["spec"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert pod["containers"][0][probe]["httpGet"]["scheme"] == "HTTPS"
    settings = the("ConfigMap", documents)["data"]
    mounted = {one["name"]: one["mountPath"] for one in pod["containers"][0]["volumeMounts"]}
    assert settings["GATEWAY_ADMIN_TLS_CERT_FILE"] == f"{mounted['gateway-admin-tls']}/tls.crt"
    assert the("Pod", documents)["spec"]["containers"][0]["args"][1] == "https"


def test_a_policy_that_names_no_port_lets_out_to_none(tmp_path: Path) -> None:
    values = {"config": {"GATEWAY_UPSTREAM_URL": "unix:/run/x.sock"}, "networkPolicy": {"egressPorts": []}}
    policy = the("NetworkPolicy", rendered(over(LEAST, values), tmp_path))["spec"]
    assert [{one["port"] for one in rule["ports"]} for rule in policy["egress"]] == [{53}]


def test_the_policy_lets_out_to_the_ports_of_every_url_in_the_values(tmp_path: Path) -> None:
    create = {
        "GATEWAY_DATABASE_URL": "postgresql://a:p%40:9@db1:6432,db2/w",
        "GATEWAY_JWT_SECRET": "x" * 32,
        "GATEWAY_LIMITS_URL": "rediss://:word@redis/0",
    }
    values = {
        "config": {"GATEWAY_ISSUER_JWKS_URL": "https://id.example.com:8443/keys"},
        "secrets": {"existing": "", "create": create},
        "networkPolicy": {"egressPorts": []},
    }
    policy = the("NetworkPolicy", rendered(over(LEAST, values), tmp_path))["spec"]
    assert {one["port"] for rule in policy["egress"] for one in rule["ports"]} == {
        53,
        5432,
        6379,
        6432,
        8080,
        8443,
    }


@pytest.mark.parametrize(
    ("url", "ports"),
    [
        ("redis+sentinel://s1:26380,s2/mymaster", {26379, 26380, 6379}),
        ("rediss+sentinel://limits:p%2C1@s1/mymaster/0", {26379, 6379}),
        ("redis+cluster://s1:7000", {7000}),
        ("redis+cluster://s1", {6379}),
        ("redis://:word@[fd00::1]:6380/0?protocol=3", {6380}),
        ("postgresql:///w?host=db&port=6432&user=u", {6432}),
        ("postgres://a:p@db:5433/w?sslmode=require&port=6432", {6432}),
        ("postgresql://db/w?port=6432%2C6433,", {5432, 6432, 6433}),
        ("postgresql://a:p@db1:6432,db2:6433,db3/w", {5432, 6432, 6433}),
        ("postgresql:///w?host=db", {5432}),
        ("postgresql://db:6432/w?application_name=port", {6432}),
        ("postgresql://db:6432\n", {6432}),
        ("https://a.example:8443,http://b.example", {80, 8443}),
        ("http://collector:4318#x", {4318}),
        ("https://[fd00::1]/keys", {443}),
    ],
)
def test_the_policy_reads_a_url_as_the_gateway_does(url: str, ports: set[int], tmp_path: Path) -> None:
    values = {
        "config": {"GATEWAY_UPSTREAM_URL": "unix:/run/x.sock"},
        "extraEnv": [{"name": "SOME_URL", "value": url}],
        "networkPolicy": {"egressPorts": []},
    }
    policy = the("NetworkPolicy", rendered(over(LEAST, values), tmp_path))["spec"]
    assert {one["port"] for rule in policy["egress"] for one in rule["ports"]} == {53} | ports


@pytest.mark.parametrize(
    "servers", ["10.0.0.10:5353,[fd00::1]:5354,fd00::53,10.0.0.11:53", ["10.0.0.10:5353", "[fd00::1]:5354"]]
)
def test_the_policy_lets_out_to_name_servers_at_other_ports(servers: object, tmp_path: Path) -> None:
    values = {"config": {"GATEWAY_RESOLVER_SERVERS": servers}}
    policy = the("NetworkPolicy", rendered(over(LEAST, values), tmp_path))["spec"]
    opened = {(one["port"], one["protocol"]) for one in policy["egress"][0]["ports"]}
    assert opened == {(port, protocol) for port in (53, 5353, 5354) for protocol in ("UDP", "TCP")}


# -- Prometheus in another namespace ------------------------------------------------------------------------------

ELSEWHERE = {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}
PROMETHEUS = {"matchLabels": {"app.kubernetes.io/name": "prometheus"}}


@pytest.mark.parametrize("mode", ["gateway", "sidecar"])
def test_a_prometheus_of_another_namespace_is_let_in_beside_those_of_ones_own(
    mode: str, tmp_path: Path
) -> None:
    prometheus = {"namespaceSelector": ELSEWHERE, "podSelector": PROMETHEUS}
    values = over(LEAST, {"mode": mode, "networkPolicy": {"prometheus": prometheus}})
    rules = the("NetworkPolicy", rendered(values, tmp_path))["spec"]["ingress"]
    (admin,) = (rule for rule in rules if rule["ports"][0]["port"] == 8081)
    assert admin["from"] == [{"podSelector": {}}, prometheus]


@pytest.mark.parametrize(
    ("change", "warns"),
    [
        ({"monitoring": {"podMonitor": {"enabled": True}}}, True),
        ({"monitoring": {"serviceMonitor": {"enabled": True}}}, True),
        ({"mode": "sidecar", "monitoring": {"podMonitor": {"enabled": True}}}, True),
        ({}, False),
        ({"monitoring": {"podMonitor": {"enabled": True}}, "networkPolicy": {"enabled": False}}, False),
        (
            {
                "monitoring": {"podMonitor": {"enabled": True}},
                "networkPolicy": {"prometheus": {"namespaceSelector": ELSEWHERE}},
            },
            False,
        ),
        (
            {
                "monitoring": {"podMonitor": {"enabled": True}},
                "networkPolicy": {"adminFrom": [{"namespaceSelector": ELSEWHERE}]},
            },
            False,
        ),
    ],
)
def test_the_notes_say_when_a_monitor_cannot_scrape(
    change: dict[str, Any], warns: bool, tmp_path: Path
) -> None:
    done = helm("install", "r", str(CHART), "--dry-run=client", values=over(LEAST, change), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    notes = done.stdout.partition("\nNOTES:\n")[2]
    assert "The gateway answers at" in notes or "mode" in change
    assert ("WARNING: nothing is scraped" in notes) is warns
