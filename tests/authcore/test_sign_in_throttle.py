"""Attempts at a password: counted before they are made, judged alike by every replica, forgiven by success."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authcore.errors import LoginRejected, Overloaded, StoreUnavailable, Throttled
from authcore.networks import network
from authcore.sign_in_throttle import SignInThrottle
from authcore.store.attempt_rows import AttemptLimits, NewAttempt, Reservation
from tests.support.databases import execute, finish
from tests.support.domain import NOW, PASSWORD, World, open_store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from authcore.fair_queue import Lane
    from authcore.store.postgres import PostgresStore

HOME, AWAY = "192.0.2.1", "198.51.100.7"
UNHELD = AttemptLimits(hold_seconds=0)


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


async def ask(
    store: PostgresStore,
    email: str = "user@example.com",
    address: str = AWAY,
    now: float = NOW,
    limits: AttemptLimits = UNHELD,
) -> Reservation:
    attempt = NewAttempt(
        email=email,
        address=address,
        network=network(address),
        at=moment(now),
        known_since=moment(now - 1000),
    )
    return await store.reserve_attempt(attempt, limits)


async def wrong(world: World, number: int, now: float = NOW, address: str = AWAY) -> None:
    for _ in range(number):
        with pytest.raises(LoginRejected):
            await world.login(password="wrong", now=now, address=address)


# -- the law, against a model -------------------------------------------------------------------------------------


@dataclass
class Bucket:
    free: int
    limits: AttemptLimits
    level: float = 0
    seen: float = -math.inf
    open: float = -math.inf

    def is_shut(self, now: float) -> bool:
        return self.open > now + self.limits.hold_seconds

    def count(self, now: float) -> float:
        leaked = (
            0.0
            if self.seen == -math.inf
            else max(0, now - self.seen) * self.free / self.limits.window_seconds
        )
        self.level, self.seen = 1 + max(0, self.level - leaked), now
        slot = max(now, self.open)
        over = math.ceil(self.level) - self.free
        delay = 0 if over < 0 else min(self.limits.delay_max_seconds, self.limits.delay_seconds * 2**over)
        self.open = slot + delay if delay else -math.inf
        return slot - now

    def take(self, level: float) -> None:
        left = self.level - level
        if math.ceil(left) < self.free:
            self.open = -math.inf
        self.level = max(0, left)


@dataclass
class Model:
    limits: AttemptLimits
    buckets: dict[object, Bucket] = field(default_factory=dict)
    known: set[object] = field(default_factory=set)

    def attempt(self, email: str, address: str, now: float, *, succeeds: bool) -> float | None:
        """Seconds to wait; None when refused."""
        passes = (email, address) in self.known
        keys: list[object] = [address] + ([] if passes else [email]) + [(email, address)]
        asked = [
            self.buckets.setdefault(
                key,
                Bucket(
                    self.limits.address_free_failures if key == address else self.limits.free_failures,
                    self.limits,
                ),
            )
            for key in keys
        ]
        if passes and asked[0].is_shut(now):
            asked, shares = asked[1:], 0
        else:
            shares = 1
        if any(bucket.is_shut(now) for bucket in asked):
            return None
        wait = max(bucket.count(now) for bucket in asked)
        if succeeds:
            pair = asked[-1].level
            for bucket, share in zip(asked, [1] * shares + [pair] * (len(asked) - shares), strict=True):
                bucket.take(share)
            self.known.add((email, address))
        return wait


step = st.tuples(
    st.integers(0, 2),
    st.integers(0, 1),
    st.floats(0, 4000, allow_nan=False).map(lambda seconds: round(seconds, 3)) | st.integers(0, 3).map(float),
    st.sampled_from([False, False, False, True]),
)


@given(steps=st.lists(step, max_size=40), hold=st.sampled_from([0.0, 2.0]))
@settings(max_examples=30, deadline=None)
def test_the_database_judges_as_the_model_does(
    shared_url: str, steps: Sequence[tuple[int, int, float, bool]], hold: float
) -> None:
    limits = AttemptLimits(free_failures=3, address_free_failures=6, hold_seconds=hold, known_seconds=1e7)
    finish(follow(shared_url, steps, limits))


async def follow(url: str, steps: Sequence[tuple[int, int, float, bool]], limits: AttemptLimits) -> None:
    store, model, now = await open_store(url), Model(limits), NOW
    here = uuid4().hex
    try:
        for number, (who, where, later, succeeds) in enumerate(steps):
            now += later
            email, address = f"user{who}@{here}", f"{where}.{here}"
            attempt = NewAttempt(
                email=email, address=address, network=address, at=moment(now), known_since=moment(now - 1e7)
            )
            turn = await store.reserve_attempt(attempt, limits)
            expected = model.attempt(email, address, now, succeeds=succeeds)
            assert (turn.reserved is None) == (expected is None), (number, turn, expected)
            if turn.reserved is not None:
                assert turn.wait_seconds == pytest.approx(expected, abs=0.01)
                if succeeds:
                    await store.forgive_attempts(turn.reserved, moment(now), limits)
    finally:
        await store.close()


# -- waiting ------------------------------------------------------------------------------------------------------


async def test_the_wait_doubles_up_to_its_cap_and_is_told(world: World) -> None:
    limits = AttemptLimits(hold_seconds=0, delay_max_seconds=60)
    now, waits = NOW, []
    for _ in range(13):
        turn = await ask(world.store, now=now, limits=limits)
        assert turn.reserved is not None
        refused = await ask(world.store, now=now, limits=limits)
        waits.append(0 if refused.reserved else round(refused.wait_seconds))
        now += waits[-1]
    # Every second call of the first three was free as well: five in all.
    assert waits == [0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60]


async def test_a_short_wait_is_held_and_a_longer_one_refused(world: World) -> None:
    world.limit_attempts(AttemptLimits(delay_seconds=0.05, hold_seconds=0.06))
    await world.user(await world.organization())
    await wrong(world, 6)  # the sixth is held
    before = world.passwords.pool.started
    with pytest.raises(Throttled, match=r"try again in 1 second$") as refused:
        await world.login(address=AWAY)
    assert refused.value.retry_after_seconds == 1
    assert world.passwords.pool.started == before  # a refused attempt costs no bcrypt


async def test_a_bucket_leaks_and_an_empty_one_is_forgotten(world: World) -> None:
    for _ in range(5):
        assert (await ask(world.store)).reserved
    assert not (await ask(world.store)).reserved
    assert (await ask(world.store, now=NOW + 3700)).reserved
    assert await world.store.purge_attempts(moment(NOW + 10 * 3600), moment(NOW)) > 0
    assert await world.sql("SELECT FROM gateway_sign_in_failures") == []


async def test_a_replica_whose_clock_is_behind_fills_no_bucket_faster(world: World) -> None:
    for now in (NOW, NOW - 60, NOW, NOW - 60, NOW - 60):
        assert (await ask(world.store, now=now)).reserved
    assert max(row["level"] for row in await world.sql("SELECT level FROM gateway_sign_in_failures")) <= 5


async def test_what_still_counts_is_not_purged(world: World) -> None:
    for _ in range(5):
        await ask(world.store)
    await world.store.purge_attempts(moment(NOW + 60), moment(NOW))
    assert len(await world.sql("SELECT FROM gateway_sign_in_failures WHERE level >= 5")) == 3
    assert not (await ask(world.store, now=NOW)).reserved


async def test_counters_survive_a_restart(world: World) -> None:
    await world.user(await world.organization())
    await wrong(world, 5)
    world.limit_attempts(UNHELD)  # as after a restart
    with pytest.raises(Throttled):
        await world.login(address=AWAY)


async def test_nothing_of_what_was_typed_is_kept(world: World) -> None:
    await ask(world.store, "my-password-by-mistake")
    rows = await world.sql("SELECT f::text FROM gateway_sign_in_failures f")
    assert len(rows) == 3
    assert not any("password" in row["f"] for row in rows)


# -- forgiving ----------------------------------------------------------------------------------------------------


async def test_success_forgives_the_failures_of_that_email_from_that_address(world: World) -> None:
    await world.user(await world.organization())
    for _ in range(3):
        await wrong(world, 4)
        await world.login(address=AWAY)


async def test_success_pays_for_no_guess_at_another_account(world: World) -> None:
    organization = await world.organization()
    await world.user(organization, "own@example.com")
    world.limit_attempts(AttemptLimits(address_free_failures=8, hold_seconds=0))
    tried = 0
    with pytest.raises(Throttled):  # noqa: PT012 - which of them is refused is the point
        for number in range(20):
            await world.login("own@example.com", address=AWAY)
            with pytest.raises(LoginRejected):
                await world.login(f"victim{number}@example.com", "guess", address=AWAY)
            tried += 1
    assert tried == 8


async def test_work_that_was_not_done_is_not_counted(world: World) -> None:
    attempts = SignInThrottle(world.store, UNHELD)

    async def overloaded(_: Lane) -> None:
        raise Overloaded

    for _ in range(20):
        with pytest.raises(Overloaded):
            await attempts.throttled(overloaded, email="user@example.com", address=AWAY, now=NOW)
    assert [row["level"] for row in await world.sql("SELECT level FROM gateway_sign_in_failures")] == [
        0,
        0,
        0,
    ]
    await attempts.purge(NOW)
    assert await world.sql("SELECT FROM gateway_sign_in_failures") == []


async def test_an_outage_while_the_password_is_looked_up_is_no_failure(world: World) -> None:
    attempts = SignInThrottle(world.store, UNHELD)

    async def away(_: Lane) -> None:
        raise StoreUnavailable

    async def wrong_one(_: Lane) -> UUID | None:
        return None

    for _ in range(20):
        with pytest.raises(StoreUnavailable):
            await attempts.throttled(away, email="user@example.com", address=AWAY, now=NOW)
    for _ in range(UNHELD.free_failures):  # and what does fail is counted from none
        assert await attempts.throttled(wrong_one, email="USER@example.com", address=AWAY, now=NOW) is None
    with pytest.raises(Throttled):
        await attempts.throttled(wrong_one, email="user@example.com", address=AWAY, now=NOW)


NO_ROOM = """
CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full';
END $$;
CREATE TRIGGER no_room BEFORE INSERT OR UPDATE ON gateway_sign_in_addresses EXECUTE FUNCTION no_room()
"""


async def test_a_right_password_that_could_not_be_forgiven_is_no_failure(world: World) -> None:
    """As on a full disk, where counters can be changed in place and an address cannot be added."""
    await world.user(await world.organization())
    await execute(world.url, NO_ROOM)
    for _ in range(20):
        with pytest.raises(StoreUnavailable):
            await world.login(address=AWAY)
    await wrong_or_away(world, 20)
    await world.sql("DROP TRIGGER no_room ON gateway_sign_in_addresses")
    await world.login(address=AWAY)
    assert {row["level"] for row in await world.sql("SELECT level FROM gateway_sign_in_failures")} <= {0}


async def wrong_or_away(world: World, number: int) -> None:
    """A wrong password is not looked at before what is owed is taken back."""
    for _ in range(number):
        with pytest.raises(StoreUnavailable):
            await world.login(password="wrong", address=AWAY)


async def test_sign_ins_at_once_with_the_right_password_all_succeed(world: World) -> None:
    await world.user(await world.organization())
    signed_in = await asyncio.gather(*(world.login(address=AWAY) for _ in range(20)))
    assert len(signed_in) == 20


# -- known addresses ----------------------------------------------------------------------------------------------


async def test_known_addresses_are_bounded_and_the_newest_stay(world: World) -> None:
    await world.user(await world.organization())
    for number in range(15):
        await world.login(address=f"10.0.0.{number}", now=NOW + number)
    kept = await world.sql("SELECT seen_at FROM gateway_sign_in_addresses ORDER BY seen_at")
    assert [row["seen_at"].timestamp() for row in kept] == [NOW + number for number in range(5, 15)]


async def test_an_address_not_used_for_long_is_forgotten(world: World) -> None:
    attempts = SignInThrottle(world.store, AttemptLimits(known_seconds=100))
    await world.user(await world.organization())
    await world.login(address=HOME)
    await attempts.purge(NOW + 50)
    assert await world.sql("SELECT FROM gateway_sign_in_addresses")
    await attempts.purge(NOW + 101)
    assert await world.sql("SELECT FROM gateway_sign_in_addresses") == []


async def test_an_address_not_used_for_long_is_a_strangers_before_it_is_forgotten_too(world: World) -> None:
    await world.user(await world.organization())
    await world.login(address=HOME)
    await world.sql("DELETE FROM gateway_sessions")
    assert (await ask(world.store, address=HOME, now=NOW + 999)).is_known
    assert not (await ask(world.store, address=HOME, now=NOW + 1001)).is_known


async def test_nobody_is_known_where_no_address_is(world: World) -> None:
    await world.user(await world.organization())
    await world.login(address=HOME)
    for address, known in ((AWAY, True), ("", False)):
        await world.sql("UPDATE gateway_sessions SET address = $1", address)
        assert (await ask(world.store, address=address)).is_known is known


async def test_a_store_that_does_not_answer_lets_nobody_through(world: World) -> None:
    await world.user(await world.organization())
    before = world.passwords.pool.started
    await world.store.close()
    with pytest.raises(StoreUnavailable):
        await world.login(password=PASSWORD)
    assert world.passwords.pool.started == before
