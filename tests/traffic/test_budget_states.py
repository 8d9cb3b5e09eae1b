"""Breaker and budget against the plainest reading: a list of the requests at work, each a retry or not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.traffic.breaker import BUDGET, REQUESTS, RETRIES, Breaker
from gateway.traffic.retry import IDEMPOTENT, SAFE, RetryBudget, RetryPolicy


class BreakerStates(RuleBasedStateMachine):
    """Requests enter, are sent again and leave, while the bounds change."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker()
        self.at_work: list[bool] = []  # whether each is a retry
        self.refused = self.over_budget = self.over_retries = 0

    @rule(
        requests=st.integers(0, 8),
        retries=st.integers(0, 4),
        percent=st.integers(0, 100),
        floor=st.integers(0, 4),
    )
    def rebound(self, requests: int, retries: int, percent: int, floor: int) -> None:
        self.breaker.requests, self.breaker.retries = requests, retries
        self.breaker.budget = RetryBudget(percent, floor)

    @rule()
    def enter(self) -> None:
        fits = not self.breaker.requests or len(self.at_work) < self.breaker.requests
        assert self.breaker.enter() is fits
        if fits:
            self.at_work.append(False)
        else:
            self.refused += 1

    @precondition(lambda self: False in self.at_work)
    @rule()
    def retry(self) -> None:
        retrying, budget = sum(self.at_work), self.breaker.budget
        if self.breaker.retries and retrying >= self.breaker.retries:
            self.over_retries += 1
            assert not self.breaker.begin_retry()
            return
        share = (retrying + 1) / len(self.at_work) * 100 <= budget.percent + 1e-9
        if retrying < budget.floor or share:
            assert self.breaker.begin_retry()
            self.at_work[self.at_work.index(False)] = True
        else:
            self.over_budget += 1
            assert not self.breaker.begin_retry()

    @precondition(lambda self: True in self.at_work)
    @rule()
    def retry_ends(self) -> None:
        self.breaker.end_retry()
        self.at_work[self.at_work.index(True)] = False

    @precondition(lambda self: False in self.at_work)
    @rule()
    def leave(self) -> None:
        self.breaker.leave()
        self.at_work.remove(False)

    @invariant()
    def counts_agree(self) -> None:
        breaker = self.breaker
        assert (breaker.active, breaker.retrying) == (len(self.at_work), sum(self.at_work))
        assert breaker.refused[REQUESTS] == self.refused
        assert breaker.denied == {BUDGET: self.over_budget, RETRIES: self.over_retries}


TestBreakerStates = BreakerStates.TestCase
TestBreakerStates.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


@given(active=st.integers(0, 500), percent=st.integers(0, 100), floor=st.integers(0, 20))
def test_retries_at_once_never_exceed_the_share_or_the_floor(active: int, percent: int, floor: int) -> None:
    budget, retrying = RetryBudget(percent, floor), 0
    while retrying < active and budget.allows(active, retrying):
        retrying += 1
    assert retrying == min(active, max(floor, active * percent // 100))


@given(
    retry=st.integers(1, 1000), chance=st.floats(0, 1), base=st.floats(0.001, 10), most=st.floats(0.001, 60)
)
def test_a_pause_is_within_its_bound(retry: int, chance: float, base: float, most: float) -> None:
    pause = RetryPolicy(backoff_seconds=base, backoff_max_seconds=most).pause(retry, chance)
    assert 0 <= pause <= most
    if retry == 1:
        assert pause <= base


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE", b"POST", b"X"])
@pytest.mark.parametrize("idempotent", [False, True])
@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize("has_key", [False, True])
def test_a_method_is_repeated_only_by_permission(
    method: bytes, idempotent: bool, keyed: bool, has_key: bool
) -> None:
    policy = RetryPolicy(idempotent=idempotent, keyed=keyed)
    allowed = method in SAFE or (idempotent and method in IDEMPOTENT) or (keyed and has_key)
    assert policy.allows(method, has_key=has_key) is allowed
