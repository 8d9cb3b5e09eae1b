"""Fair queue: turns by network, shares, bounds, and that nothing is lost."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from authcore.fair_queue import FairQueue, Lane, QueueFull, Work

TOTAL, EACH, SHARE = 12, 5, 2
lanes = st.builds(
    Lane, st.sampled_from([f"192.0.2.{number}" for number in range(4)]), st.sampled_from(list(Work)[:3])
)


class Queue(RuleBasedStateMachine):
    """Against lists of what waits and what runs."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: FairQueue[int] = FairQueue(total=TOTAL, each=EACH, share=SHARE)
        self.waiting: list[tuple[Lane, int]] = []
        self.running: list[Lane] = []
        self.passed: dict[str, Counter[str]] = {}
        self.number = 0

    def counts(self) -> Counter[str]:
        return Counter(lane.network for lane in [lane for lane, _ in self.waiting] + self.running)

    @rule(lane=lanes)
    def put(self, lane: Lane) -> None:
        self.number += 1
        counts = self.counts()
        kinds = Counter(other.work for other, _ in self.waiting if other.network == lane.network)
        fattest = max((counts[name] for name in {lane.network for lane, _ in self.waiting}), default=0)
        lost = refusal = None
        try:
            lost = self.queue.put(lane, self.number)
        except QueueFull as full:
            refusal = full
        if refusal is not None:
            assert refusal.of_network == (counts[lane.network] >= EACH)
            assert refusal.of_network or counts.total() == TOTAL
            assert not refusal.of_network or max(kinds.values(), default=0) <= kinds[lane.work] + 1
            return
        if counts[lane.network] < EACH and counts.total() < TOTAL:
            assert lost is None
        else:
            assert lost is not None
            gone = next(item for item in self.waiting if item == lost)
            if counts[lane.network] == EACH:
                assert gone[0].network == lane.network
                assert kinds[gone[0].work] == max(kinds.values()) > kinds[lane.work] + 1
            else:
                assert counts[lane.network] + 1 < counts[gone[0].network] <= fattest
            assert all(number <= gone[1] for other, number in self.waiting if other == gone[0]), (
                "the last one of its lane"
            )
            self.waiting.remove(gone)
        self.waiting.append((lane, self.number))
        self.passed.setdefault(lane.network, Counter())

    @rule(lane=lanes)
    def flood(self, lane: Lane) -> None:
        """Single jobs do not fill the share of a network, and a full share is what other kinds displace."""
        for _ in range(EACH):
            self.put(lane)

    @rule()
    def take(self) -> None:
        runs = Counter(lane.network for lane in self.running)
        able = {lane.network for lane, _ in self.waiting if runs[lane.network] < SHARE}
        taken = self.queue.take()
        if taken is None:
            assert not able
            return
        lane, job = taken
        assert lane.network in able
        assert (lane, job) == next(item for item in self.waiting if item[0] == lane), "in order of arrival"
        self.waiting.remove((lane, job))
        self.running.append(lane)
        for name in able - {lane.network}:
            self.passed[name][lane.network] += 1
            assert self.passed[name][lane.network] <= 2, "passed over for the same network again and again"
        self.passed[lane.network] = Counter()

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 1000))
    def done(self, which: int) -> None:
        self.queue.done(self.running.pop(which % len(self.running)))

    @precondition(lambda self: self.waiting)
    @rule(which=st.integers(0, 1000))
    def discard(self, which: int) -> None:
        lane, job = self.waiting.pop(which % len(self.waiting))
        assert self.queue.discard(lane, job)
        assert not self.queue.discard(lane, job)

    @rule()
    def drain(self) -> None:
        assert sorted(self.queue.drain()) == sorted(job for _, job in self.waiting)
        self.waiting.clear()
        self.passed.clear()

    @invariant()
    def counts_are_those_of_the_lists(self) -> None:
        assert (len(self.queue), self.queue.running) == (len(self.waiting), len(self.running))
        assert self.queue.networks == len(self.counts())
        assert max(Counter(lane.network for lane in self.running).values(), default=0) <= SHARE


TestQueue = Queue.TestCase
TestQueue.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)


def test_one_job_of_another_network_is_next_whatever_waits_of_the_first() -> None:
    queue: FairQueue[str] = FairQueue(total=100, each=100, share=1)
    flood = Lane("192.0.2.1", Work.REGISTER)
    for _ in range(50):
        queue.put(flood, "flood")
    assert queue.take() == (flood, "flood")
    assert queue.take() is None, "a network has its share and no more"
    other = Lane("192.0.2.2", Work.LOGIN)
    queue.put(other, "other")
    assert queue.take() == (other, "other")


def test_kinds_of_one_network_take_turns() -> None:
    queue: FairQueue[str] = FairQueue(total=100, each=100, share=1)
    for _ in range(10):
        queue.put(Lane("192.0.2.1", Work.REGISTER), "flood")
    queue.put(Lane("192.0.2.1", Work.KNOWN), "person")
    order = []
    for _ in range(3):
        taken = queue.take()
        assert taken is not None
        queue.done(taken[0])
        order.append(taken[1])
    assert "person" in order[:2]


def test_a_full_queue_has_room_for_a_network_with_fewer() -> None:
    queue: FairQueue[int] = FairQueue(total=4, each=4, share=1)
    for number in range(4):
        queue.put(Lane("192.0.2.1", Work.KEY), number)
    assert queue.put(Lane("192.0.2.2", Work.LOGIN), 9) == (Lane("192.0.2.1", Work.KEY), 3)
    with pytest.raises(QueueFull):
        queue.put(Lane("192.0.2.1", Work.KEY), 10)


def test_a_full_network_has_room_for_a_kind_of_which_it_has_fewer() -> None:
    queue: FairQueue[int] = FairQueue(total=9, each=4, share=1)
    flood, person = Lane("192.0.2.1", Work.LOGIN), Lane("192.0.2.1", Work.KNOWN)
    for number in range(4):
        queue.put(flood, number)
    assert queue.put(person, 9) == (flood, 3)
    assert queue.put(person, 10) == (flood, 2)
    with pytest.raises(QueueFull) as full:
        queue.put(person, 11)
    assert full.value.of_network
