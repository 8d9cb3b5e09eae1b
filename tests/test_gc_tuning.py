"""The garbage collector's watch: what stays is exempt, so that a pause is as long as what came since takes."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import pytest

from gateway.gc_tuning import LOOK_SECONDS, MANY, PAUSES, Collector
from tests.support.peers import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

KEPT = 300_000


class Loads:
    """Number of identities that were loaded, which the test sets, and the collector that asks for it."""

    def __init__(self) -> None:
        self.number = 0
        self.collector = Collector(self)

    def __call__(self) -> int:
        return self.number


@pytest.fixture
def loads() -> Iterator[Loads]:
    """Of a collector that watches this process, in which all is exempt that was there before."""
    counted = Loads()
    gc.collect()
    gc.freeze()
    gc.callbacks.append(counted.collector)
    yield counted
    gc.callbacks.remove(counted.collector)
    gc.unfreeze()


def test_what_a_long_full_collection_left_is_looked_at_no_more(loads: Loads) -> None:
    exempt = gc.get_freeze_count()
    kept = [[number] for number in range(KEPT)]
    gc.collect()
    assert len(gc.get_objects()) < KEPT / 5, "no more than a short collection looks at"
    assert gc.get_freeze_count() - exempt > len(kept) / 2


def test_after_a_short_one_nothing_is_exempt_that_may_become_garbage(loads: Loads) -> None:
    exempt = gc.get_freeze_count()
    gc.collect()
    assert gc.get_freeze_count() <= exempt


def test_what_is_exempt_is_freed_when_nothing_refers_to_it(loads: Loads) -> None:
    kept = [[number] for number in range(KEPT)]
    gc.collect()
    exempt = gc.get_freeze_count()
    kept.clear()
    assert gc.get_freeze_count() < exempt - KEPT / 2


async def test_identities_that_take_the_place_of_others_are_looked_at_a_few_at_a_time(loads: Loads) -> None:
    seen = sum(PAUSES.counts)
    loads.collector.look()
    await asyncio.sleep(2 * LOOK_SECONDS)
    assert sum(PAUSES.counts) == seen, "none came"
    loads.number += MANY
    async with asyncio.timeout(PATIENCE):
        while sum(PAUSES.counts) == seen:
            await asyncio.sleep(0.01)
    await asyncio.sleep(2 * LOOK_SECONDS)
    assert sum(PAUSES.counts) == seen + 1, "and none since"
