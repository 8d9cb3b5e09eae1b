"""The pod of `helm test`: its script, as it is rendered, asks a real gateway, and finds what is wrong with it."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import pytest

from tests.chart.rendering import LEAST, over, rendered, the

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.app import Gateway
    from tests.support.peers import Upstream

SECONDS = 30


async def asked(folder: Path, admin: tuple[str, int], public: str) -> tuple[int, str, str]:
    """Run the container's command with the addresses of a gateway in the place of those of the cluster."""
    (container,) = the("Pod", rendered(LEAST, folder))["spec"]["containers"]
    assert container["command"] == ["/opt/gateway/bin/python", "-c"]
    script, scheme, host, port, url = container["args"]
    assert (scheme, host, port) == ("http", "release-whatomate-gateway-admin.gateways.svc", "8081")
    assert url == "http://release-whatomate-gateway.gateways.svc:80"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script, "http", admin[0], str(admin[1]), public),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(SECONDS):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_a_gateway_that_is_ready_passes(gate: Gateway, tmp_path: Path) -> None:
    code, out, err = await asked(tmp_path, gate.admin_address, "http://{}:{}".format(*gate.address))
    assert (code, err) == (0, "")
    assert "/readyz 200" in out
    assert ": 401 Bearer" in out


async def test_a_gateway_without_its_database_fails_with_the_cause(gateway: Gateway, tmp_path: Path) -> None:
    code, _, err = await asked(tmp_path, gateway.admin_address, "http://{}:{}".format(*gateway.address))
    assert code == 1
    assert "is not ready: " in err
    assert "database" in err


async def test_a_service_that_leads_to_something_else_fails(
    gate: Gateway, upstream: Upstream, tmp_path: Path
) -> None:
    code, _, err = await asked(tmp_path, gate.admin_address, f"http://127.0.0.1:{upstream.port}")
    assert code == 1
    assert "is not refused by the gateway" in err


async def test_no_answer_is_a_failure_of_one_line(
    gate: Gateway, tmp_path: Path, unused_tcp_port: int
) -> None:
    code, _, err = await asked(tmp_path, ("127.0.0.1", unused_tcp_port), "")
    assert code == 1
    assert err.startswith("no answer (")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("mode", ["sidecar", "off"])
def test_the_pod_is_left_out_where_no_workload_is_or_it_is_not_wanted(mode: str, tmp_path: Path) -> None:
    values = {"mode": "sidecar"} if mode == "sidecar" else {"tests": {"enabled": False}}
    assert "Pod" not in {one["kind"] for one in rendered(over(LEAST, values), tmp_path)}


def test_pods_that_are_not_ready_are_asked_too(tmp_path: Path) -> None:
    service = the("Service", rendered(LEAST, tmp_path), "-admin")
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert service["spec"]["clusterIP"] == "None", "by one address it would be one pod by chance"


def test_the_policy_lets_the_pod_ask(tmp_path: Path) -> None:
    peer = [{"podSelector": {"matchLabels": {"app": "ingress"}}}]
    documents = rendered(over(LEAST, {"networkPolicy": {"from": peer, "adminFrom": peer}}), tmp_path)
    labels = the("Pod", documents)["metadata"]["labels"].items()
    for rule in the("NetworkPolicy", documents)["spec"]["ingress"]:
        assert any(one["podSelector"]["matchLabels"].items() <= labels for one in rule["from"])


@pytest.mark.parametrize(
    "setting",
    [
        {"GATEWAY_TLS_CLIENT_AUTH": "required"},
        {"GATEWAY_PROXY_PROTOCOL_FROM": ["10.0.0.0/8"]},
        {"GATEWAY_PROXY_PROTOCOL_FROM": "10.0.0.0/8"},
    ],
    ids=str,
)
def test_a_service_that_would_not_answer_the_pod_is_not_asked(
    setting: dict[str, object], tmp_path: Path
) -> None:
    values = over(LEAST, {"config": setting})
    (container,) = the("Pod", rendered(values, tmp_path))["spec"]["containers"]
    assert container["args"][1:] == ["http", "release-whatomate-gateway-admin.gateways.svc", "8081"]
