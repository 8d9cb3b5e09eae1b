"""Takes the schemas of custom resources out of checkouts of the repositories that have them.

    python tests/chart/take_crds.py PROMETHEUS_OPERATOR v0.93.0 GATEWAY_API v1.6.1

The arguments are git repositories and the release to read of each. Written are the files beside this one in crds/: the
schema of one version of one kind, without descriptions, and where it came from.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent / "crds"
MONITORING = "example/prometheus-operator-crd/monitoring.coreos.com_{}.yaml"
WANTED = {
    "prometheus-operator/prometheus-operator": {
        MONITORING.format("servicemonitors"): "v1",
        MONITORING.format("podmonitors"): "v1",
        MONITORING.format("prometheusrules"): "v1",
    },
    "kubernetes-sigs/gateway-api": {
        "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml": "v1",
    },
}


def git(repository: str, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", repository, *arguments], capture_output=True, text=True, check=True, timeout=60
    ).stdout


def stripped(schema: Any) -> Any:
    """A schema without descriptions, and without rules in CEL, which JSON Schema cannot say."""
    if isinstance(schema, list):
        return [stripped(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: stripped(one) for name, one in value.items()} if key == "properties" else stripped(value)
        for key, value in schema.items()
        if key != "x-kubernetes-validations" and not (key == "description" and isinstance(value, str))
    }


def main() -> None:
    given = zip(sys.argv[1::2], sys.argv[2::2], strict=True)
    for (repository, release), (name, files) in zip(given, WANTED.items(), strict=True):
        commit = git(repository, "rev-parse", f"{release}^{{commit}}").strip()
        for path, version in files.items():
            definition = yaml.safe_load(git(repository, "show", f"{commit}:{path}"))
            spec = definition["spec"]
            (one,) = (one for one in spec["versions"] if one["name"] == version)
            found = {
                "source": f"{name}, {path}",
                "commit": commit,
                "release": release,
                "licence": "Apache-2.0",
                "apiVersion": f"{spec['group']}/{version}",
                "schema": stripped(one["schema"]["openAPIV3Schema"]),
            }
            (HERE / f"{spec['names']['kind']}.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
