"""Generator of the sidecar's plain manifests (helm/examples/kustomize/gateway), rendered by the chart itself.

    python helm/make_manifests.py [HELM]

For those who deploy by kustomize or kubectl and not by Helm. Written are what a pod is patched with, the settings as a
file of variables, and the objects beside it; what Helm alone reads is left out of them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import yaml

HERE: Final = Path(__file__).parent
CHART: Final = HERE / "whatomate-gateway"
TARGET: Final = HERE / "examples" / "kustomize" / "gateway"
HELM: Final = HERE.parent / ".tools" / "bin" / "helm"
NAME: Final = "gateway"
_SECONDS: Final = 60

_HEAD: Final = "# Rendered by the chart from values.yaml beside this: `make manifests`. {}\n"
_PATCH: Final = """
{{- $gateway := index .Subcharts "whatomate-gateway" }}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: backend
spec:
  template:
    metadata:
      labels:
        whatomate-gateway/sidecar: {{ .Release.Name }}
    spec:
      terminationGracePeriodSeconds: {{ add 40 (include "whatomate-gateway.grace" $gateway) }}
      securityContext:
        fsGroup: 65532
      initContainers:
        {{- include "whatomate-gateway.sidecar" $gateway | nindent 8 }}
      volumes:
        {{- include "whatomate-gateway.sidecar.volumes" $gateway | trim | nindent 8 }}
"""


def manifests(helm: str) -> dict[str, str]:
    """Return the text of each file, by its name."""
    documents = _rendered(helm)
    (patch,) = (one for one in documents if one["kind"] == "Deployment")
    (settings,) = (one for one in documents if one["kind"] == "ConfigMap")
    beside = [_plain(one) for one in documents if one["kind"] in {"NetworkPolicy", "Job"}]
    lines = [f"{name}={value}" for name, value in sorted(settings["data"].items())]
    return {
        "settings.env": "\n".join([*lines, ""]),
        "sidecar.yaml": _HEAD.format("A patch of the backend's Deployment.") + _text(patch),
        "beside.yaml": _HEAD.format("Applied before the patch.") + "---\n".join(map(_text, beside)),
    }


def _rendered(helm: str) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as temporary:
        parent = Path(temporary, "parent")
        shutil.copytree(CHART, parent / "charts" / CHART.name)
        (parent / "templates").mkdir()
        (parent / "templates" / "patch.yaml").write_text(_PATCH, encoding="utf-8")
        about = {"apiVersion": "v2", "name": "parent", "version": "1.0.0"}
        (parent / "Chart.yaml").write_text(yaml.safe_dump(about), encoding="utf-8")
        values = yaml.safe_load((TARGET / "values.yaml").read_text(encoding="utf-8"))
        (parent / "values.yaml").write_text(yaml.safe_dump({CHART.name: values}), encoding="utf-8")
        done = subprocess.run(  # noqa: S603 -- helm, with arguments of our own
            [helm, "template", NAME, str(parent)],
            env={"HOME": temporary, "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=True,
        )
    return [one for one in yaml.safe_load_all(done.stdout) if one is not None]


def _plain(document: dict[str, Any]) -> dict[str, Any]:
    """Return an object without what Helm alone reads, in whatever namespace it is applied to."""
    template = document["spec"].get("template", {}).get("metadata", {})
    for metadata in (document["metadata"], template):
        metadata.pop("namespace", None)
        for part in ("labels", "annotations"):
            names = [
                name
                for name in metadata.get(part, {})
                if name.startswith("helm.sh/") or name.endswith("managed-by")
            ]
            for name in names:
                del metadata[part][name]
            if part in metadata and not metadata[part]:
                del metadata[part]
    return document


def _text(document: dict[str, Any]) -> str:
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)


if __name__ == "__main__":
    for name, text in manifests(sys.argv[1] if sys.argv[1:] else str(HELM)).items():
        (TARGET / name).write_text(text, encoding="utf-8")
