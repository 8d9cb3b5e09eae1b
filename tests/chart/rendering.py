"""A real helm over the chart, and what it renders."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.support.programs import program

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "whatomate-gateway"
EXAMPLE = ROOT / "helm" / "examples" / "backend"

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
    "podAnnotations": {"a": "b"},
    "podLabels": {"c": "d"},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "only", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {"podAntiAffinity": {}},
    "priorityClassName": "high",
    "service": {"annotations": {"e": "f"}},
    "serviceAccount": {"annotations": {"g": "h"}},
    "ingress": {
        "enabled": True,
        "className": "nginx",
        "hosts": [{"host": "api.example.com"}, {"host": "ws.example.com", "paths": ["/ws"]}],
        "tls": [{"secretName": "tls", "hosts": ["api.example.com"]}],
    },
    "httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}], "hostnames": ["api.example.com"]},
    "autoscaling": {"enabled": True},
    "networkPolicy": {
        "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}],
        "adminFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
        "extraEgress": [{"to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}]}],
    },
    "extraVolumes": [{"name": "more", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
    "monitoring": {
        part: {"enabled": True} for part in ("podMonitor", "serviceMonitor", "prometheusRule", "dashboard")
    },
}
WAYS: dict[str, dict[str, Any]] = {
    "gateway": LEAST,
    "gateway-everything": EVERYTHING,
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
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def rendered(values: dict[str, Any], folder: Path, chart: Path = CHART) -> list[dict[str, Any]]:
    """What the chart makes of values, one document each."""
    done = helm("template", "release", str(chart), "--namespace", "gateways", values=values, folder=folder)
    assert done.returncode == 0, done.stderr
    (folder / "rendered.yaml").write_text(done.stdout)
    return [one for one in yaml.safe_load_all(done.stdout) if one is not None]


def the(kind: str, documents: list[dict[str, Any]], ending: str = "") -> dict[str, Any]:
    (found,) = (one for one in documents if one["kind"] == kind and one["metadata"]["name"].endswith(ending))
    return found
