"""Quotas of API keys and organizations, by requests through gateways on one database.

The quotas are a month's: a day ends more often than a test may fail.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import pytest

from authcore.quotas import Period, SubjectKind, window
from tests.support.admin import count, metrics
from tests.support.calls import ask, bearer, get, granted, is_refusal
from tests.support.peers import Client
from tests.support.processes import eventually
from tests.support.roads import road_to

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World

CONTACTS: Final = "/api/contacts"
SOON: Final = {"sync_seconds": 0.05}


def by_key(world: World) -> str:
    return f"X-API-Key: {world.api_key}"


async def passed(gate: Gateway, line: str, times: int) -> int:
    """Send requests one after the other; return how many the upstream answered, all others being 429."""
    through = 0
    async with Client(gate.address) as client:
        for _ in range(times):
            answer = await client.exchange(get(CONTACTS, line))
            assert answer.status in {200, 429}, answer.body
            through += answer.status == 200
    return through


async def used(gate: Gateway, line: str, whose: str = "organization", period: str = "month") -> int:
    usage = await granted(gate, get("/api/auth/usage", line))
    found: int = usage[whose][period]["used"]
    return found


async def test_past_its_quota_a_key_is_429_until_the_period_ends(
    world: World, start: Start, upstream: Upstream
) -> None:
    gate = await start(world.url, quotas=True, quota={**SOON, "key_month": 5})
    assert await passed(gate, by_key(world), 8) == 5
    assert len(upstream.requests) == 5
    answer = await ask(gate, get(CONTACTS, by_key(world)))
    is_refusal(answer, 429)
    ends = window(Period.MONTH, datetime.now(UTC).timestamp()).ends
    assert "quota of 5 requests a month" in answer.json()["message"]
    assert datetime.fromtimestamp(ends, UTC).isoformat().replace("+00:00", "Z") in answer.json()["message"]
    left = int(answer.one("Retry-After") or 0)
    assert 0 < left <= 31 * 86_400
    assert answer.one("RateLimit-Policy") == '"api_key-month";q=5'
    assert answer.one("RateLimit") == f'"api_key-month";r=0;t={left}'
    # The organization's other callers go on, and what was refused was charged to nobody.
    assert await passed(gate, bearer(world.token(world.admin)), 3) == 3
    assert await used(gate, by_key(world)) == 8
    assert await used(gate, by_key(world), "api_key") == 5
    families = await metrics(gate)
    assert count(families["gateway_quotas_refused"]) == 4


async def test_what_a_quota_refuses_takes_nothing_of_rate_limits(world: World, start: Start) -> None:
    limits = {"network": "7/d", "organization": "6/d"}
    gate = await start(world.url, quotas=True, quota={**SOON, "key_month": 2}, limits=limits)
    assert await passed(gate, by_key(world), 9) == 2
    answer = await ask(gate, get(CONTACTS, by_key(world)))
    is_refusal(answer, 429)
    assert "quota of 2 requests a month" in answer.json()["message"]
    assert '"network";r=5;' in answer.all("RateLimit")[1]
    assert '"organization";r=4;' in answer.all("RateLimit")[1]
    assert await passed(gate, bearer(world.token(world.agent)), 6) == 4


async def test_an_organizations_quota_is_that_of_all_its_callers(world: World, start: Start) -> None:
    gate = await start(world.url, quotas=True, quota={**SOON, "organization_month": 6})
    agent, there = bearer(world.token(world.agent)), bearer(world.token(world.both, world.other))
    assert await passed(gate, by_key(world), 4) == 4
    assert await passed(gate, agent, 4) == 2
    assert await passed(gate, there, 4) == 4


async def test_signing_out_and_asking_for_the_usage_are_free(world: World, start: Start) -> None:
    gate = await start(world.url, quotas=True, quota={**SOON, "organization_month": 1})
    agent = bearer(world.token(world.agent))
    assert await passed(gate, agent, 2) == 1
    for _ in range(3):
        assert await used(gate, agent) == 1
    usage = await granted(gate, get("/api/auth/usage", agent))
    assert usage["api_key"] is None
    assert usage["organization"]["month"]["limit"] == 1
    assert usage["organization"]["month"]["remaining"] == 0
    assert usage["organization"]["day"]["limit"] is None
    assert usage["organization"]["day"]["remaining"] is None
    assert (await ask(gate, get("/api/auth/sessions", agent))).status == 200


async def test_without_quotas_nothing_is_hosted_and_nothing_counted(
    world: World, start: Start, upstream: Upstream
) -> None:
    gate = await start(world.url, quota={"key_month": 1})
    assert await passed(gate, by_key(world), 3) == 3
    assert (await ask(gate, get("/api/auth/usage", by_key(world)))).status == 200
    assert upstream.requests[-1].start == b"GET /api/auth/usage HTTP/1.1", "it is the upstream's path"
    assert await world.sql("SELECT * FROM gateway_quota_usage") == []


async def test_gateways_add_up_and_counts_survive_their_end(world: World, start: Start) -> None:
    quota = {**SOON, "key_month": 40}
    gates = [await start(world.url, quotas=True, quota=quota) for _ in range(2)]
    through = 0
    for _ in range(4):
        for gate in gates:
            through += await passed(gate, by_key(world), 3)
    await asyncio.gather(*(gate.stop() for gate in gates))
    ((row,),) = (
        await world.sql("SELECT used FROM gateway_quota_usage WHERE kind = 'api_key' AND period = 'month'"),
    )
    assert row["used"] == through == 24, "what was held is given back"
    after = await start(world.url, quotas=True, quota=quota)
    assert await used(after, by_key(world), "api_key") == 24
    assert await passed(after, by_key(world), 30) == 16


async def test_two_gateways_at_once_stay_within_the_stated_overshoot(world: World, start: Start) -> None:
    """Closed, a process lets through its slack beyond what the database has granted; refusals are 429 or 503."""
    most, slack = 120, 10
    quota = {**SOON, "key_month": most, "slack": slack, "store_away": "closed"}
    gates = [await start(world.url, quotas=True, quota=quota) for _ in range(2)]
    statuses: list[int] = []

    async def client(gate: Gateway) -> None:
        async with Client(gate.address) as one:
            statuses.extend([(await one.exchange(get(CONTACTS, by_key(world)))).status for _ in range(60)])

    async with asyncio.timeout(60):
        await asyncio.gather(*(client(gate) for gate in gates for _ in range(4)))

        async def spent() -> bool:
            statuses.append((await ask(gates[0], get(CONTACTS, by_key(world)))).status)
            return statuses[-1] == 429

        await eventually(spent)
    assert set(statuses) <= {200, 429, 503}
    # What the other gateway was granted last may be unused.
    assert most - 2 * slack <= statuses.count(200) <= most + 2 * slack


@pytest.mark.parametrize("away", ["open", "closed"])
async def test_without_the_database_open_goes_on_and_closed_is_503(
    world: World, start: Start, away: str
) -> None:
    async with road_to(world) as road:
        gate = await start(
            road.url,
            quotas=True,
            quota={**SOON, "key_month": 50, "slack": 6, "store_away": away},
            identity={"stale_seconds": 3600},
        )
        for so_far in (5, 10):
            assert await passed(gate, by_key(world), 5) == 5
            assert await used(gate, by_key(world), "api_key") == so_far
        await road.close()
        statuses = [(await ask(gate, get(CONTACTS, by_key(world)))).status for _ in range(60)]
        through = statuses.count(200)
        if away == "open":
            # It is certain that the quota is used up when this process alone has used what was left.
            assert through == 40
            assert set(statuses[40:]) == {429}
        else:
            assert 6 <= through < 40
            assert statuses[-1] == 503
            answer = await ask(gate, get(CONTACTS, by_key(world)))
            is_refusal(answer, 503)
        await road.open()

        async def settled() -> bool:
            with suppress(AssertionError):
                return await used(gate, by_key(world), "api_key") == 10 + through
            return False

        await eventually(settled)


async def test_a_quota_that_is_changed_counts_in_running_gateways(world: World, start: Start) -> None:
    gate = await start(world.url, quotas=True, quota={**SOON, "key_month": 2})
    assert await passed(gate, by_key(world), 4) == 2
    await world.store.set_quota(SubjectKind.API_KEY, world.api_key_id, Period.MONTH, 5)

    async def goes_on() -> bool:
        return await passed(gate, by_key(world), 1) == 1

    await eventually(goes_on)
    assert await passed(gate, by_key(world), 9) == 2
    await world.store.set_quota(SubjectKind.API_KEY, world.api_key_id, Period.MONTH, None)
    await eventually(goes_on)
    assert await passed(gate, by_key(world), 20) == 20


async def test_in_shadow_a_request_over_its_quota_goes_on_and_is_recorded(world: World, start: Start) -> None:
    gate = await start(world.url, quotas=True, quota={**SOON, "key_month": 2}, shadow=True)
    assert await passed(gate, by_key(world), 5) == 5
    families = await metrics(gate)
    assert count(families["gateway_shadow_denials"], reason="quota_exceeded") == 3


async def test_a_request_that_another_proxy_asks_about_is_charged(world: World, start: Start) -> None:
    groups: dict[str, Any] = {"trusted_proxies": ("127.0.0.1/32",), "decision": {"path": "/decisions"}}
    gate = await start(world.url, quotas=True, quota={**SOON, "key_month": 2}, **groups)
    question = get("/decisions/nginx", f"X-Original-URI: {CONTACTS}", "X-Original-Method: GET", by_key(world))
    assert [(await ask(gate, question)).status for _ in range(3)] == [200, 200, 403]
