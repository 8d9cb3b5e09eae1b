"""A real helm over the chart, and what it renders."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.support.programs import program

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "whatomate-gateway"
EXAMPLE = ROOT / "helm" / "examples" / "backend"

PROXY: dict[str, Any] = {
    "name": "proxy",
    "image": "proxy@sha256:" + "1" * 64,
    "restartPolicy": "Always",
    "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "16Mi"}},
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    },
}
"""A native sidecar that leads to the database, of somebody else."""
LEAST: dict[str, Any] = {
    "config": {"GATEWAY_UPSTREAM_URL": "http://whatomate:8080"},
    "secrets": {"existing": "gateway"},
}
EVERYTHING: dict[str, Any] = {
    "config": {
        "GATEWAY_UPSTREAM_URL": "http://whatomate:9000",
        "GATEWAY_TRUSTED_PROXIES": ["10.0.0.0/8", "fd00::/8"],
        "GATEWAY_LIMIT_BODY_BYTES": 1_073_741_824,
        "GATEWAY_TIMEOUT_DRAIN_DELAY_SECONDS": 7.5,
        "GATEWAY_DATABASE_TRIGGERS": False,
        "GATEWAY_LISTEN": "0.0.0.0:9090",
    },
    "routes": {"upstreams": {"files": {"url": "http://files:7070"}}},
    "secrets": {
        "create": {
            "GATEWAY_DATABASE_URL": "postgresql://a:b@db/w",
            "GATEWAY_JWT_SECRET": "0123456789-0123456789-0123456789",
        }
    },
    "signingKeys": {"existing": "keys"},
    "adminToken": {"existing": "admin", "key": "bearer"},
    "workers": 4,
    "imagePullSecrets": [{"name": "pull"}],
    "image": {"digest": "sha256:" + "0" * 64},
    "commonLabels": {"team": "inbox"},
    "commonAnnotations": {"contact": "inbox@example.com"},
    "extraEnv": [{"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://collector:4318"}],
    "extraEnvFrom": [{"secretRef": {"name": "more"}}],
    "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["db"]}],
    "dnsPolicy": "ClusterFirst",
    "dnsConfig": {"options": [{"name": "ndots", "value": "2"}]},
    "runtimeClassName": "gvisor",
    "schedulerName": "other",
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "only", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {"podAntiAffinity": {}},
    "priorityClassName": "high",
    "serviceAccount": {"annotations": {"g": "h"}},
    "migrations": {
        "serviceAccount": {"create": True, "annotations": {"role": "owner"}},
        "annotations": {"k": "l"},
        "podAnnotations": {"m": "o"},
        "extraEnv": [{"name": "PGAPPNAME", "value": "migrate"}],
        "initContainers": [PROXY],
        "ttlSecondsAfterFinished": 600,
        "nodeSelector": {},
    },
    "networkPolicy": {
        "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}],
        "adminFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
        "extraEgress": [{"to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}]}],
    },
    "extraVolumes": [{"name": "more", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
    "monitoring": {part: {"enabled": True} for part in ("podMonitor", "prometheusRule", "dashboard")},
}
"""Values that both modes take."""
WORKLOAD: dict[str, Any] = {
    **EVERYTHING,
    "podAnnotations": {"a": "b"},
    "podLabels": {"c": "d"},
    "deploymentAnnotations": {"secret.reloader.stakater.com/reload": "gateway"},
    "deploymentLabels": {"tier": "edge"},
    "initContainers": [PROXY],
    "extraContainers": [{"name": "beside", "image": "beside:1"}],
    "service": {
        "type": "LoadBalancer",
        "annotations": {"e": "f"},
        "labels": {"i": "j"},
        "loadBalancerClass": "example.com/balancer",
        "loadBalancerSourceRanges": ["203.0.113.0/24"],
        "externalTrafficPolicy": "Local",
        "healthCheckNodePort": 30001,
        "internalTrafficPolicy": "Cluster",
        "trafficDistribution": "PreferClose",
        "ipFamilies": ["IPv4", "IPv6"],
        "ipFamilyPolicy": "PreferDualStack",
        "sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 600}},
        "nodePort": 30000,
        "extraPorts": [{"name": "beside", "port": 9000, "protocol": "TCP"}],
    },
    "ingress": {
        "enabled": True,
        "className": "nginx",
        "hosts": [{"host": "api.example.com"}, {"host": "ws.example.com", "paths": ["/ws"]}],
        "tls": [{"secretName": "tls", "hosts": ["api.example.com"]}],
    },
    "httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}], "hostnames": ["api.example.com"]},
    "autoscaling": {"enabled": True},
    "monitoring": {**EVERYTHING["monitoring"], "serviceMonitor": {"enabled": True, "scrapeTimeout": "10s"}},
}
"""Values of gateway mode, everything switched on."""
WAYS: dict[str, dict[str, Any]] = {
    "gateway": LEAST,
    "gateway-everything": WORKLOAD,
    "sidecar": {**LEAST, "mode": "sidecar"},
    "sidecar-everything": {**EVERYTHING, "mode": "sidecar"},
    "nothing-beside": {
        **LEAST,
        "networkPolicy": {"enabled": False},
        "podDisruptionBudget": {"enabled": False},
        "migrations": {"enabled": False},
        "serviceAccount": {"create": False},
        "topologySpreadConstraints": [],
        "preStopSeconds": 0,
    },
}


def helm(
    *arguments: str, values: dict[str, Any] | None = None, folder: Path
) -> subprocess.CompletedProcess[str]:
    if values is not None:
        (folder / "values.yaml").write_text(yaml.safe_dump(values))
        arguments = (*arguments, "--values", str(folder / "values.yaml"))
    return subprocess.run(
        [program("helm"), *arguments],
        # Each run is short: without collecting garbage it takes two thirds of the time.
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin", "GOGC": "off"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def rendered(values: dict[str, Any], folder: Path, chart: Path = CHART) -> list[dict[str, Any]]:
    """Return the documents that the chart makes of values."""
    done = helm("template", "release", str(chart), "--namespace", "gateways", values=values, folder=folder)
    assert done.returncode == 0, done.stderr
    (folder / "rendered.yaml").write_text(done.stdout)
    return parsed(done.stdout)


def parsed(text: str) -> list[dict[str, Any]]:
    """The documents of a text, by the parser in C where it is there: what is rendered is long."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [one for one in yaml.load_all(text, Loader=loader) if one is not None]


def unguarded(folder: Path) -> Path:
    """A copy of the chart without its schema, which takes helm half of its time; values are held to it apart."""
    shutil.copytree(CHART, folder / "chart", ignore=shutil.ignore_patterns("values.schema.json"))
    return folder / "chart"


def the(kind: str, documents: list[dict[str, Any]], ending: str = "") -> dict[str, Any]:
    (found,) = (one for one in documents if one["kind"] == kind and one["metadata"]["name"].endswith(ending))
    return found


def at(path: str, value: Any) -> dict[str, Any]:
    """Values with one at a path."""
    for name in reversed(path.split(".")):
        value = {name: value}
    assert isinstance(value, dict)
    return value


def over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Values merged as Helm merges them."""
    merged = dict(below)
    for name, value in above.items():
        both = isinstance(value, dict) and isinstance(below.get(name), dict)
        merged[name] = over(below[name], value) if both else value
    return merged


def whole(values: dict[str, Any]) -> dict[str, Any]:
    """Values over the chart's defaults, which is what Helm holds against the schema."""
    return over(yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8")), values)


def scripts(name: str) -> Any:
    """A module of helm/, which is a folder of scripts and no package."""
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))
    return importlib.import_module(f"helm.{name}")


def own() -> dict[str, dict[str, Any]]:
    """The values that the chart takes, by path, with the schema of each."""
    values = scripts("values")
    return dict(values.leaves(values.own_schema()))
