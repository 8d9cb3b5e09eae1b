"""The runbook's entries on a node that is drained, and an upstream that is down, on two gateways under traffic."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tests.runbook.page import carried_out
from tests.runbook.people import CONTACTS, People
from tests.support.admin import ask_admin
from tests.support.calls import ask_at, bearer, get
from tests.support.peers import PATIENCE, Client
from tests.support.programs import program

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.runbook.site import Site, Sites, Whatomate
    from tests.support.worlds import World


@asynccontextmanager
async def traffic(site: Site, token: str) -> AsyncIterator[Counter[str]]:
    """Ask without end whichever gateway is ready, as a balancer does; yield what became of the requests, counted."""
    outcomes: Counter[str] = Counter()

    async def ask() -> None:
        for replica in site.up:
            try:
                status, _ = await ask_admin(replica.admin, "/readyz")
                client = await Client(replica.address).__aenter__()
            except OSError:
                continue  # nobody listens any more: a balancer goes on to the next one
            try:
                if status == 200:
                    answer = await client.exchange(get(CONTACTS, bearer(token)))
                    outcomes[str(answer.status)] += 1
            except (OSError, asyncio.IncompleteReadError) as error:
                outcomes[f"lost: {error!r}"] += 1
            finally:
                await client.__aexit__(None, None, None)

    is_over = asyncio.Event()

    async def keep_asking() -> None:
        while not is_over.is_set():  # Python 3.11 may lose a cancellation in `wait_for`
            await ask()
            await asyncio.sleep(0.01)  # what it has to share is a machine

    tasks = [asyncio.ensure_future(keep_asking()) for _ in range(3)]
    try:
        yield outcomes
    finally:
        is_over.set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_drained_node_is_unready_first_and_loses_nothing(
    world: World, site: Sites, whatomate: Whatomate
) -> None:
    one = await site(world.url, GATEWAY_TIMEOUT_DRAIN_DELAY_SECONDS="5", GATEWAY_TIMEOUT_DRAIN_SECONDS="20")
    leaving = one.replicas[0]
    one.variables["NODE"] = leaving.name
    people = People(one, world)
    line = bearer((await people.sign_in(leaving)).access)
    served_unready: list[tuple[int, str | None]] = []

    async def watch() -> None:
        async with asyncio.timeout(PATIENCE):
            while (await ask_admin(leaving.admin, "/readyz"))[0] == 200:
                await asyncio.sleep(0.01)
        answer = await ask_at(leaving.address, get(CONTACTS, line))
        served_unready.append((answer.status, answer.one("Connection")))
        whatomate.slow.set()

    async with traffic(one, people.tokens[0]) as outcomes, Client(leaving.address) as client:
        await client.send(get("/api/slow", line))
        async with asyncio.timeout(PATIENCE):
            await whatomate.asked_slowly.wait()
        ready, drain, back = carried_out()["Drain a node"]
        await one.carry_out([ready])
        watching = asyncio.ensure_future(watch())
        await one.carry_out([drain])
        await watching
        assert served_unready == [(200, "close")]
        assert (await client.response()).status == 200
        before = outcomes["200"]
        async with asyncio.timeout(PATIENCE):
            while outcomes["200"] < before + 10:
                await asyncio.sleep(0.01)
        await one.carry_out([back])
    assert set(outcomes) == {"200"}, outcomes


async def test_an_upstream_that_is_down_is_502_and_comes_back_by_itself(
    world: World, site: Sites, whatomate: Whatomate
) -> None:
    program("curl")
    one = await site(world.url)
    people = People(one, world)
    line = bearer((await people.sign_in(one.replicas[0])).access)
    await whatomate.upstream.__aexit__(None, None, None)

    async def come_back() -> None:
        await whatomate.upstream.__aenter__()

    one.hands["kubectl rollout restart deployment/whatomate"] = come_back

    async def statuses() -> list[int]:
        return [await people.status(replica, line, CONTACTS) for replica in one.up]

    assert await statuses() == [502, 502]
    await people.everybody_is_known()
    assert [(await ask_admin(replica.admin, "/readyz"))[0] for replica in one.up] == [200, 200]
    await one.carry_out(carried_out()["The upstream is down"])
    assert await statuses() == [200, 200]
