"""The states of refresh tokens, held against a model that knows nothing of the tables, over a real PostgreSQL."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, precondition, rule

from authcore.accounts.sessions import TABLES, Effect, Event, Reuse, State
from authcore.credentials import RefreshToken
from authcore.errors import SessionUnknown, TokenRevoked
from tests.authcore.session_model import AGENTS, GRACE, HOUR, LIFETIME, MINUTE, WEEK, Modelled, run_machine
from tests.support.domain import NOW

if TYPE_CHECKING:
    from uuid import UUID

    from tests.authcore.session_model import Family

SECOND_USES = {Event.RACE, Event.RETRY, Event.RETURN}


@pytest.mark.parametrize("reuse", Reuse)
def test_the_table_says_what_happens_to_every_token(reuse: Reuse) -> None:
    table = TABLES[reuse]
    never = {(State.ISSUED, event) for event in SECOND_USES}  # what was never used has no second use
    assert set(table) == set(product(State, Event)) - never
    over = {State.REUSED, State.REVOKED, State.EXPIRED}
    for (state, event), (following, effect) in table.items():
        assert (effect is Effect.REFUSE) == (state in over)
        assert (following == state) == (effect in {Effect.REFUSE, Effect.REPEAT, Effect.RENEW})
        assert (event is Event.LOGOUT) <= (effect in {Effect.END, Effect.REFUSE})
        assert (effect is Effect.END) == (following in over - {state})
        assert (event is Event.RACE) <= (effect in {Effect.REPEAT, Effect.REFUSE})
        assert (state is State.SUPERSEDED) <= (event is Event.RACE or effect is Effect.END)
        assert (effect is Effect.ISSUE) == ((state, event) == (State.ISSUED, Event.REFRESH))


class Families(Modelled):
    """One user, two replicas, a clock that is moved by hand."""

    tokens = Bundle("tokens")

    @rule(seconds=st.sampled_from([0.25, 5, 9.75, 10, 10, 11, HOUR, HOUR + MINUTE, WEEK / 2, WEEK - 1, WEEK]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    # -- tokens -------------------------------------------------------------------------------------------------------

    @rule(target=tokens)
    def sign_in(self) -> str:
        return self.new_session()

    @rule(target=tokens)
    def sign_in_at_whatomate(self) -> str:
        return self.new_session_at_whatomate()

    @rule(
        target=tokens,
        text=tokens,
        seconds=st.sampled_from([0, 9.75, 10, 11, HOUR + MINUTE - 1, HOUR + MINUTE]),
        agent=st.sampled_from(AGENTS),
    )
    def refresh_twice(self, text: str, seconds: float, agent: str) -> str:
        following = self.refresh(text, 2, AGENTS[0])
        self.now += seconds
        self.refresh(text, 2, agent)
        return str(following)

    @rule(target=tokens, text=tokens, at_once=st.integers(1, 6), agent=st.sampled_from(AGENTS))
    def refresh(self, text: str, at_once: int, agent: str) -> str:
        pair = self.use(text, agent, at_once)
        return text if pair is None else pair.refresh_token

    # -- ends ---------------------------------------------------------------------------------------------------------

    @rule(text=tokens)
    def log_out(self, text: str) -> None:
        self.run(self.replica.close(RefreshToken(text), self.now))
        token = self.model[text]
        if token.expires <= self.now:
            return
        self.enter(token)
        if token.family is not None and token.family.began + LIFETIME > self.now:
            token.family.ended = True

    def live(self) -> set[UUID | None]:
        return {family.id for family in self.families if family.id and self.is_live(family)}

    def is_live(self, family: Family) -> bool:
        return not family.ended and min(family.expires, family.began + LIFETIME) > self.now

    @rule(text=tokens)
    def end_one(self, text: str) -> None:
        family = self.model[text].family
        if family is None or family.id is None:
            return
        try:
            self.run(self.replica.close_one(self.user, family.id, self.now))
        except SessionUnknown:
            assert family.ended or family.expires <= self.now
        else:
            assert not family.ended
            family.ended = True

    @rule(text=st.none() | tokens)
    def end_others(self, text: str | None) -> None:
        kept = None if text is None else self.model[text].family
        self.run(self.replica.close_others(self.user, None if kept is None else kept.id, self.now))
        self.signed_out = self.now
        for family in self.families:
            if family is not kept and family.expires > self.now:
                family.ended = True

    # -- what is seen -------------------------------------------------------------------------------------------------

    @rule()
    def look(self) -> None:
        known = {family.id for family in self.families}
        shown = {one.id for one in self.run(self.world.sessions.of_user(self.user, None, self.now))}
        assert shown & known == self.live()

    @rule()
    def call(self) -> None:
        self.check_access()

    @rule(text=tokens)
    def switch(self, text: str) -> None:
        family = self.model[text].family
        if family is None or family.id is None:
            return
        work = self.world.accounts.switch(self.user, self.organization, self.now, family.id)
        if family.ended:
            with pytest.raises(TokenRevoked):
                self.run(work)
        elif self.is_live(family):  # else there is no token to ask with
            self.keep(self.run(work).tokens, family)
        else:
            work.close()

    @rule()
    def tidy(self) -> None:
        self.run(self.world.sessions.forget_successors(self.now))
        self.run(self.replica.purge(self.now))


@pytest.mark.parametrize("reuse", Reuse)
def test_families_do_what_the_model_does(shared_url: str, reuse: Reuse) -> None:
    run_machine(Families, shared_url, reuse, examples=20, steps=25)


# -- two actors ---------------------------------------------------------------------------------------------------

A_DAY_LATER = NOW + 24 * HOUR


class OwnerAndThief(Modelled):
    """An owner, whose client takes successors or does not, and a thief who takes what they can get, for a day."""

    def __init__(self) -> None:
        super().__init__()
        self.owner: str | None = None
        self.keeps = False
        self.owned: list[str] = []
        self.loot: str | None = None
        self.has_thief_used = False
        self.has_owner_strayed = False

    @precondition(lambda self: self.owner is None)
    @rule(keeps=st.booleans(), at_whatomate=st.booleans())
    def sign_in(self, keeps: bool, at_whatomate: bool) -> None:
        self.owner = self.new_session_at_whatomate() if at_whatomate else self.new_session()
        self.keeps = keeps
        self.owned = [self.owner]

    @precondition(lambda self: self.now < A_DAY_LATER)
    @rule(
        seconds=st.sampled_from(
            [1, 9, 10, 5 * MINUTE, HOUR - 1, HOUR, HOUR + MINUTE - 1, HOUR + MINUTE, 6 * HOUR]
        )
    )
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.run(self.world.sessions.forget_successors(self.now))

    @precondition(lambda self: self.owner)
    @rule(is_answer_lost=st.booleans())
    def the_owner_refreshes(self, is_answer_lost: bool) -> None:
        assert self.owner is not None
        token = self.model[self.owner]
        # Beyond what a client that comes again is promised: later than a retry, or where none is allowed.
        self.has_owner_strayed |= (
            token.used is not None and token.used + GRACE <= self.now and not self.may_again(token, AGENTS[0])
        )
        pair = self.use(self.owner, AGENTS[0])
        if pair is None:
            assert self.has_thief_used or self.has_owner_strayed  # the owner alone never loses the session
            self.check_access()
            return
        if not is_answer_lost and not self.keeps:
            self.owner = pair.refresh_token
            self.owned.append(self.owner)

    @precondition(lambda self: self.owned)
    @rule(place=st.integers(0, 5))
    def the_thief_steals(self, place: int) -> None:
        self.loot = self.owned[-1 - place % len(self.owned)]

    @precondition(lambda self: self.loot)
    @rule(is_disguised=st.booleans(), takes_successor=st.booleans())
    def the_thief_refreshes(self, is_disguised: bool, takes_successor: bool) -> None:
        assert self.loot is not None
        self.has_thief_used = True
        pair = self.use(self.loot, AGENTS[0] if is_disguised else AGENTS[1])
        if pair is None:
            self.check_access()  # nobody's goes on
        elif takes_successor:
            self.loot = pair.refresh_token


@pytest.mark.parametrize("reuse", Reuse)
def test_an_owner_and_a_thief_for_a_day(shared_url: str, reuse: Reuse) -> None:
    run_machine(OwnerAndThief, shared_url, reuse, examples=25, steps=40)
