"""Waiting room and failover order against the plainest readings: a list, and a table of times."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.traffic.deadline import FIELD, Deadline
from gateway.traffic.failover import LONGEST_SECONDS, Failover
from gateway.traffic.waiting import WaitingRoom


class RoomStates(RuleBasedStateMachine):
    """Turns join, leave and are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.room: WaitingRoom[object] = WaitingRoom(3)
        self.line: list[object] = []

    @rule()
    def join(self) -> None:
        turn = object()
        fits = len(self.line) < self.room.most
        assert self.room.join(turn) is fits
        if fits:
            self.line.append(turn)

    @rule(most=st.integers(1, 6))
    def resize(self, most: int) -> None:
        self.room.most = most

    @precondition(lambda self: self.line)
    @rule(place=st.integers(0, 5))
    def leave(self, place: int) -> None:
        turn = self.line.pop(place % len(self.line))
        led = self.room.leads(turn)
        leader = self.room.leave(turn)
        assert leader is (self.line[0] if led and self.line else None)

    @rule()
    def a_stranger_leaves(self) -> None:
        assert self.room.leave(object()) is None

    @rule()
    def open(self) -> None:
        assert self.room.open() == self.line
        self.line.clear()

    @invariant()
    def first_leads(self) -> None:
        assert len(self.room) == len(self.line)
        assert [turn for turn in self.line if self.room.leads(turn)] == self.line[:1]


class FailoverStates(RuleBasedStateMachine):
    """Two stand-ins; requests try places, and reach them, fail, or leave, each after any time."""

    def __init__(self) -> None:
        super().__init__()
        self.failover = Failover(3)
        self.now = 1000.0
        self.away: dict[int, tuple[int, float]] = {}  # failures in a row, and when the next try is due
        self.passed: dict[int, float] = {}  # until when others pass it over, because of a try
        self.tries: list[tuple[int, float]] = []  # the place, and when it began

    def wait(self, failures: int) -> float:
        return min(LONGEST_SECONDS, 2.0 ** (failures - 1))

    @rule(seconds=st.floats(0, 100))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(place=st.integers(0, 2))
    def a_try_begins(self, place: int) -> None:
        if place in self.away and max(self.away[place][1], self.passed.get(place, 0.0)) <= self.now:
            self.passed[place] = self.now + LONGEST_SECONDS
        self.failover.begin(place, self.now)
        self.tries.append((place, self.now))

    @precondition(lambda self: self.tries)
    @rule(number=st.integers(0, 20))
    def one_fails(self, number: int) -> None:
        place, began = self.tries.pop(number % len(self.tries))
        failures, due = self.away.get(place, (0, 0.0))
        assert self.failover.failed(place, began, self.now) is (place not in self.away)
        if place not in self.away or began >= due:
            failures = min(failures + 1, 7)
            self.away[place] = failures, self.now + self.wait(failures)
            self.passed.pop(place, None)

    @precondition(lambda self: self.tries)
    @rule(number=st.integers(0, 20))
    def one_is_left(self, number: int) -> None:
        place, _ = self.tries.pop(number % len(self.tries))
        self.failover.left(place, self.now)
        if place in self.away and place in self.passed:
            failures, _ = self.away[place]
            self.away[place] = failures, self.now + self.wait(failures)
            del self.passed[place]

    @precondition(lambda self: self.tries)
    @rule(number=st.integers(0, 20))
    def one_is_reached(self, number: int) -> None:
        place, _ = self.tries.pop(number % len(self.tries))
        assert self.failover.reached(place) is (place in self.away)
        self.away.pop(place, None)
        self.passed.pop(place, None)

    @invariant()
    def those_that_are_passed_over_come_last(self) -> None:
        there = [
            place
            for place in range(3)
            if place not in self.away or max(self.away[place][1], self.passed.get(place, 0.0)) <= self.now
        ]
        assert self.failover.order(self.now) == there + [place for place in range(3) if place not in there]

    @invariant()
    def the_same_are_away(self) -> None:
        assert [self.failover.is_away(place) for place in range(3)] == [p in self.away for p in range(3)]


TestRoomStates = RoomStates.TestCase
TestRoomStates.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestFailoverStates = FailoverStates.TestCase
TestFailoverStates.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_one_request_tries_an_upstream_whose_time_is_over() -> None:
    failover = Failover(2)
    failover.failed(0, 10.0, 10.0)
    assert failover.order(10.5) == [1, 0]
    assert failover.order(11.0) == [0, 1]
    failover.begin(0, 11.0)
    assert failover.order(11.0) == failover.order(40.0) == [1, 0], "however long it takes"
    failover.failed(0, 11.0, 41.0)
    assert failover.order(42.5) == [1, 0]
    assert failover.order(43.0) == [0, 1]
    failover.begin(0, 43.0)
    failover.left(0, 44.0)
    assert failover.order(45.9) == [1, 0]
    assert failover.order(46.0) == [0, 1]


def test_one_outage_counts_once_however_many_requests_meet_it() -> None:
    failover = Failover(2)
    for place in (0, 1, 0, 1):
        failover.failed(place, 10.0, 10.1)  # they began together
        failover.failed(place, 10.2, 10.2)  # and then, with all of them away, nobody waits
    assert failover.order(11.0) == [0, 1]
    assert failover.failures == [1, 1]


def test_a_deadline_is_announced_in_whole_milliseconds_and_never_as_none() -> None:
    deadline = Deadline(10.0)
    assert deadline.line(8.4996) == FIELD + b": 1500\r\n"
    assert deadline.line(10.0) == deadline.line(11.0) == FIELD + b": 1\r\n"
    assert deadline.left(11.0) == 0
