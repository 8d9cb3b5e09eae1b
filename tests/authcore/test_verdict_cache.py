"""The memory of verdicts: one load for all, nothing back that a change has dropped, and what stands in."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from authcore.errors import AuthError, StoreUnavailable, UserDisabled
from authcore.identity.verdict import Verdict
from authcore.identity.verdict_cache import Limits, VerdictCache
from authcore.principal import AuthMethod, Principal
from authcore.store.rows import Change

if TYPE_CHECKING:
    from collections.abc import Callable

ADA, BOB, HOME, OTHER = (UUID(int=number) for number in range(1, 5))
KEY = b"k" * 16


class Store:
    """Store of a load; it answers when the test lets it, with what was so when it was asked."""

    def __init__(self, user: UUID = ADA) -> None:
        self.loads = 0
        self.user = user
        self.answer: Exception | type[AuthError] | str = "Ada"
        self.gate = asyncio.Event()
        self.gate.set()

    async def load(self) -> Verdict:
        self.loads += 1
        answer = self.answer
        await self.gate.wait()
        if isinstance(answer, Exception):
            raise answer
        rows = frozenset({self.user, HOME})
        if isinstance(answer, str):
            return Verdict(rows, Principal(AuthMethod.JWT, user_id=self.user, name=answer))
        return Verdict(rows, refusal=answer)


def make(**limits: float) -> VerdictCache:
    return VerdictCache(Limits(**{"cache_seconds": 30, "cache_entries": 100, **limits}))  # type: ignore[arg-type]  # counts


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def figure(memory: VerdictCache, name: str) -> float:
    return {one.name: one.read() for one in memory.figures()}[name]


async def test_of_many_who_miss_one_key_one_loads() -> None:
    memory, store = make(), Store()
    store.gate.clear()
    asking = [asyncio.ensure_future(memory.fetch(KEY, 0, store.load)) for _ in range(200)]
    await settled()
    store.gate.set()
    assert len({id(one) for one in await asyncio.gather(*asking)}) == 1
    assert store.loads == 1
    assert memory.recall(KEY, 1) is asking[0].result()


async def test_a_caller_that_leaves_takes_nothing_from_the_others() -> None:
    memory, store = make(), Store()
    store.gate.clear()
    first, second = (asyncio.ensure_future(memory.fetch(KEY, 0, store.load)) for _ in range(2))
    await settled()
    first.cancel()
    await settled()
    store.gate.set()
    assert (await second).name == "Ada"
    assert store.loads == 1


async def test_a_failure_reaches_all_and_is_not_remembered() -> None:
    memory, store = make(), Store()
    store.answer = StoreUnavailable()
    store.gate.clear()
    asking = [asyncio.ensure_future(memory.fetch(KEY, 0, store.load)) for _ in range(3)]
    await settled()
    store.gate.set()
    outcomes = await asyncio.gather(*asking, return_exceptions=True)
    assert all(isinstance(one, StoreUnavailable) for one in outcomes)
    store.answer = "Ada"
    assert (await memory.fetch(KEY, 0, store.load)).name == "Ada"


async def test_a_load_that_nobody_awaits_any_more_fails_in_silence() -> None:
    memory, store = make(), Store()
    store.answer = RuntimeError("nobody is there")
    store.gate.clear()
    asking = asyncio.ensure_future(memory.fetch(KEY, 0, store.load))
    await settled()
    asking.cancel()
    await settled()
    store.gate.set()
    await settled()
    assert figure(memory, "loads_in_flight") == 0


async def test_a_refusal_is_recalled_and_gives_way_to_a_change() -> None:
    memory, store = make(refused_seconds=5), Store()
    store.answer = UserDisabled
    with pytest.raises(UserDisabled):
        await memory.fetch(KEY, 0, store.load)
    with pytest.raises(UserDisabled):
        memory.recall(KEY, 4)
    assert memory.recall(KEY, 5) is None
    with pytest.raises(UserDisabled):
        memory.recall(KEY, 1)
    memory.hear(Change(rows=(ADA,)))
    assert memory.recall(KEY, 1) is None


CHANGES: dict[str, Callable[[VerdictCache], None]] = {
    "the user": lambda memory: memory.hear(Change(rows=(ADA,))),
    "the organization": lambda memory: memory.hear(Change(rows=(BOB, HOME))),
    "the membership": lambda memory: memory.hear(Change(memberships=((ADA, HOME),))),
    "everything": lambda memory: memory.hear(Change(everything=True)),
    "a gap's begin": VerdictCache.begin_gap,
    "a gap's end": VerdictCache.end_gap,
}
ELSEWHERE: dict[str, Callable[[VerdictCache], None]] = {
    "another user": lambda memory: memory.hear(Change(rows=(BOB, OTHER))),
    "another membership": lambda memory: memory.hear(Change(memberships=((ADA, OTHER), (BOB, HOME)))),
    "a key": lambda memory: memory.hear(Change(rows=(UUID(int=9),), of_keys=True)),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_drops_what_depended_on_it(name: str) -> None:
    memory, store = make(), Store()
    await memory.fetch(KEY, 0, store.load)
    CHANGES[name](memory)
    assert memory.recall(KEY, 1) is None


@pytest.mark.parametrize("name", ELSEWHERE)
async def test_a_change_elsewhere_drops_nothing(name: str) -> None:
    memory, store = make(), Store()
    await memory.fetch(KEY, 0, store.load)
    ELSEWHERE[name](memory)
    assert memory.recall(KEY, 1) is not None


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("was", ["Ada", UserDisabled])
async def test_a_load_that_a_change_overtakes_is_not_kept_nor_given_to_who_asked_after(
    name: str, was: str | type[AuthError]
) -> None:
    memory, store = make(), Store()
    store.answer = was
    store.gate.clear()
    before = asyncio.ensure_future(memory.fetch(KEY, 0, store.load))
    await settled()
    CHANGES[name](memory)
    store.answer = "Ada, changed"
    after = asyncio.ensure_future(memory.fetch(KEY, 0, store.load))
    await settled()
    assert store.loads == 1  # who asked after waits for the load under way, and sees that it is overtaken
    store.gate.set()
    assert (await after).name == "Ada, changed"
    if isinstance(was, str):
        assert (await before).name == was
    else:
        with pytest.raises(was):
            await before
    recalled = memory.recall(KEY, 1)
    assert recalled is not None
    assert recalled.name == "Ada, changed"


# A membership elsewhere of the very user does overtake: what is being loaded for them is not known yet.
@pytest.mark.parametrize("name", ["another user", "a key"])
async def test_a_load_beside_which_others_change_is_kept(name: str) -> None:
    memory, store = make(), Store()
    store.gate.clear()
    asking = asyncio.ensure_future(memory.fetch(KEY, 0, store.load))
    await settled()
    for _ in range(1000):
        ELSEWHERE[name](memory)
    store.gate.set()
    await asking
    assert memory.recall(KEY, 1) is not None


async def test_a_storm_of_changes_ends_in_an_answer() -> None:
    """Each load is overtaken; still nobody loads more than twice."""
    memory, store = make(), Store()

    async def stormy() -> Verdict:
        verdict = await store.load()
        memory.hear(Change(rows=(ADA,)))
        return verdict

    asking = [asyncio.ensure_future(memory.fetch(KEY, 0, stormy)) for _ in range(10)]
    assert {one.name for one in await asyncio.gather(*asking)} == {"Ada"}
    assert store.loads <= 2
    assert memory.recall(KEY, 1) is None


# -- an outage ----------------------------------------------------------------------------------------------------


async def out(memory: VerdictCache, now: float) -> Principal:
    store = Store()
    store.answer = StoreUnavailable()
    return await memory.fetch(KEY, now, store.load)


async def test_in_an_outage_the_known_go_on_for_their_time_and_say_so() -> None:
    memory, store = make(stale_seconds=300), Store()
    assert not (await memory.fetch(KEY, 0, store.load)).is_stale
    stale = await out(memory, 31)
    assert (stale.name, stale.is_stale) == ("Ada", True)
    assert await out(memory, 300) is stale  # one object, so what is derived from it is derived once
    assert memory.recall(KEY, 31) is None  # never as if it were fresh
    with pytest.raises(StoreUnavailable):
        await out(memory, 330)
    store.answer = "Ada again"
    back = await memory.fetch(KEY, 31, store.load)
    assert (back.name, back.is_stale) == ("Ada again", False)
    assert figure(memory, "stale") == 2


async def test_without_stale_seconds_nobody_goes_on() -> None:
    memory, store = make(stale_seconds=0), Store()
    await memory.fetch(KEY, 0, store.load)
    memory.begin_gap()
    with pytest.raises(StoreUnavailable):
        await out(memory, 1)


@pytest.mark.parametrize("name", sorted(set(CHANGES) - {"a gap's begin"}))
async def test_in_an_outage_a_caller_that_may_have_been_revoked_does_not_go_on(name: str) -> None:
    memory, store = make(stale_seconds=300), Store()
    await memory.fetch(KEY, 0, store.load)
    memory.begin_gap()
    assert (await out(memory, 1)).is_stale
    CHANGES[name](memory)
    with pytest.raises(StoreUnavailable):
        await out(memory, 1)


async def test_in_an_outage_a_caller_that_was_refused_since_does_not_go_on() -> None:
    memory, store = make(stale_seconds=300, refused_seconds=5), Store()
    await memory.fetch(KEY, 0, store.load)
    store.answer = UserDisabled
    with pytest.raises(UserDisabled):
        await memory.fetch(KEY, 31, store.load)
    with pytest.raises(StoreUnavailable):
        await out(memory, 40)


async def test_nobody_is_refused_by_a_memory_that_is_past_its_time() -> None:
    memory, store = make(stale_seconds=300, refused_seconds=5), Store()
    store.answer = UserDisabled
    with pytest.raises(UserDisabled):
        await memory.fetch(KEY, 0, store.load)
    with pytest.raises(StoreUnavailable):
        await out(memory, 6)


async def test_an_outage_that_ends_while_one_waits_is_worth_another_try() -> None:
    memory, store = make(stale_seconds=300), Store()
    await memory.fetch(KEY, 0, store.load)
    memory.begin_gap()
    store.answer = StoreUnavailable()
    store.gate.clear()
    asking = asyncio.ensure_future(memory.fetch(KEY, 1, store.load))
    await settled()
    memory.end_gap()
    store.answer = "Ada, after"
    store.gate.set()
    assert (await asking).name == "Ada, after"


# -- organizations that are asked for and ignored


async def ask_elsewhere(memory: VerdictCache, store: Store, number: int, now: float = 0) -> Principal:
    """Ask with the credential of KEY for organization `number`, which is ignored."""

    async def load() -> Verdict:
        verdict = await store.load()
        return replace(verdict, rows=verdict.rows | {UUID(int=number)}, alias_of=KEY)

    return await memory.fetch(number.to_bytes(16, "big"), now, load)


async def test_ignored_organizations_share_the_credentials_principal_and_evict_nothing() -> None:
    memory, store = make(cache_entries=3, refused_entries=50), Store()
    bob = await memory.fetch(b"b" * 16, 0, Store(BOB).load)
    first = await ask_elsewhere(memory, store, 1000)
    assert memory.recall(KEY, 1) is first
    for number in range(1001, 1500):
        assert await ask_elsewhere(memory, store, number) is first
        assert memory.recall(number.to_bytes(16, "big"), 1) is first
    assert memory.recall(b"b" * 16, 1) is bob
    assert [figure(memory, name) for name in ("entries", "evicted", "ignored", "refusals")] == [2, 0, 50, 0]


@pytest.mark.parametrize(
    "change",
    [
        Change(memberships=((ADA, UUID(int=1000)),)),
        Change(rows=(UUID(int=1000),)),
        Change(rows=(ADA,)),
        Change(everything=True),
    ],
    ids=["the membership", "the organization", "the user", "everything"],
)
async def test_an_alias_of_an_ignored_organization_is_dropped_when_a_row_of_its_verdict_changes(
    change: Change,
) -> None:
    memory, store = make(), Store()
    await ask_elsewhere(memory, store, 1000)
    memory.hear(change)
    assert memory.recall((1000).to_bytes(16, "big"), 1) is None


@pytest.mark.parametrize("gap", ["begin_gap", "end_gap"])
async def test_aliases_of_ignored_organizations_are_not_used_in_a_gap(gap: str) -> None:
    memory, store = make(), Store()
    await ask_elsewhere(memory, store, 1000)
    getattr(memory, gap)()
    assert memory.recall((1000).to_bytes(16, "big"), 1) is None


async def test_an_organization_that_counts_after_a_change_gets_a_principal_of_its_own() -> None:
    memory, store, there = make(), Store(), (1000).to_bytes(16, "big")
    own = await ask_elsewhere(memory, store, 1000)
    memory.hear(Change(memberships=((ADA, UUID(int=1000)),)))
    store.answer = "Ada, elsewhere"
    assert (await memory.fetch(there, 1, store.load)).name == "Ada, elsewhere"
    recalled = memory.recall(there, 1)
    assert recalled is not None
    assert (recalled.name, own.name) == ("Ada, elsewhere", "Ada")


async def test_a_caller_whose_organization_is_ignored_is_served_during_an_outage_of_the_store() -> None:
    memory, store = make(stale_seconds=300), Store()
    await ask_elsewhere(memory, store, 1000)
    memory.begin_gap()
    store.answer = StoreUnavailable()
    stale = await ask_elsewhere(memory, store, 1000, 31)
    assert (stale.name, stale.is_stale) == ("Ada", True)
    memory.end_gap()
    with pytest.raises(StoreUnavailable):
        await ask_elsewhere(memory, store, 1000, 32)


async def test_a_flood_of_refusals_evicts_no_principal_and_is_bounded() -> None:
    memory, store = make(cache_entries=3, refused_entries=50), Store()
    await memory.fetch(KEY, 0, store.load)
    store.answer = UserDisabled
    for number in range(500):
        with pytest.raises(UserDisabled):
            await memory.fetch(number.to_bytes(16, "big"), 0, store.load)
    assert memory.recall(KEY, 1) is not None
    assert (figure(memory, "entries"), figure(memory, "refusals")) == (1, 50)
