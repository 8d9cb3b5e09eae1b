"""The quota ledger against the plainest reading of a quota: whatever is lost or crashes, no request counts twice."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from authcore.errors import AuthError, QuotaExceeded, QuotaUnknown
from authcore.quota_ledger import QuotaLedger
from authcore.quotas import Batch, Period, QuotaKey, Standing, SubjectKind, Usual, window

NOON: Final = 1_800_014_400.0
DAY: Final = 86_400.0
ORGANIZATION: Final = UUID(int=1)
KEY: Final = UUID(int=2)
NO_ONE: Final[Usual] = {}


def of(day: int | None = None, month: int | None = None) -> Usual:
    return {(SubjectKind.ORGANIZATION, Period.DAY): day, (SubjectKind.ORGANIZATION, Period.MONTH): month}


class Counts:
    """Model of the database's counting, in the plainest words; the test of the store holds both together."""

    def __init__(self, usual: Usual) -> None:
        self.usual = usual
        self.used: dict[QuotaKey, int] = {}
        self.seen: dict[UUID, int] = {}

    def settle(self, process: UUID, batch: Batch) -> dict[QuotaKey, Standing]:
        fresh = batch.number > self.seen.get(process, 0)
        self.seen[process] = max(batch.number, self.seen.get(process, 0))
        answer = {}
        for key, settled, wanted in batch.asks:
            most = self.usual.get((key.kind, key.period))
            used = self.used.get(key, 0)
            lease = 0
            if fresh:
                room = wanted if most is None else max(0, most - used - settled + 3) // 4
                lease = max(0, min(wanted, room))
                used = self.used[key] = used + settled + lease
            answer[key] = Standing(used, lease, most)
        return answer


def taken(ledger: QuotaLedger, now: float = NOON, key: UUID | None = None, times: int = 1) -> int:
    """Charge requests; return how many went through."""
    passed = 0
    for _ in range(times):
        try:
            ledger.charge(key, ORGANIZATION, now)
        except AuthError:
            continue
        passed += 1
    return passed


def settle(
    ledger: QuotaLedger, counts: Counts, process: UUID, now: float = NOON, *, last: bool = False
) -> None:
    while (batch := ledger.batch(now, last=last)) is not None:
        ledger.settled(batch, counts.settle(process, batch))
        if not last:
            break


def test_windows_are_days_and_months_of_utc() -> None:
    assert window(Period.DAY, NOON) == (NOON - DAY / 2, NOON + DAY / 2)
    leap = datetime(2028, 2, 29, tzinfo=UTC).timestamp()
    assert window(Period.MONTH, leap) == (leap - 28 * DAY, leap + DAY)
    assert window(Period.DAY, leap + DAY - 0.001) == (leap, leap + DAY)
    assert window(Period.DAY, leap + DAY) == (leap + DAY, leap + 2 * DAY)


def test_a_process_alone_lets_through_exactly_the_quota() -> None:
    usual = of(day=50)
    ledger, counts, process = QuotaLedger(usual, slack=5, is_open=True), Counts(usual), uuid4()
    passed = 0
    for _ in range(30):
        passed += taken(ledger, times=3)
        settle(ledger, counts, process)
    assert passed == 50
    with pytest.raises(QuotaExceeded) as refused:
        ledger.charge(None, ORGANIZATION, NOON)
    assert refused.value.retry_after_seconds == window(Period.DAY, NOON).ends - NOON
    assert "50 requests a day" in str(refused.value)


def test_a_request_that_one_quota_refuses_is_charged_to_none() -> None:
    usual: Usual = {(SubjectKind.API_KEY, Period.DAY): 2, (SubjectKind.ORGANIZATION, Period.DAY): 10}
    ledger, counts, process = QuotaLedger(usual, slack=5, is_open=True), Counts(usual), uuid4()
    assert taken(ledger, key=KEY, times=20) == 2
    assert taken(ledger, times=20) == 8
    settle(ledger, counts, process, last=True)
    assert {key.kind: used for key, used in counts.used.items() if key.period is Period.DAY} == {
        SubjectKind.API_KEY: 2,
        SubjectKind.ORGANIZATION: 10,
    }


def test_a_new_day_begins_with_the_whole_quota_and_the_month_goes_on() -> None:
    usual = of(day=3, month=5)
    ledger, counts, process = QuotaLedger(usual, slack=5, is_open=True), Counts(usual), uuid4()
    assert taken(ledger, times=9) == 3
    settle(ledger, counts, process)
    assert taken(ledger, NOON + DAY, times=9) == 2
    settle(ledger, counts, process, NOON + DAY, last=True)
    by_period = {Period.DAY: [3, 2], Period.MONTH: [5]}
    for period, used in by_period.items():
        assert [counts.used[key] for key in sorted(counts.used) if key.period is period] == used


def test_a_quota_that_is_raised_counts_from_the_next_batch() -> None:
    usual = of(day=1)
    ledger, counts, process = QuotaLedger(usual, slack=5, is_open=True), Counts(usual), uuid4()
    assert taken(ledger, times=3) == 1
    settle(ledger, counts, process)
    assert taken(ledger, times=3) == 0
    counts.usual = of(day=4)
    settle(ledger, counts, process)
    assert taken(ledger, times=9) == 3


def test_closed_lets_no_more_through_than_the_slack_without_an_answer() -> None:
    ledger = QuotaLedger(of(day=1000), slack=7, is_open=False)
    assert taken(ledger, times=50) == 7
    with pytest.raises(QuotaUnknown):
        ledger.charge(None, ORGANIZATION, NOON)
    free = QuotaLedger(NO_ONE, slack=7, is_open=False)
    assert taken(free, times=50) == 50, "without a quota nothing is refused"


def test_open_lets_through_what_was_left_at_the_last_answer() -> None:
    usual = of(day=1000)
    ledger, counts, process = QuotaLedger(usual, slack=7, is_open=True), Counts(usual), uuid4()
    taken(ledger, times=10)
    counts.used = dict.fromkeys(counts.used, 0)
    settle(ledger, counts, process)
    assert taken(ledger, times=5000) == 990


def test_what_is_at_rest_is_forgotten_and_what_is_used_up_is_not() -> None:
    usual = of(day=100)
    ledger, counts, process = QuotaLedger(usual, slack=5, is_open=True), Counts(usual), uuid4()
    taken(ledger)
    for _ in range(3):
        settle(ledger, counts, process)
    assert len(ledger) == 1
    settle(ledger, counts, process, NOON + 1000)
    assert len(ledger) == 0
    assert sum(counts.used.values()) == 2, "no lease is left behind"
    taken(ledger, NOON + 1000, times=200)
    for later in (1001, 1002, 9000):
        settle(ledger, counts, process, NOON + later)
    assert len(ledger) == 1
    settle(ledger, counts, process, NOON + DAY)
    assert len(ledger) == 0


MOST: Final = 60
SLACK: Final = 4
PROCESSES: Final = 3


class Replicas(RuleBasedStateMachine):
    """Processes that charge, settle, lose answers, crash and end, in any order."""

    @initialize(is_open=st.booleans(), processes=st.integers(1, PROCESSES))
    def begin(self, is_open: bool, processes: int) -> None:
        self.ends = 0
        self.usual = of(day=MOST)
        self.counts = Counts(self.usual)
        self.is_open = is_open
        self.passed = 0
        self.debts_lost = self.leases_lost = 0
        self.ledgers: list[tuple[UUID, QuotaLedger]] = []
        self.unanswered: dict[UUID, int] = {}
        for _ in range(processes):
            self.add()

    def add(self) -> None:
        self.ledgers.append((uuid4(), QuotaLedger(self.usual, slack=SLACK, is_open=self.is_open)))

    @property
    def used(self) -> int:
        return sum(used for key, used in self.counts.used.items() if key.period is Period.DAY)

    @rule(which=st.integers(0, PROCESSES - 1), times=st.integers(1, 9))
    def requests_come(self, which: int, times: int) -> None:
        self.passed += taken(self.of(which)[1], times=times)

    def of(self, which: int) -> tuple[UUID, QuotaLedger]:
        return self.ledgers[which % len(self.ledgers)]

    @rule(which=st.integers(0, PROCESSES - 1), before=st.integers(0, 5), after=st.integers(0, 5))
    def a_batch_is_settled(self, which: int, before: int, after: int) -> None:
        """Requests come while it is on its way, and while its answer is."""
        process, ledger = self.of(which)
        batch = ledger.batch(NOON)
        if batch is None:
            return
        self.passed += taken(ledger, times=before)
        answer = self.counts.settle(process, batch)
        self.passed += taken(ledger, times=after)
        ledger.settled(batch, answer)
        self.unanswered.pop(process, None)

    @rule(which=st.integers(0, PROCESSES - 1), counted=st.booleans())
    def an_answer_is_lost(self, which: int, counted: bool) -> None:
        process, ledger = self.of(which)
        batch = ledger.batch(NOON)
        if batch is None or not counted:
            return
        before = self.counts.seen.get(process, 0)
        answer = self.counts.settle(process, batch)
        if batch.number > before:
            lost = sum(one.granted for key, one in answer.items() if key.period is Period.DAY)
            self.leases_lost += lost
            self.unanswered[process] = batch.number

    @rule(which=st.integers(0, PROCESSES - 1))
    def a_process_crashes(self, which: int) -> None:
        which %= len(self.ledgers)
        self.ends += 1
        process, ledger = self.ledgers[which]
        (count, _) = ledger.counts(SubjectKind.ORGANIZATION, ORGANIZATION, NOON)
        self.debts_lost += count.debt
        if process not in self.unanswered:
            self.debts_lost += count.sent
        self.leases_lost += count.held
        self.ledgers[which] = (uuid4(), QuotaLedger(self.usual, slack=SLACK, is_open=self.is_open))

    @rule(which=st.integers(0, PROCESSES - 1))
    def a_process_ends(self, which: int) -> None:
        which %= len(self.ledgers)
        self.ends += 1
        process, ledger = self.ledgers[which]
        settle(ledger, self.counts, process, last=True)
        self.unanswered.pop(process, None)
        self.ledgers[which] = (uuid4(), QuotaLedger(self.usual, slack=SLACK, is_open=self.is_open))

    @invariant()
    def every_request_is_in_one_place(self) -> None:
        if not hasattr(self, "ledgers"):
            return
        held = owed = 0
        for process, ledger in self.ledgers:
            (count, _) = ledger.counts(SubjectKind.ORGANIZATION, ORGANIZATION, NOON)
            held += count.held
            owed += count.debt + (0 if process in self.unanswered else count.sent)
        # What went through is what the database counts, without the leases that nobody has used, and what is owed.
        assert self.passed == self.used - held - self.leases_lost + owed + self.debts_lost

    @invariant()
    def a_process_alone_never_goes_beyond_the_quota(self) -> None:
        if hasattr(self, "ledgers") and len(self.ledgers) == 1 and not self.ends:
            assert self.passed <= MOST

    @invariant()
    def leases_never_go_beyond_the_quota_and_debts_not_beyond_the_slack(self) -> None:
        if not hasattr(self, "ledgers") or self.is_open:
            return
        assert self.passed <= MOST + SLACK * len(self.ledgers) + self.debts_lost


TestReplicas = Replicas.TestCase
TestReplicas.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
