"""Quotas in PostgreSQL: the one statement that settles a batch, held against its plainest reading."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final
from uuid import UUID, uuid4

import pytest

from authcore.errors import ApiKeyUnknown, OrganizationUnknown
from authcore.quotas import Ask, Batch, Period, QuotaKey, Standing, SubjectKind, Usual, window
from authcore.store.quotas import KEEP_DAYS
from tests.support.domain import NOW
from tests.support.worlds import populated

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from authcore.store.postgres import PostgresStore
    from tests.support.worlds import World

USUAL: Final[Usual] = {(SubjectKind.ORGANIZATION, Period.DAY): 100}
DAY: Final = window(Period.DAY, NOW).starts


@pytest.fixture
async def world(migrated_url: str) -> AsyncIterator[World]:
    """Organizations and an API key."""
    async with populated(migrated_url) as one:
        yield one


def key_of(
    subject: UUID, period: Period = Period.DAY, kind: SubjectKind = SubjectKind.ORGANIZATION
) -> QuotaKey:
    return QuotaKey(kind, subject, period, window(period, NOW).starts)


async def settled(
    store: PostgresStore, where: QuotaKey, number: int, debt: int, wanted: int, process: UUID
) -> Standing:
    answer = await store.settle_quotas(process, Batch(number, (Ask(where, debt, wanted),)), USUAL)
    return answer[where]


async def test_a_batch_counts_debts_grants_leases_and_takes_them_back(world: World) -> None:
    where, one, other = key_of(world.home), uuid4(), uuid4()
    # A quarter of what is left at most, rounded up.
    assert await settled(world.store, where, 1, 20, 200, one) == Standing(40, 20, 100)
    assert await settled(world.store, where, 1, 0, 5, other) == Standing(45, 5, 100)
    assert await settled(world.store, where, 2, -15, 0, one) == Standing(30, 0, 100)
    assert await settled(world.store, where, 2, 69, 9, other) == Standing(100, 1, 100)
    # What was let through is counted, even beyond the quota; leases are not.
    assert await settled(world.store, where, 3, 7, 9, one) == Standing(107, 0, 100)


async def test_a_batch_that_is_sent_again_counts_once(world: World) -> None:
    where, one = key_of(world.home), uuid4()
    assert await settled(world.store, where, 1, 3, 4, one) == Standing(7, 4, 100)
    assert await settled(world.store, where, 1, 3, 4, one) == Standing(7, 0, 100)
    assert await settled(world.store, where, 1, 3, 4, uuid4()) == Standing(14, 4, 100)


async def test_batches_at_once_add_up_and_never_lease_beyond_the_quota(world: World) -> None:
    keys = [key_of(world.home), key_of(world.other), key_of(world.home, Period.MONTH)]

    async def process() -> int:
        one, granted = uuid4(), 0
        for number in range(1, 9):
            asks = tuple(Ask(where, 1, 7) for where in keys)
            answers = await world.store.settle_quotas(one, Batch(number, asks), USUAL)
            assert all(one.granted == 0 or one.used <= 100 for one in answers.values() if one.most)
            granted += answers[keys[0]].granted
        return granted

    async with asyncio.timeout(60):
        granted = sum(await asyncio.gather(*(process() for _ in range(6))))
    standings = await world.store.quota_standings(keys, USUAL)
    assert standings[keys[0]].used == 6 * 8 + granted
    assert standings[keys[1]].used >= 100
    assert standings[keys[2]] == Standing(6 * 8 * (1 + 7), 0, None)


async def test_a_quota_of_its_own_counts_before_that_of_the_settings(world: World) -> None:
    where, store = key_of(world.home), world.store
    await store.set_quota(SubjectKind.ORGANIZATION, world.home, Period.DAY, 5)
    assert (await settled(store, where, 1, 1, 0, uuid4())).most == 5
    await store.set_quota(SubjectKind.ORGANIZATION, world.home, Period.DAY, None)
    assert (await settled(store, where, 1, 1, 9, uuid4())) == Standing(11, 9, None)
    assert await store.clear_quotas(SubjectKind.ORGANIZATION, world.home, [*Period]) == [Period.DAY]
    assert await store.clear_quotas(SubjectKind.ORGANIZATION, world.home, [*Period]) == []
    assert (await settled(store, where, 1, 1, 0, uuid4())).most == 100


async def test_quotas_are_of_subjects_that_are_there(world: World) -> None:
    with pytest.raises(OrganizationUnknown):
        await world.store.set_quota(SubjectKind.ORGANIZATION, world.api_key_id, Period.DAY, 5)
    with pytest.raises(ApiKeyUnknown):
        await world.store.set_quota(SubjectKind.API_KEY, world.home, Period.DAY, 5)
    await world.sql("UPDATE api_keys SET deleted_at = now() WHERE id = $1", world.api_key_id)
    with pytest.raises(ApiKeyUnknown):
        await world.store.set_quota(SubjectKind.API_KEY, world.api_key_id, Period.DAY, 5)


async def test_an_organizations_list_has_its_keys_and_nobody_elses(world: World) -> None:
    store = world.store
    await store.set_quota(SubjectKind.API_KEY, world.api_key_id, Period.DAY, 5)
    await settled(store, key_of(world.home), 1, 3, 0, uuid4())
    await settled(store, key_of(world.other), 1, 4, 0, uuid4())
    yesterday = key_of(world.home)._replace(starts=DAY - 86_400)
    await settled(store, yesterday, 1, 9, 0, uuid4())
    month = window(Period.MONTH, NOW).starts
    home = await store.list_quotas(world.home, DAY, month)
    assert [(row.kind, row.subject, row.used, row.is_own, row.most) for row in home] == [
        (SubjectKind.ORGANIZATION, world.home, 3, False, None),
        (SubjectKind.API_KEY, world.api_key_id, 0, True, 5),
    ]
    assert [row.name for row in home] == ["Home", "tests"]
    assert {row.subject for row in await store.list_quotas(None, DAY, month)} == {
        world.home,
        world.api_key_id,
        world.other,
    }


async def test_a_list_leaves_no_quota_out(world: World) -> None:
    await world.sql(
        "INSERT INTO gateway_quotas (kind, subject, period, most) "
        "SELECT 'api_key', gen_random_uuid(), 'day', 5 FROM generate_series(1, 1500)"
    )
    assert len(await world.store.list_quotas(None, DAY, window(Period.MONTH, NOW).starts)) == 1500


async def test_a_deleted_key_is_listed_without_its_name(world: World) -> None:
    await world.store.set_quota(SubjectKind.API_KEY, world.api_key_id, Period.DAY, 5)
    await world.sql("UPDATE api_keys SET deleted_at = now() WHERE id = $1", world.api_key_id)
    (row,) = await world.store.list_quotas(None, DAY, window(Period.MONTH, NOW).starts)
    assert (row.subject, row.name) == (world.api_key_id, "")


async def test_more_leases_than_are_counted_take_nothing_below_zero(world: World) -> None:
    where, one = key_of(world.home), uuid4()
    assert await settled(world.store, where, 1, 3, 0, one) == Standing(3, 0, 100)
    assert await settled(world.store, where, 2, -5, 0, one) == Standing(0, 0, 100)


async def test_the_number_of_a_process_is_forgotten_when_it_is_silent_for_a_week(world: World) -> None:
    for _ in range(2):
        await settled(world.store, key_of(world.home), 1, 3, 0, uuid4())
    await world.sql("UPDATE gateway_quota_batches SET seen_at = now() - interval '6 days'")
    await world.sql(
        "UPDATE gateway_quota_batches SET seen_at = now() - interval '8 days' "
        "WHERE process = (SELECT process FROM gateway_quota_batches LIMIT 1)"
    )
    await world.store.purge_quotas(NOW)
    assert len(await world.sql("SELECT FROM gateway_quota_batches")) == 1


async def test_windows_that_are_long_over_are_deleted(world: World) -> None:
    old = key_of(world.home)._replace(starts=DAY - (KEEP_DAYS + 2) * 86_400)
    await settled(world.store, old, 1, 3, 0, uuid4())
    await settled(world.store, key_of(world.home), 1, 3, 0, uuid4())
    assert await world.store.purge_quotas(NOW) == 1
    assert (await world.store.quota_standings([key_of(world.home)], USUAL))[key_of(world.home)].used == 3
