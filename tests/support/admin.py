"""Questions to the admin listener: readiness, metrics, and the status page."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from prometheus_client.parser import text_string_to_metric_families

from tests.support.calls import get
from tests.support.peers import Client
from tests.support.processes import STARTING

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.peers import Message


async def admin(gateway: Gateway, path: str) -> Message:
    """Get a page of the admin listener."""
    async with Client(gateway.admin_address) as client:
        return await client.exchange(get(path))


async def metrics(gateway: Gateway) -> dict[str, list[Any]]:
    """Name of a metric family -> its samples."""
    answer = await admin(gateway, "/metrics")
    assert answer.status == 200
    assert (answer.one("Content-Type") or "").startswith("text/plain")
    return {family.name: family.samples for family in text_string_to_metric_families(answer.body.decode())}


def count(samples: list[Any], **labels: str) -> float:
    """Return the sum of a counter's samples with these labels."""
    return sum(
        float(sample.value)
        for sample in samples
        if sample.name.endswith("_total") and labels.items() <= sample.labels.items()
    )


async def readings(gateway: Gateway) -> dict[str, float]:
    """Return the value of every sample, by its line of the metrics page."""
    async with Client(gateway.admin_address) as client:
        page = (await client.exchange(get("/metrics"))).body.decode()
    lines = (line.rpartition(" ") for line in page.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


async def ask_admin(admin: tuple[str, int], path: str) -> tuple[int, str]:
    """Return status and body of a page of a gateway in another process."""
    async with Client(admin) as client:
        answer = await client.exchange(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        )
        return answer.status, answer.body.decode()


async def all_listening(admin: tuple[str, int], number: int) -> None:
    """Wait until that many workers listen."""
    async with asyncio.timeout(STARTING):
        while (await ask_admin(admin, "/readyz"))[1].count('"listening":"ok"') < number:
            await asyncio.sleep(0.1)


async def deaths(admin: tuple[str, int]) -> float:
    """Workers that have died so far, by the parent of gateways in other processes."""
    _, page = await ask_admin(admin, "/metrics")
    return next(
        sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == "gateway_worker_deaths_total"
    )


async def readiness_says(admin: tuple[str, int], words: bytes, times: int = 1) -> None:
    """Wait until the readiness page has the words in it that many times: once a worker."""
    async with asyncio.timeout(STARTING):
        while True:
            async with Client(admin) as client:
                answer = await client.exchange(
                    b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                )
            if answer.body.count(words) >= times:
                return
            await asyncio.sleep(0.02)


async def readiness(gateway: Gateway) -> Any:
    """Return the readiness page."""
    return (await admin(gateway, "/readyz")).json()


async def is_pushed(gateway: Gateway) -> bool:
    """True if the gateway hears of changes as they are made."""
    return bool((await readiness(gateway))["revocation"]["changes"] == "pushed")
