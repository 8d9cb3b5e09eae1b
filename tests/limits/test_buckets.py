"""Buckets against the plainest reading: a level that every grant raises and time lowers."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from gateway.limits.buckets import SHARED, Bucket, Buckets, Window
from gateway.limits.limit import Limit

MOST: Final = 4
TICK: Final = Fraction(1, 64)
"""Times and rates are multiples of it, so floats are exact and the model and the bucket agree to the last bit."""
WINDOWS: Final = ((4, 1, 4), (8, 4, 2), (1, 2, 3), (64, 1, 64))
"""Units, seconds and burst."""


class Level:
    """Fluid model of one window of one key: it drains at `units / seconds`, and holds `burst` units."""

    def __init__(self, units: int, seconds: int, burst: int) -> None:
        self.rate, self.burst = Fraction(units, seconds), burst
        self.level, self.at = Fraction(0), Fraction(0)

    def flow(self, now: Fraction) -> None:
        self.level = max(self.level - self.rate * (now - self.at), Fraction(0))
        self.at = now

    def wait(self, cost: int) -> Fraction:
        return max((self.level + cost - self.burst) / self.rate, Fraction(0))


class GcraMachine(RuleBasedStateMachine):
    """Several keys of a limit with several windows, in a table with room for a few."""

    keys = Bundle("keys")

    @initialize(windows=st.lists(st.sampled_from(WINDOWS), min_size=1, max_size=3, unique=True))
    def begin(self, windows: list[tuple[int, int, int]]) -> None:
        self.windows = windows
        self.limit = Limit("any", ("user",), [Window(*window) for window in windows], most=MOST)
        self.model: dict[bytes, list[Level]] = {}
        self.now = Fraction(1000)

    @rule(target=keys, number=st.integers(0, 30))
    def name(self, number: int) -> bytes:
        return b"u%d" % number

    @rule(ticks=st.integers(0, 300))
    def passes(self, ticks: int) -> None:
        self.now += ticks * TICK

    @rule(key=keys, cost=st.integers(1, 5))
    def asks(self, key: bytes, cost: int) -> None:
        overflowed = self.limit.buckets.overflowed
        bucket = self.limit.buckets.find(key, float(self.now))
        wait = self.limit.wait(bucket, cost, float(self.now))
        if self.limit.buckets.overflowed > overflowed:
            assert key not in self.model or all(level.level == 0 for level in self.levels(key))
            return  # it is counted with others: too strictly, which another test is about
        levels = self.levels(key)
        assert wait == float(max(level.wait(cost) for level in levels))
        assert [self.limit.left(bucket, n, float(self.now))[0] for n in range(len(levels))] == [
            int(level.burst - level.level) for level in levels
        ]
        if wait == 0:
            self.limit.take(bucket, cost, float(self.now))
            for level in levels:
                level.level += cost

    @rule(key=keys, cost=st.integers(1, 5))
    def takes_and_gives_back(self, key: bytes, cost: int) -> None:
        bucket = self.limit.buckets.peek(key)
        if bucket is None or self.limit.wait(bucket, cost, float(self.now)):
            return
        before = [max(drained, float(self.now)) for drained in bucket.drained]
        self.limit.take(bucket, cost, float(self.now))
        self.limit.give_back(bucket, cost, float(self.now))
        assert [max(drained, float(self.now)) for drained in bucket.drained] == before

    def levels(self, key: bytes) -> list[Level]:
        levels = self.model.setdefault(key, [Level(*window) for window in self.windows])
        for level in levels:
            level.flow(self.now)
        return levels

    @invariant()
    def is_bounded(self) -> None:
        if hasattr(self, "limit"):
            assert len(self.limit.buckets) <= MOST

    @invariant()
    def nobody_forgets_a_debt(self) -> None:
        """A key that owes something in the model has a bucket of its own, unless it never had one."""
        for key in getattr(self, "model", {}):
            if any(level.level for level in self.levels(key)):
                assert self.limit.buckets.peek(key) is not None


TestGcra = GcraMachine.TestCase


@given(
    window=st.sampled_from(WINDOWS),
    steps=st.lists(st.tuples(st.integers(0, 200), st.integers(1, 3)), min_size=1, max_size=60),
)
def test_over_any_span_a_key_gets_at_most_its_burst_and_what_drained(
    window: tuple[int, int, int], steps: list[tuple[int, int]]
) -> None:
    """The plainest reading: the list of what was granted and when."""
    units, seconds, burst = window
    limit, bucket, now = Limit("any", ("user",), [Window(*window)]), Bucket(b"u", 1), Fraction(0)
    granted: list[tuple[Fraction, int]] = []
    for ticks, cost in steps:
        now += ticks * TICK
        if limit.wait(bucket, cost, float(now)) == 0:
            limit.take(bucket, cost, float(now))
            granted.append((now, cost))
    for first in range(len(granted)):
        total = 0
        for at, cost in granted[first:]:
            total += cost
            assert total <= burst + Fraction(units, seconds) * (at - granted[first][0])


@given(
    window=st.sampled_from(WINDOWS),
    steps=st.lists(st.tuples(st.integers(0, 30), st.integers(1, 3), st.booleans()), max_size=60),
    flight=st.integers(0, 100),
)
def test_units_given_back_cost_other_requests_nothing_and_gain_at_most_what_drains_meanwhile(
    window: tuple[int, int, int], steps: list[tuple[int, int, bool]], flight: int
) -> None:
    """Some requests are refused `flight` ticks after they took; the model counts the others alone."""
    limit, bucket, model = Limit("any", ("user",), [Window(*window)]), Bucket(b"u", 1), Level(*window)
    now, taken = Fraction(1000), list[tuple[Fraction, int]]()

    def give_back(until: Fraction) -> None:
        while taken and taken[0][0] + flight * TICK <= until:
            at, cost = taken.pop(0)
            limit.give_back(bucket, cost, float(at + flight * TICK))

    for ticks, cost, is_refused in steps:
        now += ticks * TICK
        give_back(now)
        if limit.wait(bucket, cost, float(now)) == 0:
            limit.take(bucket, cost, float(now))
            if is_refused:
                taken.append((now, cost))
            else:
                model.flow(now)
                model.level += cost
    give_back(now + flight * TICK)
    now += flight * TICK
    model.flow(now)
    owed = max(bucket.drained[0] - float(now), 0.0)
    alone = model.level / model.rate
    assert alone - flight * TICK <= owed <= alone


@given(back=st.floats(0, 1e9), cost=st.integers(1, 4))
def test_a_clock_that_runs_backwards_never_makes_anybody_wait_longer_than_a_full_bucket(
    back: float, cost: int
) -> None:
    window = Window(4, 1, 4)
    limit, bucket = Limit("any", ("user",), [window]), Bucket(b"u", 1)
    for _ in range(4):
        limit.take(bucket, 1, 1e6)
    assert limit.wait(bucket, cost, 1e6 - back) <= window.depth
    assert limit.wait(bucket, 1, 1e6 + window.depth) == 0


@pytest.mark.parametrize("cost", [5, 10**6, 10**12])
def test_a_cost_above_the_burst_is_never_granted_and_overflows_nothing(cost: int) -> None:
    limit, bucket = Limit("any", ("user",), [Window(4, 1, 4)]), Bucket(b"u", 1)
    for now in (0.0, 1.0, 1e6, 1e9):
        assert limit.wait(bucket, cost, now) > 0
        assert limit.left(bucket, 0, now) == (4, 0.0)


@given(
    units=st.integers(1, 100_000),
    seconds=st.integers(1, 31 * 86_400),
    burst=st.integers(1, 500),
    at=st.floats(0, 1e7),
)
def test_a_full_burst_is_granted_at_any_rate_and_not_one_more(
    units: int, seconds: int, burst: int, at: float
) -> None:
    limit, bucket = Limit("any", ("user",), [Window(units, seconds, burst)]), Bucket(b"u", 1)
    for left in range(burst, 0, -1):
        assert limit.left(bucket, 0, at)[0] == left
        assert limit.wait(bucket, 1, at) == 0
        limit.take(bucket, 1, at)
    assert limit.left(bucket, 0, at)[0] == 0
    assert limit.wait(bucket, 1, at) > 0


def test_keys_that_find_the_table_full_share_debts_and_flush_none() -> None:
    limit = Limit("any", ("network",), [Window(1, 3600, 1)], most=3)
    debtors = [b"a", b"b", b"c"]
    for key in debtors:
        limit.take(limit.buckets.find(key, 0.0), 1, 0.0)
    flood = [b"f%d" % number for number in range(5 * SHARED)]
    granted = 0
    for key in flood:
        bucket = limit.buckets.find(key, 1.0)
        if limit.wait(bucket, 1, 1.0) == 0:
            limit.take(bucket, 1, 1.0)
            granted += 1
    assert granted <= SHARED
    assert len(limit.buckets) == 3
    assert all(limit.wait(limit.buckets.find(key, 1.0), 1, 1.0) > 0 for key in debtors)


def test_the_table_makes_room_for_new_keys_by_what_has_drained() -> None:
    buckets = Buckets(1, 100)
    for number in range(10_000):
        now = float(number)
        bucket = buckets.find(b"%d" % number, now)
        bucket.drained[0] = now + 10
        assert len(buckets) <= 30, "ten are in debt at a time, and two are looked at for each that comes"
    assert buckets.overflowed == 0


def test_a_bucket_with_a_request_at_work_or_a_lease_stays() -> None:
    buckets = Buckets(1, 2)
    working = buckets.find(b"w", 0.0)
    working.active = 1
    leased = buckets.find(b"l", 0.0)
    leased.held_until = 10.0
    for number in range(100):
        buckets.find(b"%d" % number, 5.0)
    assert buckets.peek(b"w") is working
    assert buckets.peek(b"l") is leased
    working.active = 0
    for number in range(100):
        buckets.find(b"%d" % number, 20.0)
    assert buckets.peek(b"w") is None
    assert buckets.peek(b"l") is None


@given(taken=st.integers(0, 4), burst=st.integers(1, 8), units=st.integers(1, 8))
def test_a_limit_that_is_changed_keeps_debts_as_units(taken: int, burst: int, units: int) -> None:
    before = Limit("any", ("user",), [Window(4, 1, 4), Window(64, 64, 64)])
    bucket = before.buckets.find(b"u", 100.0)
    before.take(bucket, taken, 100.0)
    after = Limit("any", ("user",), [Window(units, 1, burst), Window(64, 64, 64)])
    after.adopt(before, 100.0)
    found = after.buckets.peek(b"u")
    assert found is not None
    assert after.left(found, 0, 100.0)[0] == max(burst - taken, 0)
    assert after.left(found, 1, 100.0)[0] == 64 - taken


def test_a_window_that_is_added_begins_anew_and_those_of_the_same_length_go_on() -> None:
    before = Limit("any", ("user",), [Window(4, 1, 4)])
    before.take(before.buckets.find(b"u", 1.0), 3, 1.0)
    after = Limit("any", ("user",), [Window(4, 1, 4), Window(10, 60, 10)])
    after.adopt(before, 1.0)
    found = after.buckets.find(b"u", 1.0)
    assert [after.left(found, number, 1.0)[0] for number in (0, 1)] == [1, 10]


@given(
    counts=st.lists(st.integers(1, 3), min_size=2, max_size=4), steps=st.lists(st.integers(0, 3), max_size=30)
)
def test_requests_on_their_way_use_the_limit_that_they_met_after_others_took_its_place(
    counts: list[int], steps: list[int]
) -> None:
    windows = [Window(4, 1, 4), Window(64, 64, 64), Window(1, 2, 3)]
    limits = [Limit("any", ("user",), windows[:count]) for count in counts]
    for before, after in pairwise(limits):
        before.take(before.buckets.find(b"u", 1.0), 1, 1.0)
        after.adopt(before, 1.0)
    for number, step in enumerate(steps):
        limit, now = limits[step % len(limits)], 1.0 + number
        bucket = limit.buckets.find(b"u%d" % (number % 3), now)
        if limit.wait(bucket, 1, now) == 0:
            limit.take(bucket, 1, now)
            limit.give_back(bucket, 1, now)
        assert all(limit.left(bucket, window, now)[0] >= 0 for window in range(len(limit.windows)))


def test_a_limit_by_another_key_takes_no_buckets_over() -> None:
    before = Limit("any", ("user",), [Window(4, 1, 4)])
    before.take(before.buckets.find(b"u", 1.0), 3, 1.0)
    after = Limit("any", ("organization",), [Window(4, 1, 4)])
    after.adopt(before, 1.0)
    assert len(after.buckets) == 0
