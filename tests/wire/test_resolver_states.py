"""Resolver: whatever name servers answer and however time goes, it uses what its laws say, by one lookup at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.wire.dns_client import Lookup, LookupFailed, LookupTimedOut, NameAbsent
from gateway.wire.resolver import Resolver, ResolverLimits

if TYPE_CHECKING:
    from collections.abc import Coroutine

LIMITS = ResolverLimits(fewest_seconds=1, most_seconds=5, stale_seconds=60, gone_seconds=10)
ADDRESSES = st.lists(st.sampled_from(["10.0.0.1", "10.0.0.2", "::1"]), min_size=1, unique=True)


class _Clock(asyncio.SelectorEventLoop):
    """Event loop whose time is the test's."""

    now = 1000.0

    def time(self) -> float:
        return self.now


class FollowedName(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = _Clock()
        self.pending: list[asyncio.Future[Lookup]] = []
        self.most_pending = 0
        self.called: list[tuple[str, ...]] = []
        self.resolver = Resolver(self._look_up, LIMITS, self)
        self.expected: set[str] = set()
        self.good_until = self.due = 0.0
        self._run(self._follow())

    def changed(self, name: str, before: tuple[str, ...], after: tuple[str, ...]) -> None:
        assert name == "a.test"
        assert set(before) != set(after)

    def failed(self, name: str, error: LookupFailed, used: tuple[str, ...]) -> None:
        assert (name, error.words) == ("a.test", "the script's")
        assert set(used) <= {"10.0.0.1", "10.0.0.2", "::1"}

    def recovered(self, name: str) -> None:
        assert name == "a.test"

    async def _look_up(self, _name: str) -> Lookup:
        asked: asyncio.Future[Lookup] = self.loop.create_future()
        self.pending.append(asked)
        self.most_pending = max(self.most_pending, len(self.pending))
        return await asked

    async def _follow(self) -> None:
        self.resolver.follow("a.test", self.called.append)

    def _run(self, work: Coroutine[object, object, None]) -> None:
        async def and_settle() -> None:
            await work
            for _ in range(6):
                await asyncio.sleep(0)

        self.loop.run_until_complete(and_settle())

    async def _nothing(self) -> None:
        """Let timers that are due fire."""

    @rule(seconds=st.sampled_from([0.2, 1.0, 5.0, 11.0, 61.0]))
    def time_goes_by(self, seconds: float) -> None:
        self.loop.now += seconds
        self._run(self._nothing())

    @precondition(lambda self: self.pending)
    @rule(addresses=ADDRESSES, ttl=st.sampled_from([0.0, 3.0, 3600.0]))
    def a_name_server_answers(self, addresses: list[str], ttl: float) -> None:
        self.pending.pop().set_result(Lookup(tuple(addresses), ttl))
        used_up = self.loop.now + min(max(ttl, 1.0), 5.0)
        self.expected, self.good_until, self.due = set(addresses), used_up + 60, used_up
        self._run(self._nothing())

    @precondition(lambda self: self.pending)
    @rule(kind=st.sampled_from([LookupFailed, LookupTimedOut, NameAbsent]))
    def a_lookup_fails(self, kind: type[LookupFailed]) -> None:
        self.pending.pop().set_exception(kind("the script's"))
        if kind is NameAbsent:
            self.good_until = min(self.good_until, self.loop.now + 10)
        if self.loop.now >= self.good_until:
            self.expected = set()
        self.due = self.loop.now + 5
        self._run(self._nothing())

    @precondition(lambda self: self.expected)
    @rule(askers=st.integers(1, 3))
    def requests_find_the_good_addresses_at_once(self, askers: int) -> None:
        async def ask() -> None:
            if self.loop.now < self.due and not self.pending:
                found = await asyncio.gather(*(self.resolver.resolve("a.test") for _ in range(askers)))
                assert all(set(one) == self.expected for one in found)

        self._run(ask())

    @invariant()
    def one_lookup_is_under_way_at_most(self) -> None:
        assert self.most_pending <= 1

    @invariant()
    def it_is_looked_up_again_when_the_answer_is_used_up(self) -> None:
        assert self.pending or self.loop.now < self.due

    @invariant()
    def followers_have_the_addresses_that_are_used(self) -> None:
        assert set(self.called[-1] if self.called else ()) == self.expected

    def teardown(self) -> None:
        self.resolver.close()
        self._run(self._nothing())
        self.loop.close()


TestFollowedName = FollowedName.TestCase
TestFollowedName.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
