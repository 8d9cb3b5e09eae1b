"""Resolver: one lookup for all who ask, the last good addresses while there are no others, and names that move."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gateway.wire.dns_client import Lookup, LookupFailed, LookupTimedOut, NameAbsent
from gateway.wire.resolver import Resolver, ResolverLimits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PATIENCE = 10


async def settled() -> None:
    """Let the tasks that an answer wakes run."""
    for _ in range(5):
        await asyncio.sleep(0)


class Script:
    """Name servers that answer each lookup when the test says so, and what a resolver reports."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.open: asyncio.Queue[asyncio.Future[Lookup]] = asyncio.Queue()
        self.events: list[tuple[object, ...]] = []

    async def look_up(self, name: str) -> Lookup:
        self.asked.append(name)
        pending: asyncio.Future[Lookup] = asyncio.get_running_loop().create_future()
        await self.open.put(pending)
        return await pending

    async def answer(self, *addresses: str, ttl: float = 0, lacks: int = 0) -> None:
        """Answer the next lookup."""
        (await asyncio.wait_for(self.open.get(), PATIENCE)).set_result(Lookup(addresses, ttl, lacks))
        await settled()

    async def fail(self, error: LookupFailed) -> None:
        (await asyncio.wait_for(self.open.get(), PATIENCE)).set_exception(error)
        await settled()

    def changed(self, name: str, before: tuple[str, ...], after: tuple[str, ...]) -> None:
        self.events.append(("changed", name, before, after))

    def failed(self, name: str, error: LookupFailed, used: tuple[str, ...]) -> None:
        self.events.append(("failed", name, error.outcome, used))

    def recovered(self, name: str) -> None:
        self.events.append(("recovered", name))


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
async def resolver(script: Script) -> AsyncIterator[Resolver]:
    limits = ResolverLimits(fewest_seconds=0.0, most_seconds=0.0, stale_seconds=3600, gone_seconds=0.0)
    one = Resolver(script.look_up, limits, script)
    yield one
    one.close()


async def test_however_many_ask_there_is_one_lookup_of_a_name(resolver: Resolver, script: Script) -> None:
    asking = [asyncio.create_task(resolver.resolve(name)) for name in ("a.test", "A.test") * 50]
    await script.answer("10.0.0.1")
    assert set(await asyncio.gather(*asking)) == {("10.0.0.1",)}
    assert script.asked == ["a.test"]


async def test_a_caller_that_stops_waiting_ends_the_lookup_for_nobody_else(
    resolver: Resolver, script: Script
) -> None:
    impatient, patient = (asyncio.create_task(resolver.resolve("a.test")) for _ in range(2))
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.gather(impatient, return_exceptions=True)
    await script.answer("10.0.0.1")
    assert await patient == ("10.0.0.1",)
    assert script.asked == ["a.test"]


async def test_the_last_good_addresses_are_used_while_a_new_lookup_is_slow(
    resolver: Resolver, script: Script
) -> None:
    asking = asyncio.create_task(resolver.resolve("a.test"))
    await script.answer("10.0.0.1")
    await asking
    asking = asyncio.create_task(resolver.resolve("a.test"))
    held = await asyncio.wait_for(script.open.get(), PATIENCE)
    assert await asyncio.wait_for(asking, PATIENCE) == ("10.0.0.1",)
    held.set_result(Lookup(("10.0.0.2",), 60))


async def test_failures_keep_the_last_good_addresses_and_absence_ends_them(
    resolver: Resolver, script: Script
) -> None:
    followed: list[tuple[str, ...]] = []
    resolver.follow("a.test", followed.append)
    await script.answer("10.0.0.1")
    await script.fail(LookupTimedOut("silence"))
    await script.fail(LookupFailed("SERVFAIL"))
    await script.answer("10.0.0.1")
    await script.fail(NameAbsent("gone"))
    await script.fail(NameAbsent("gone"))
    await script.answer("10.0.0.2")
    await script.answer("10.0.0.2")
    assert followed == [("10.0.0.1",), (), ("10.0.0.2",)]
    assert script.events == [
        ("failed", "a.test", "timeout", ("10.0.0.1",)),
        ("failed", "a.test", "failed", ("10.0.0.1",)),
        ("recovered", "a.test"),
        ("failed", "a.test", "absent", ()),
        ("changed", "a.test", ("10.0.0.1",), ()),
        ("failed", "a.test", "absent", ()),
        ("recovered", "a.test"),
    ]
    assert resolver.outcomes == {"ok": 4, "absent": 2, "timeout": 1, "failed": 1}


@pytest.mark.parametrize("stale_seconds", [3600, 0])
async def test_addresses_of_a_family_whose_query_fails_are_used_for_as_long_as_others(
    script: Script, stale_seconds: float
) -> None:
    limits = ResolverLimits(fewest_seconds=0.0, most_seconds=0.0, stale_seconds=stale_seconds)
    resolver = Resolver(script.look_up, limits, script)
    for lacks, answered, used in (
        (0, ("10.0.0.1", "fd00::1"), {"10.0.0.1", "fd00::1"}),
        (4, ("fd00::2",), {"10.0.0.1", "fd00::2"} if stale_seconds else {"fd00::2"}),
        (0, ("fd00::2",), {"fd00::2"}),
        (4, ("fd00::3",), {"fd00::3"}),
    ):
        asking = asyncio.create_task(resolver.resolve("svc.test"))
        await script.answer(*answered, lacks=lacks)
        assert set(await asking) == used
    resolver.close()


async def test_another_order_is_no_change(resolver: Resolver, script: Script) -> None:
    followed: list[tuple[str, ...]] = []
    resolver.follow("a.test", followed.append)
    await script.answer("10.0.0.1", "10.0.0.2")
    await script.answer("10.0.0.2", "10.0.0.1")
    await script.answer("10.0.0.2")
    await script.answer("10.0.0.2")
    assert followed == [("10.0.0.1", "10.0.0.2"), ("10.0.0.2",)]


async def test_a_name_that_nobody_follows_is_looked_up_no_more(resolver: Resolver, script: Script) -> None:
    followed: list[tuple[str, ...]] = []
    ends = [resolver.follow("a.test", followed.append) for _ in range(2)]
    await script.answer("10.0.0.1")
    ends[0]()
    await script.answer("10.0.0.2")
    under_way = await asyncio.wait_for(script.open.get(), PATIENCE)
    ends[1]()
    under_way.set_result(Lookup(("10.0.0.3",), 0))
    await settled()
    assert followed == [("10.0.0.1",), ("10.0.0.1",), ("10.0.0.2",)]
    asked = len(script.asked)
    await asyncio.sleep(0.05)
    assert len(script.asked) == asked


@pytest.mark.parametrize(
    ("host", "address"),
    [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("127.1", "127.0.0.1"), ("2130706433", "127.0.0.1")],
)
async def test_an_address_is_nobodys_to_ask_about(
    resolver: Resolver, script: Script, host: str, address: str
) -> None:
    assert await resolver.resolve(host) == (address,)
    assert script.asked == []


async def test_a_resolver_that_is_closed_answers_at_once(resolver: Resolver, script: Script) -> None:
    resolver.close()
    with pytest.raises(LookupFailed):
        await asyncio.wait_for(resolver.resolve("a.test"), PATIENCE)
    assert script.asked == []
