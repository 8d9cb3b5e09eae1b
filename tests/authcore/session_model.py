"""A model of families of refresh tokens that knows nothing of the tables of states: machines hold them against it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import jwt
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, run_state_machine_as_test

from authcore.accounts.sessions import Reuse, Sessions
from authcore.credentials import BearerToken, PasswordLogin, RefreshToken
from authcore.errors import (
    AuthError,
    RefreshExpired,
    RefreshReused,
    RefreshRevoked,
    TokenExpired,
    TokenRevoked,
)
from authcore.store.session_rows import Visit
from tests.support.domain import NOW, PASSWORD, SECRET, World, open_store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from authcore.accounts.token_pairs import TokenPair

GRACE, MINUTE, HOUR, WEEK, LIFETIME = 10, 60, 3600, 7 * 86_400, 9 * 86_400
AGENTS = ("Phone/1.0", "Laptop/2.0")


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
    used_by: str = ""
    access_ends: float = 0
    """Of the access token that the first use gave."""
    pair: tuple[str, str] | None = field(default=None, repr=False)


class Modelled(RuleBasedStateMachine):
    """One user, two replicas, a clock that is moved by hand."""

    world: World
    replica: Sessions
    reuse: Reuse
    run: Callable[[Awaitable[Any]], Any]

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

    # -- what is there ------------------------------------------------------------------------------------------------

    def keep(self, pair: TokenPair, family: Family) -> str:
        """Enter a pair into the model."""
        assert family.id in {None, pair.session_id}
        family.id = pair.session_id
        over = family.began + LIFETIME
        expires = int(min(int(self.now) + WEEK, over))
        assert pair.refresh_expires_in == expires - int(self.now)
        family.expires = max(family.expires, expires)
        self.model[pair.refresh_token] = Token(expires, family)
        self.keep_access(pair, family)
        return pair.refresh_token

    def keep_access(self, pair: TokenPair, family: Family) -> None:
        """Enter the access token of a pair."""
        ends = int(min(int(self.now) + HOUR, family.began + LIFETIME))
        assert pair.expires_in == ends - int(self.now)
        family.expires = max(family.expires, ends)
        self.access[pair.access_token] = (family, ends)

    def new_session(self) -> str:
        login = PasswordLogin(self.email, PASSWORD)
        self.families.append(Family(self.now))
        return self.keep(self.run(self.world.accounts.login(login, self.now)).tokens, self.families[-1])

    def new_session_at_whatomate(self) -> str:
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

    # -- what becomes of a use ----------------------------------------------------------------------------------------

    def expected(self, token: Token, agent: str) -> type[AuthError] | None:
        """Return the refusal that a refresh must get; None if it must pass."""
        if token.expires <= self.now:
            return RefreshExpired
        self.enter(token)
        family = token.family
        if family is None or family.ended:
            return RefreshRevoked
        if family.began + LIFETIME <= self.now:
            return RefreshExpired
        if token.used is None or token.used + GRACE > self.now or self.may_again(token, agent):
            return None
        return RefreshReused

    def may_again(self, token: Token, agent: str) -> bool:
        """Return whether a second use after the grace is no theft."""
        assert token.pair is not None
        if self.model[token.pair[1]].used is not None or agent != token.used_by:
            return False
        if self.reuse is Reuse.RETRY:
            return self.now < token.access_ends + MINUTE
        return self.reuse is Reuse.KEEP

    def use(self, text: str, agent: str, at_once: int = 1) -> TokenPair | None:
        """Refresh, so many times at once, on both replicas; return the pair, None where it is refused."""
        token = self.model[text]
        error = self.expected(token, agent)
        doors = [self.world.sessions, self.replica] * 3
        outcomes = self.run(self.at_once(text, agent, doors[:at_once]))
        if error is not None:
            wanted = [error] + [RefreshRevoked if error is RefreshReused else error] * (at_once - 1)
            assert sorted(type(one).__name__ for one in outcomes) == sorted(kind.__name__ for kind in wanted)
            if error is RefreshReused:
                assert token.family is not None
                token.family.ended = True
            return None
        family = token.family
        assert family is not None
        if token.used is None:
            token.used, token.used_by = self.now, agent
            token.pair = (outcomes[0].access_token, outcomes[0].refresh_token)
            self.keep(outcomes[0], family)
            token.access_ends = self.access[outcomes[0].access_token][1]
        assert token.pair is not None
        assert {one.refresh_token for one in outcomes} == {token.pair[1]}
        if self.reuse is Reuse.KEEP and token.used + GRACE <= self.now:
            for one in outcomes:
                self.keep_access(one, family)
        else:
            assert {one.access_token for one in outcomes} == {token.pair[0]}
            assert {one.expires_in for one in outcomes} == {max(0, int(token.access_ends) - int(self.now))}
        pair: TokenPair = outcomes[0]
        return pair

    async def at_once(self, text: str, agent: str, doors: list[Sessions]) -> list[Any]:
        visit = Visit.of(agent, "192.0.2.1")
        tries = (door.refresh(RefreshToken(text), self.now, visit) for door in doors)
        return await asyncio.gather(*tries, return_exceptions=True)

    # -- what is seen -------------------------------------------------------------------------------------------------

    def check_access(self) -> None:
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


def run_machine(kind: type[Modelled], url: str, reuse: Reuse, *, examples: int, steps: int) -> None:
    """Run a machine over two replicas on the database at `url`."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        world, second = (
            World(url, runner.run(open_store(url)), session_seconds=LIFETIME, reuse=reuse) for _ in range(2)
        )
        attributes = {
            "world": world,
            "replica": second.sessions,
            "reuse": reuse,
            "run": staticmethod(runner.run),
        }
        machine = type(kind.__name__, (kind,), attributes)
        try:
            run_state_machine_as_test(
                machine,
                settings=settings(
                    max_examples=examples,
                    stateful_step_count=steps,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            for one in (world, second):
                one.passwords.close()
                runner.run(one.store.close())
