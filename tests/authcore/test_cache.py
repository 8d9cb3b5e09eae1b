"""The cache: bounded, fresh, one load for all, and nobody harmed by another's leaving."""

from __future__ import annotations

import asyncio

import pytest

from authcore.cache import Cache


class Source:
    """Counts loads, and answers when told to."""

    def __init__(self, answer: object = "value") -> None:
        self.loads = 0
        self.answer = answer
        self.gate = asyncio.Event()

    async def load(self) -> object:
        self.loads += 1
        await self.gate.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def make(seconds: float = 30, entries: int = 10, jitter: float = 0.1) -> Cache[str, object]:
    return Cache(seconds=seconds, entries=entries, jitter=jitter)


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_value_is_fresh_for_its_time_and_no_longer() -> None:
    cache = make(seconds=30, jitter=0)
    cache.put("a", 1, now=100)
    assert cache.get("a", 100) == 1
    assert cache.get("a", 129.999) == 1
    assert cache.get("a", 130) is None
    assert len(cache) == 0


def test_jitter_only_ever_shortens() -> None:
    cache = make(seconds=100, entries=1000, jitter=0.1)
    for number in range(1000):
        cache.put(str(number), number, now=0)
    assert all(cache.get(str(number), 89.9) == number for number in range(1000))
    alive = sum(cache.get(str(number), 95) is not None for number in range(1000))
    assert 300 < alive < 700
    assert not any(cache.get(str(number), 100) for number in range(1000))


def test_time_running_backwards_makes_stale_not_immortal() -> None:
    cache = make()
    cache.put("a", 1, now=1000)
    assert cache.get("a", 10) is None


def test_never_more_entries_than_allowed_and_the_least_recently_used_goes_first() -> None:
    cache = make(entries=3)
    for key in "abc":
        cache.put(key, key, 0)
    cache.get("a", 1)
    cache.put("d", "d", 1)
    assert len(cache) == 3
    assert cache.get("b", 1) is None
    assert cache.get("a", 1) == "a"


async def test_any_number_of_misses_is_one_load() -> None:
    cache, source = make(), Source()
    waiting = [asyncio.ensure_future(cache.fetch("a", 0, source.load)) for _ in range(200)]
    await settled()
    source.gate.set()
    assert await asyncio.gather(*waiting) == ["value"] * 200
    assert source.loads == 1
    assert await cache.fetch("a", 1, source.load) == "value"
    assert source.loads == 1


async def test_different_keys_do_not_wait_for_one_another() -> None:
    cache, slow, quick = make(), Source(), Source("quick")
    waiting = asyncio.ensure_future(cache.fetch("a", 0, slow.load))
    quick.gate.set()
    assert await cache.fetch("b", 0, quick.load) == "quick"
    slow.gate.set()
    assert await waiting == "value"


async def test_a_leader_who_leaves_neither_fails_nor_hangs_the_others() -> None:
    cache, source = make(), Source()
    leader = asyncio.ensure_future(cache.fetch("a", 0, source.load))
    await settled()
    followers = [asyncio.ensure_future(cache.fetch("a", 0, source.load)) for _ in range(5)]
    await settled()
    leader.cancel()
    followers[0].cancel()
    await settled()
    source.gate.set()
    assert await asyncio.wait_for(asyncio.gather(*followers[1:]), 1) == ["value"] * 4
    assert leader.cancelled()
    assert source.loads == 1


async def test_when_everybody_leaves_the_load_ends_and_its_failure_bothers_nobody() -> None:
    for answer in ("value", ValueError("nobody hears this")):
        cache, source = make(), Source(answer)
        waiting = asyncio.ensure_future(cache.fetch("a", 0, source.load))
        await settled()
        waiting.cancel()
        await settled()
        source.gate.set()
        await settled()
        assert cache.get("a", 1) == (None if isinstance(answer, ValueError) else "value")


async def test_an_exception_reaches_all_who_wait_and_is_not_remembered() -> None:
    cache, source = make(), Source(ValueError("no"))
    waiting = [asyncio.ensure_future(cache.fetch("a", 0, source.load)) for _ in range(10)]
    await settled()
    source.gate.set()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [str(one) for one in outcomes] == ["no"] * 10
    assert source.loads == 1
    source.answer = "better"
    assert await cache.fetch("a", 0, source.load) == "better"
    assert source.loads == 2


@pytest.mark.parametrize("everything", [False, True])
async def test_what_is_dropped_during_its_load_is_not_remembered(everything: bool) -> None:
    cache, old, new = make(), Source("old"), Source("new")
    first = asyncio.ensure_future(cache.fetch("a", 0, old.load))
    await settled()
    if everything:
        cache.clear()
    else:
        cache.drop("a")
    second = asyncio.ensure_future(cache.fetch("a", 0, new.load))
    await settled()
    old.gate.set()
    assert await first == "old"
    assert cache.get("a", 0) is None
    new.gate.set()
    assert await second == "new"
    assert cache.get("a", 0) == "new"
    assert new.loads == 1
