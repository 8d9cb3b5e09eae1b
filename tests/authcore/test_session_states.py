"""The states of refresh tokens, held against a model that knows nothing of the table, over a real PostgreSQL."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import jwt
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from authcore.credentials import BearerToken, PasswordLogin, RefreshToken
from authcore.errors import (
    AuthError,
    RefreshExpired,
    RefreshReused,
    RefreshRevoked,
    SessionUnknown,
    TokenExpired,
    TokenRevoked,
)
from authcore.sessions import TABLE, Effect, Event, Sessions, State
from tests.authcore.conftest import NOW, PASSWORD, SECRET, World, open_store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from authcore.pairs import TokenPair

GRACE, HOUR, WEEK, LIFETIME = 10, 3600, 7 * 86_400, 9 * 86_400


def test_the_table_says_what_happens_to_every_token() -> None:
    never = {(State.ISSUED, Event.RACE)}  # what was never used is raced for by nobody
    assert set(TABLE) == set(product(State, Event)) - never
    over = {State.REUSED, State.REVOKED, State.EXPIRED}
    for (state, event), (following, effect) in TABLE.items():
        assert (effect is Effect.REFUSE) == (state in over)
        assert (following == state) == (effect in {Effect.REFUSE, Effect.REPEAT})
        assert (event is Event.LOGOUT) <= (effect in {Effect.END, Effect.REFUSE})
        assert (effect is Effect.END) == (following in over - {state})


@dataclass(eq=False)
class Family:
    """A session of the model."""

    began: float
    id: UUID | None = None
    ended: bool = False
    expires: float = 0


@dataclass(eq=False)
class Token:
    """A refresh token of the model; one that Whatomate issued has no family before its first use."""

    expires: float
    family: Family | None
    issued: float = 0
    used: float | None = None
    pair: tuple[str, str] | None = field(default=None, repr=False)


class Families(RuleBasedStateMachine):
    """One user, two replicas, a clock that is moved by hand."""

    world: World
    replica: Sessions
    run: Callable[[Awaitable[Any]], Any]

    tokens = Bundle("tokens")

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.model: dict[str, Token] = {}
        self.access: dict[str, tuple[Family, float]] = {}
        self.families: list[Family] = []
        self.signed_out: float = 0

    @initialize()
    def begin(self) -> None:
        self.email = f"{uuid4().hex}@example.com"
        self.organization = self.run(self.world.organization(f"Acme {uuid4().hex}"))
        self.user = self.run(self.world.user(self.organization, self.email))

    # -- time ---------------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.25, 5, 9.75, 10, 10, 11, HOUR, HOUR + 1, WEEK / 2, WEEK - 1, WEEK]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    # -- tokens -------------------------------------------------------------------------------------------------------

    def keep(self, pair: TokenPair, family: Family) -> str:
        """Enter a pair into the model."""
        assert family.id in {None, pair.session_id}
        family.id = pair.session_id
        over = family.began + LIFETIME
        expires = int(min(int(self.now) + WEEK, over))
        assert pair.refresh_expires_in == expires - int(self.now)
        family.expires = max(family.expires, expires)
        self.model[pair.refresh_token] = Token(expires, family)
        self.access[pair.access_token] = (family, int(min(int(self.now) + HOUR, over)))
        return pair.refresh_token

    @rule(target=tokens)
    def sign_in(self) -> str:
        login = PasswordLogin(self.email, PASSWORD)
        self.families.append(Family(self.now))
        return self.keep(self.run(self.world.accounts.login(login, self.now)).tokens, self.families[-1])

    @rule(target=tokens)
    def sign_in_at_whatomate(self) -> str:
        claims = {
            "user_id": str(self.user),
            "organization_id": str(self.organization),
            "iss": "whatomate",
            "jti": str(uuid4()),
            "iat": int(self.now),
            "exp": int(self.now) + WEEK,
        }
        token = jwt.encode(claims, SECRET, algorithm="HS256")
        self.model[token] = Token(int(self.now) + WEEK, None, issued=int(self.now))
        return token

    def enter(self, token: Token) -> None:
        """Whatomate's token begins a family, unless all was ended since."""
        if token.family is None and self.signed_out < token.issued:
            token.family = Family(self.now, expires=token.expires)
            self.families.append(token.family)

    def expected(self, token: Token) -> type[AuthError] | None:
        """What a refresh is refused for; None when it is not."""
        if token.expires <= self.now:
            return RefreshExpired
        self.enter(token)
        family = token.family
        if family is None or family.ended:
            return RefreshRevoked
        if family.began + LIFETIME <= self.now:
            return RefreshExpired
        if token.used is not None and token.used + GRACE <= self.now:
            return RefreshReused
        return None

    @rule(target=tokens, text=tokens, seconds=st.sampled_from([0, 9.75, 10, 11]))
    def refresh_twice(self, text: str, seconds: float) -> str:
        following = self.refresh(text, 2)
        self.now += seconds
        self.refresh(text, 2)
        return following

    @rule(target=tokens, text=tokens, at_once=st.integers(1, 6))
    def refresh(self, text: str, at_once: int) -> str:
        """Refresh, so many times at once, on both replicas."""
        token = self.model[text]
        error = self.expected(token)
        doors = [self.world.sessions, self.replica] * 3
        outcomes = self.run(self.at_once(text, doors[:at_once]))
        if error is not None:
            wanted = [error] + [RefreshRevoked if error is RefreshReused else error] * (at_once - 1)
            assert sorted(type(one).__name__ for one in outcomes) == sorted(kind.__name__ for kind in wanted)
            if error is RefreshReused:
                assert token.family is not None
                token.family.ended = True
            return text
        pairs = {(one.access_token, one.refresh_token) for one in outcomes}
        assert len(pairs) == 1
        if token.used is not None:
            assert pairs == {token.pair}
            return text
        assert token.family is not None
        token.used, (token.pair,) = self.now, pairs
        return self.keep(outcomes[0], token.family)

    async def at_once(self, text: str, doors: list[Sessions]) -> list[Any]:
        tries = (door.refresh(RefreshToken(text), self.now) for door in doors)
        return await asyncio.gather(*tries, return_exceptions=True)

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
        return {
            family.id
            for family in self.families
            if family.id and not family.ended and min(family.expires, family.began + LIFETIME) > self.now
        }

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
        self.run(self.replica.close_others(self.user, kept and kept.id, self.now))
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
        """Use every access token there is."""
        for text, (family, expires) in self.access.items():
            answer = self.run(self.ask(text))
            if expires <= self.now:
                assert answer is TokenExpired
            elif family.ended:
                assert answer is TokenRevoked
            else:
                assert answer == family.id

    async def ask(self, text: str) -> object:
        try:
            principal = await self.world.new_authenticator().authenticate(
                BearerToken(text.encode()), None, self.now
            )
        except AuthError as error:
            return type(error)
        return principal.session_id

    @rule(text=tokens)
    def switch(self, text: str) -> None:
        family = self.model[text].family
        if family is None or family.id is None:
            return
        work = self.world.accounts.switch(self.user, self.organization, self.now, family.id)
        if family.ended:
            with pytest.raises(TokenRevoked):
                self.run(work)
        elif min(family.expires, family.began + LIFETIME) > self.now:  # else there is no token to ask with
            self.keep(self.run(work).tokens, family)
        else:
            work.close()

    @rule()
    def tidy(self) -> None:
        self.run(self.world.sessions.forget_successors(self.now))
        self.run(self.replica.purge(self.now))


def test_families_do_what_the_model_does(shared_url: str) -> None:
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        world, second = (
            World(shared_url, runner.run(open_store(shared_url)), session_seconds=LIFETIME) for _ in range(2)
        )

        class Machine(Families):
            pass

        Machine.world, Machine.replica = world, second.sessions
        Machine.run = staticmethod(runner.run)
        try:
            run_state_machine_as_test(
                Machine,
                settings=settings(
                    max_examples=40,
                    stateful_step_count=25,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            for one in (world, second):
                one.passwords.close()
                runner.run(one.store.close())
