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
    """Two stand-ins; requests come, and places fail and are reached."""

    def __init__(self) -> None:
        super().__init__()
        self.failover = Failover(3)
        self.now = 1000.0
        self.away: dict[int, tuple[int, float]] = {}  # failures in a row, and until when it is passed over

    @rule(seconds=st.floats(0, 100))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def a_request_comes(self) -> None:
        order = self.failover.order(self.now)
        there = [place for place in range(3) if place not in self.away or self.away[place][1] <= self.now]
        assert order == there + [place for place in range(3) if place not in there]
        if there and there[0] in self.away:
            failures, _ = self.away[there[0]]
            self.away[there[0]] = (failures, self.now + min(LONGEST_SECONDS, 2.0 ** (failures - 1)))

    @rule(place=st.integers(0, 2))
    def fails(self, place: int) -> None:
        failures = min(self.away.get(place, (0, 0.0))[0] + 1, 7)
        assert self.failover.failed(place, self.now) is (place not in self.away)
        self.away[place] = (failures, self.now + min(LONGEST_SECONDS, 2.0 ** (failures - 1)))

    @rule(place=st.integers(0, 2))
    def is_reached(self, place: int) -> None:
        assert self.failover.reached(place) is (place in self.away)
        self.away.pop(place, None)

    @invariant()
    def the_same_are_away(self) -> None:
        assert [self.failover.is_away(place) for place in range(3)] == [p in self.away for p in range(3)]


TestRoomStates = RoomStates.TestCase
TestRoomStates.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestFailoverStates = FailoverStates.TestCase
TestFailoverStates.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_one_request_tries_an_upstream_whose_time_is_over() -> None:
    failover = Failover(2)
    failover.failed(0, 10.0)
    assert failover.order(10.5) == [1, 0]
    assert failover.order(11.0) == [0, 1]
    assert failover.order(11.0) == [1, 0]
    failover.failed(0, 11.0)
    assert failover.order(12.5) == [1, 0]
    assert failover.order(13.0) == [0, 1]


def test_a_deadline_is_announced_in_whole_milliseconds_and_never_as_none() -> None:
    deadline = Deadline(10.0)
    assert deadline.line(8.4996) == FIELD + b": 1500\r\n"
    assert deadline.line(10.0) == deadline.line(11.0) == FIELD + b": 1\r\n"
    assert deadline.left(11.0) == 0
