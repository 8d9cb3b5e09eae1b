"""Reading of the admin listener, and traffic of every kind to read about."""

from __future__ import annotations

import asyncio
import subprocess
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from tests.support.calls import ask, bearer, get, post, request
from tests.support.peers import PATIENCE, Client
from tests.support.programs import program
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from prometheus_client import Metric
    from prometheus_client.samples import Sample

    from gateway.app import Gateway
    from tests.support.worlds import World


async def scraped(gateway: Gateway) -> str:
    async with Client(gateway.admin_address) as admin:
        answer = await admin.exchange(get("/metrics"))
    assert answer.status == 200
    return answer.body.decode()


def families(page: str) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(page)}


def samples(page: str, name: str, **labels: str) -> list[Sample]:
    """The samples of a metric (with its suffix), of these labels at least."""
    return [
        sample
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]


def value(page: str, name: str, **labels: str) -> float:
    """The sum of a metric's samples, of these labels at least."""
    return sum(sample.value for sample in samples(page, name, **labels))


async def traffic(gateway: Gateway, world: World) -> None:
    """Send traffic of every kind: answers, refusals of every phase, hosted endpoints, bodies."""
    token = world.token(world.agent)
    for raw in (
        get("/health"),
        get("/api/x", bearer(token)),
        get("/api/x", bearer(token)),
        get("/api/x", f"X-API-Key: {world.api_key}"),
        get("/api/x"),
        get("/api/x", bearer("a.b.c")),
        get("/api/x", bearer(world.token(world.agent, now=1))),
        get("/api/api-keys", bearer(token)),  # an agent may not
        get("/a//b"),
        get("/api/auth/login"),
        get("/" + "x" * 9000),
        get("/health", "X-Much: " + "x" * 40_000),
        request("POST", "/api/x", bearer(token), body=b"x" * 5000),
        post("/api/auth/login", {"email": "agent@example.com", "password": PASSWORD}),
        post("/api/auth/login", {"email": "agent@example.com", "password": "wrong"}),
        post("/api/auth/login", {"email": "x" * 70_000}),
    ):
        await ask(gateway, raw)


async def reads(gateway: Gateway, name: str, least: float, **labels: str) -> None:
    """Wait until a metric is as high as `least`."""
    async with asyncio.timeout(PATIENCE):
        while value(await scraped(gateway), name, **labels) < least:
            await asyncio.sleep(0.01)


async def checked(page: str) -> tuple[int, str]:
    """Return the exit code and the complaints of ``promtool check metrics`` about a page."""
    done = await asyncio.to_thread(
        subprocess.run,
        [program("promtool"), "check", "metrics"],
        input=page,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr
