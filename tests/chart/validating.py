"""Validation as an API server does it: by schemas of Kubernetes and of custom resources, and beyond."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import jsonschema
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from tests.support.programs import TOOLS, lacking

if TYPE_CHECKING:
    from collections.abc import Iterator

CRDS = Path(__file__).parent / "crds"
LEAST_MINOR = 30  # kubeVersion in Chart.yaml
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
LABEL_NAME = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
SERVICE_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?")


def folder() -> Path:
    """Return the folder in which the package kubernetes-validate keeps its schemas."""
    found = list(TOOLS.parent.glob("lib/python*/site-packages/kubernetes_validate/kubernetes-json-schema"))
    return found[0] if found else Path(lacking("kubernetes-validate is not installed (`make programs`)"))


def versions() -> list[str]:
    """The oldest version of Kubernetes that the chart takes, and the newest that is known."""
    minors = sorted(
        int(match[1])
        for one in folder().iterdir()
        if (match := re.fullmatch(r"v1\.(\d+)\.0-local-strict", one.name))
    )
    assert LEAST_MINOR in minors
    return [f"1.{LEAST_MINOR}", f"1.{minors[-1]}"]


@cache
def _registry(version: str) -> Registry[Any]:
    whole = json.loads(
        (folder() / f"v{version}.0-local-strict/_definitions.json").read_text(encoding="utf-8")
    )
    resource = Resource.from_contents(whole, default_specification=DRAFT202012)
    return cast("Registry[Any]", Registry().with_resource("/api/_definitions.json", resource).crawl())


@cache
def _kubernetes(version: str, kind: str, api: str) -> Any:
    name = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api)
    path = folder() / f"v{version}.0-local-strict/{kind.lower()}-{name}.json"
    schema = json.loads(path.read_text(encoding="utf-8"))
    return jsonschema.Draft202012Validator(schema, registry=_registry(version))


def strict(schema: Any) -> Any:
    """The schema of a custom resource as a JSON Schema in which a field that is not there is refused, not dropped."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {
        key: {name: strict(one) for name, one in value.items()} if key == "properties" else strict(value)
        for key, value in schema.items()
    }
    if found.pop("x-kubernetes-int-or-string", False):
        found.pop("type", None)
        found["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    if "properties" in found and isinstance(found["properties"], dict) and found.get("type") == "object":
        found.setdefault("additionalProperties", False)
    if found.pop("nullable", False):
        found = {"anyOf": [found, {"type": "null"}]}
    return found


@cache
def _custom(kind: str) -> tuple[str, Any]:
    about = json.loads((CRDS / f"{kind}.json").read_text(encoding="utf-8"))
    return about["apiVersion"], jsonschema.Draft202012Validator(strict(about["schema"]))


CUSTOM = frozenset(path.stem for path in CRDS.glob("*.json"))


def refusals(document: dict[str, Any], version: str) -> list[str]:
    """Return the violations of an object's schema."""
    kind, api = document["kind"], document["apiVersion"]
    if kind in CUSTOM:
        its, validator = _custom(kind)
        if its != api:
            return [f"{kind}: {api} is not {its}"]
    else:
        validator = _kubernetes(version, kind, api)
    return [f"{kind}: {error.json_path}: {error.message[:200]}" for error in validator.iter_errors(document)]


def contradictions(documents: list[dict[str, Any]]) -> Iterator[str]:
    """Yield what an API server refuses although the schemas let it pass."""
    pods = [spec for one in documents for spec in _pods(one)]
    names = [(one["kind"], one["metadata"]["name"]) for one in documents if not _is_hook(one)]
    yield from (f"two of one name: {name}" for name in names if names.count(name) > 1)
    for one in documents:
        yield from _metadata(one)
        if one["kind"] == "Service":
            yield from _service(one["spec"], pods)
            if SERVICE_NAME.fullmatch(one["metadata"]["name"]) is None:
                yield f"{one['metadata']['name']} is no name of a Service"
        if one["kind"] == "Deployment":
            wanted = one["spec"]["selector"]["matchLabels"].items()
            if not wanted <= one["spec"]["template"]["metadata"]["labels"].items():
                yield "the Deployment does not select its pods"
    for _, pod in pods:
        yield from _pod(pod)


def _is_hook(document: dict[str, Any]) -> bool:
    return "helm.sh/hook" in document["metadata"].get("annotations", {})


def _pods(document: dict[str, Any]) -> Iterator[tuple[dict[str, str], dict[str, Any]]]:
    if document["kind"] == "Pod":
        yield document["metadata"]["labels"], document["spec"]
    elif document["kind"] in {"Deployment", "Job"}:
        template = document["spec"]["template"]
        yield template["metadata"]["labels"], template["spec"]


def _metadata(document: dict[str, Any]) -> Iterator[str]:
    metadata = document["metadata"]
    if DNS_LABEL.fullmatch(metadata["name"]) is None and document["kind"] != "ServiceAccount":
        yield f"{document['kind']}: {metadata['name']!r} is no name"
    inner = (
        document.get("spec", {}).get("template", {}).get("metadata", {}) if document["kind"] != "Pod" else {}
    )
    for one in (metadata, inner):
        for name, value in one.get("labels", {}).items():
            if LABEL_NAME.fullmatch(name) is None or LABEL_VALUE.fullmatch(value) is None:
                yield f"{document['kind']}: label {name}: {value!r}"
        for name, value in one.get("annotations", {}).items():
            if LABEL_NAME.fullmatch(name) is None or not isinstance(value, str):
                yield f"{document['kind']}: annotation {name}: {value!r}"


def _service(spec: dict[str, Any], pods: list[tuple[dict[str, str], dict[str, Any]]]) -> Iterator[str]:
    names = [port.get("name") for port in spec["ports"]]
    numbers = [(port["port"], port.get("protocol", "TCP")) for port in spec["ports"]]
    if len(set(names)) < len(names) or len(set(numbers)) < len(numbers):
        yield f"a Service has two ports of one name or number: {spec['ports']}"
    selected = [pod for labels, pod in pods if spec["selector"].items() <= labels.items()]
    if not selected:
        yield f"no pod is selected by {spec['selector']}"
    yield from _outside(spec)
    opened = {
        port["name"]
        for pod in selected
        for one in pod["containers"]
        for port in one.get("ports", ())
        if "name" in port
    }
    for port in spec["ports"]:
        target = port.get("targetPort")
        if target in {"http", "redirect", "admin"} and target not in opened:
            yield f"no container has the port {target}"


def _outside(spec: dict[str, Any]) -> Iterator[str]:
    balanced = spec.get("type") == "LoadBalancer"
    outside = spec.get("type", "ClusterIP") != "ClusterIP" or spec.get("externalIPs")
    for field in (
        "loadBalancerClass",
        "loadBalancerSourceRanges",
        "allocateLoadBalancerNodePorts",
        "healthCheckNodePort",
    ):
        if field in spec and not balanced:
            yield f"{field} without a load balancer"
    if "externalTrafficPolicy" in spec and not outside:
        yield "externalTrafficPolicy of an inner Service"
    if "healthCheckNodePort" in spec and spec.get("externalTrafficPolicy") != "Local":
        yield "healthCheckNodePort without Local"
    if spec.get("clusterIP") == "None" and outside:
        yield "a headless Service to the outside"
    if len(spec.get("ipFamilies", ())) > 1 and "DualStack" not in spec.get("ipFamilyPolicy", ""):
        yield "two families of one stack"


def _pod(pod: dict[str, Any]) -> Iterator[str]:
    volumes = [one["name"] for one in pod.get("volumes", ())]
    if len(set(volumes)) < len(volumes):
        yield f"two volumes of one name: {volumes}"
    containers = [*pod.get("initContainers", ()), *pod["containers"]]
    names = [one["name"] for one in containers]
    if len(set(names)) < len(names) or any(DNS_LABEL.fullmatch(name) is None for name in names):
        yield f"containers: {names}"
    for one in containers:
        paths = [mount["mountPath"] for mount in one.get("volumeMounts", ())]
        if len(set(paths)) < len(paths):
            yield f"two mounts at one place: {paths}"
        missing = {mount["name"] for mount in one.get("volumeMounts", ())} - set(volumes)
        if missing:
            yield f"mounts of no volume: {missing}"
        ports = [port for port in one.get("ports", ()) if "name" in port]
        numbers = [port["containerPort"] for port in ports]
        if any(PORT_NAME.fullmatch(port["name"]) is None for port in ports) or len(set(numbers)) < len(
            numbers
        ):
            yield f"ports: {ports}"
        for probe in ("startupProbe", "livenessProbe"):
            if one.get(probe, {}).get("successThreshold", 1) != 1:
                yield f"{probe}: successThreshold is 1"
