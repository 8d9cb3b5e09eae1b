"""Outlier detection: who is ejected, for how long, and how many at once; against the plainest reading of the laws."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.traffic.outliers import Cause, EjectionPolicy, Outliers

ANSWERS = (Cause.RESET, Cause.TIMEOUT, Cause.STATUS)
POLICY = EjectionPolicy(connect_failures=2, failures=3, base_seconds=1, max_seconds=8, max_percent=100)


def fleet(size: int, policy: EjectionPolicy = POLICY) -> tuple[Outliers, list[str]]:
    names = [f"e{number}" for number in range(size)]
    outliers = Outliers(policy)
    outliers.follow(names, 0.0)
    return outliers, names


def events(outliers: Outliers, name: str, cause: Cause, *times: float) -> list[str]:
    return [change.event for at in times for change in outliers.failed(name, cause, at)]


def test_failures_in_a_row_eject_and_a_success_of_their_kind_ends_the_row() -> None:
    outliers, (one, _) = fleet(2)
    assert events(outliers, one, Cause.RESET, 1, 1) == []
    outliers.answered(one, 1)
    assert events(outliers, one, Cause.STATUS, 1, 1) == []
    outliers.connected(one, 1)
    assert events(outliers, one, Cause.TIMEOUT, 1) == ["ejected"]
    assert outliers.members[one].cause is Cause.TIMEOUT


def test_an_answer_is_no_proof_that_connections_can_be_opened() -> None:
    outliers, (one, _) = fleet(2)
    assert events(outliers, one, Cause.CONNECT, 1) == []
    outliers.answered(one, 1)
    assert events(outliers, one, Cause.CONNECT, 1) == ["ejected"]


def test_an_ejection_doubles_up_to_the_longest_while_the_first_failure_after_each_return_ejects_again() -> (
    None
):
    outliers, (one, _) = fleet(2)
    now, lengths = 100.0, []
    assert events(outliers, one, Cause.STATUS, now, now) == []
    for _ in range(6):
        (change,) = outliers.failed(one, Cause.STATUS, now)
        lengths.append(change.seconds)
        now += change.seconds
        (back,) = outliers.settle(now)
        assert (back.event, outliers.is_ejected(one)) == ("returned", False)
    assert lengths == [1, 2, 4, 8, 8, 8]


def test_a_success_ends_the_probation() -> None:
    outliers, (one, _) = fleet(2)
    assert events(outliers, one, Cause.STATUS, 1, 1, 1) == ["ejected"]
    outliers.settle(2)
    outliers.answered(one, 2)
    assert events(outliers, one, Cause.STATUS, 2, 2) == []


@pytest.mark.parametrize(("good", "length"), [(1.9, 4.0), (2.0, 1.0)])
def test_one_that_was_back_for_as_long_as_it_was_away_begins_anew(good: float, length: float) -> None:
    outliers, (one, _) = fleet(2)
    assert events(outliers, one, Cause.CONNECT, 1, 1, 2) == ["ejected", "returned", "ejected"]
    outliers.settle(4)
    (change,) = outliers.failed(one, Cause.CONNECT, 4 + good)
    assert change.seconds == length


def test_a_connection_ends_an_ejection_by_connections_and_no_other() -> None:
    outliers, (one, other, _) = fleet(3)
    events(outliers, one, Cause.CONNECT, 1, 1)
    events(outliers, other, Cause.RESET, 1, 1, 1)
    assert [change.event for change in outliers.connected(one, 1.5)] == ["returned"]
    assert outliers.connected(other, 1.5) == []
    assert [outliers.is_ejected(name) for name in (one, other)] == [False, True]


def test_failures_that_were_under_way_when_an_endpoint_was_ejected_change_nothing() -> None:
    outliers, (one, _) = fleet(2)
    events(outliers, one, Cause.CONNECT, 1, 1)
    assert events(outliers, one, Cause.RESET, *[1.5] * 9) == []
    outliers.settle(2)
    outliers.connected(one, 2)
    assert events(outliers, one, Cause.RESET, 2, 2) == []


@pytest.mark.parametrize(
    ("size", "percent", "most"),
    [(2, 100, 1), (3, 34, 1), (3, 33, 0), (3, 67, 2), (4, 67, 2), (10, 67, 6), (10, 100, 9)],
)
def test_no_more_than_the_share_is_ejected_and_never_the_last(size: int, percent: int, most: int) -> None:
    outliers, names = fleet(size, replace(POLICY, connect_failures=1, max_percent=percent))
    changes = [change for name in names for change in outliers.failed(name, Cause.CONNECT, 1)]
    assert [change.event for change in changes] == ["ejected"] * most + ["withheld"] * (size - most)
    assert sum(map(outliers.is_ejected, names)) == most


def test_an_only_endpoint_is_never_ejected_and_not_counted_as_withheld() -> None:
    outliers, (one,) = fleet(1)
    assert [events(outliers, one, cause, *[1.0] * 9) for cause in Cause] == [[]] * 4
    assert not outliers.is_ejected(one)


def test_one_that_was_withheld_is_ejected_by_its_next_failure_once_there_is_room() -> None:
    outliers, (one, other) = fleet(2, replace(POLICY, connect_failures=1))
    assert events(outliers, one, Cause.CONNECT, 1) == ["ejected"]
    assert events(outliers, other, Cause.CONNECT, 1.5, 2) == ["withheld", "returned", "ejected"]


def test_an_endpoint_of_a_family_that_leads_nowhere_has_no_part_in_the_share() -> None:
    outliers, (six, seven, four, five) = fleet(4, replace(POLICY, connect_failures=1, max_percent=50))
    for name in (six, seven):
        (change,) = outliers.failed(name, Cause.CONNECT, 1, counted=False)
        assert change.event == "ejected"
    assert events(outliers, four, Cause.CONNECT, 1) == ["ejected"], "one of two"
    assert events(outliers, five, Cause.CONNECT, 1) == ["withheld"]


def test_when_endpoints_go_so_many_return_that_the_share_holds_the_next_to_return_first() -> None:
    outliers, names = fleet(4, replace(POLICY, connect_failures=1, max_percent=50))
    events(outliers, names[0], Cause.CONNECT, 1.5)
    events(outliers, names[1], Cause.CONNECT, 1)
    changes = outliers.follow(names[:3], 1.6)
    assert [(change.name, change.event) for change in changes] == [(names[1], "returned")]
    assert outliers.is_ejected(names[0]), "what is known of those that stay is preserved"
    assert outliers.follow([*names[:3], "e4", "e5"], 1.6) == [], "nobody returns because there is more room"
    outliers.follow(names[1:3], 1.6)
    outliers.follow(names, 1.6)
    assert not outliers.is_ejected(names[0]), "one that was gone is new"


def test_nothing_is_ejected_by_a_kind_that_is_off() -> None:
    outliers, (one, _) = fleet(2, replace(POLICY, connect_failures=0, failures=0))
    assert [events(outliers, one, cause, *[1.0] * 50) for cause in Cause] == [[]] * 4


# -- against the plainest reading ---------------------------------------------------------------------------------


@dataclass
class Plain:
    """All that has happened to one endpoint, read anew for each question: slow, and as the laws are written."""

    log: list[tuple[str, float]] = field(default_factory=list)
    """Of the time since it was last ejected: ``connect``, ``answer`` (failures), ``connected``, ``answered``."""
    away: list[tuple[float, float, str]] = field(default_factory=list)
    """Its ejections: begin, end, kind."""
    lengths: list[float] = field(default_factory=list)
    """How long each of them was to be."""

    def ejected(self, now: float) -> bool:
        return bool(self.away) and now < self.away[-1][1]

    def row(self, kind: str) -> int:
        """Failures of a kind in a row; on probation, the row that ejected it is one short of its end."""
        success = {"connect": "connected", "answer": "answered"}[kind]
        row = 0
        for what, _ in reversed(self.log):
            if what == success:
                return row
            row += what == kind
        if self.away and self.away[-1][2] == kind:
            return row + {"connect": POLICY.connect_failures, "answer": POLICY.failures}[kind] - 1
        return row

    def length(self, now: float) -> float:
        """Return the length of the next ejection. Its doublings are those since it was last good for long."""
        doublings = 0
        for place in range(len(self.away) - 1, -1, -1):
            end = self.away[place][1]
            next_begin = now if place + 1 == len(self.away) else self.away[place + 1][0]
            if next_begin - end >= self.lengths[place]:
                break
            doublings += 1
        return float(min(POLICY.max_seconds, POLICY.base_seconds * 2**doublings))


class Ejections(RuleBasedStateMachine):
    """Any endpoints, failures, successes and waits: the detector and the plain reading agree on who is ejected."""

    @initialize(size=st.integers(1, 6), percent=st.sampled_from([1, 34, 50, 67, 100]))
    def begin(self, size: int, percent: int) -> None:
        self.policy = replace(POLICY, max_percent=percent)
        self.outliers, self.names = fleet(size, self.policy)
        self.plain = {name: Plain() for name in self.names}
        self.now = 10.0
        self.made = size

    def most(self) -> int:
        size = len(self.names)
        return max(0, min(size * self.policy.max_percent // 100, size - 1))

    def one(self, number: int) -> str:
        return self.names[number % len(self.names)]

    @rule(number=st.integers(0, 5), cause=st.sampled_from(list(Cause)))
    def fail(self, number: int, cause: Cause) -> None:
        name = self.one(number)
        plain, kind = self.plain[name], "connect" if cause is Cause.CONNECT else "answer"
        changes = [change.event for change in self.outliers.failed(name, cause, self.now)]
        if plain.ejected(self.now):
            assert changes == []
            return
        plain.log.append((kind, self.now))
        least = self.policy.connect_failures if kind == "connect" else self.policy.failures
        if plain.row(kind) < least or len(self.names) == 1:
            assert changes == []
        elif sum(other.ejected(self.now) for other in self.plain.values()) >= self.most():
            assert changes == ["withheld"]
        else:
            assert changes == ["ejected"]
            length = plain.length(self.now)
            plain.away.append((self.now, self.now + length, kind))
            plain.lengths.append(length)
            plain.log.clear()

    @rule(number=st.integers(0, 5))
    def answer(self, number: int) -> None:
        name = self.one(number)
        assert self.outliers.answered(name, self.now) == []
        if not self.plain[name].ejected(self.now):
            self.plain[name].log.append(("answered", self.now))

    @rule(number=st.integers(0, 5))
    def connect(self, number: int) -> None:
        name = self.one(number)
        plain = self.plain[name]
        self.outliers.connected(name, self.now)
        if plain.ejected(self.now) and plain.away[-1][2] == "connect":
            plain.away[-1] = (plain.away[-1][0], self.now, "connect")
            plain.log.append(("connected", self.now))
        elif not plain.ejected(self.now):
            plain.log.append(("connected", self.now))

    @rule(seconds=st.sampled_from([0.5, 1.0, 2.0, 5.0, 30.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        due = self.outliers.next_return
        self.outliers.settle(self.now)
        assert due is None or self.outliers.next_return is None or self.outliers.next_return >= due

    @precondition(lambda self: len(self.names) < 6)
    @rule()
    def come(self) -> None:
        self.names.append(f"e{self.made}")
        self.plain[self.names[-1]] = Plain()
        self.made += 1
        assert self.outliers.follow(self.names, self.now) == []

    @precondition(lambda self: len(self.names) > 1)
    @rule(number=st.integers(0, 5))
    def go(self, number: int) -> None:
        name = self.one(number)
        self.names.remove(name)
        del self.plain[name]
        self.outliers.follow(self.names, self.now)
        ejected = sorted(
            (plain.away[-1][1], called) for called, plain in self.plain.items() if plain.ejected(self.now)
        )
        for _, called in ejected[: max(0, len(ejected) - self.most())]:
            plain = self.plain[called]
            begin, _, kind = plain.away[-1]
            plain.away[-1] = (begin, self.now, kind)

    @invariant()
    def they_agree(self) -> None:
        if not hasattr(self, "outliers"):
            return
        ejected = {name: self.outliers.is_ejected(name) for name in self.names}
        assert ejected == {name: plain.ejected(self.now) for name, plain in self.plain.items()}
        assert sum(ejected.values()) <= self.most()
        assert not all(ejected.values()), "one at least stays"


TestEjections = Ejections.TestCase
