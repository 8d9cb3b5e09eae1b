"""The end of a process while its database or its collectors hang: what waits for them does not hold it up for long."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import pytest
from structlog.testing import capture_logs

from gateway.assembly import records
from tests.support.calls import ask, get, post
from tests.support.peers import PATIENCE
from tests.support.processes import listening

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.worlds import Start, World

HOUR: Final = 3600.0


async def test_a_database_that_hangs_holds_up_the_end_for_a_moment(world: World, start: Start) -> None:
    gate = await start(
        world.url,
        database={"statement_timeout_seconds": HOUR},
        keys={"used_interval_seconds": HOUR},
        quota={"sync_seconds": HOUR},
        quotas=True,
        timeout={"drain_seconds": 0.1},
    )
    assert (await ask(gate, get("/api/x", f"X-API-Key: {world.api_key}"))).status == 200
    holder = await asyncpg.connect(world.url)
    try:
        await holder.execute("BEGIN; LOCK TABLE api_keys, gateway_audit_head, gateway_quota_usage")
        await ask(gate, post("/api/auth/login", {"email": "nobody@example.com", "password": "wrong"}))
        with capture_logs() as logs:
            async with asyncio.timeout(2 * PATIENCE):
                await gate.stop()
    finally:
        await holder.close()
    lost = {"last_uses_lost", "audit_records_lost", "quotas_not_settled"}
    assert lost <= {entry["event"] for entry in logs}


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Settings of a collector that takes connections and never answers; it is waited for as long as it may be."""
    spans = pytest.importorskip("gateway.tracing.spans", reason="the extra otel is not installed")
    otlp = pytest.importorskip("gateway.metrics.otlp")
    for module in (spans, otlp):
        monkeypatch.setattr(module, "SEND_SECONDS", HOUR)
    with listening() as address:
        url = f"http://{address}"
        yield {"trace": {"endpoint": url}, "metrics": {"endpoint": url}, "timeout": {"drain_seconds": 0.1}}


async def test_collectors_that_hang_have_a_moment_together(
    start: Start, silent: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "END_SECONDS", 0.2)
    monkeypatch.setattr(records, "_SPANS_SECONDS", 0.1)
    gate = await start(**silent)
    assert (await ask(gate, get("/health"))).status == 200
    async with asyncio.timeout(PATIENCE):
        await gate.stop()


async def test_after_a_second_signal_no_collector_is_waited_for(
    start: Start, silent: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "END_SECONDS", HOUR)
    monkeypatch.setattr(records, "_SPANS_SECONDS", HOUR)
    gate = await start(**silent)
    assert (await ask(gate, get("/health"))).status == 200
    stopping = asyncio.create_task(gate.stop())
    await asyncio.sleep(0.3)
    assert not stopping.done()
    gate.hurry()
    async with asyncio.timeout(PATIENCE):
        await stopping
