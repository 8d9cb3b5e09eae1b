"""Reads of one moment in one statement: who gets which answer, and what a verdict costs the database."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from authcore.credentials import ApiKey, BearerToken
from authcore.errors import StoreUnavailable
from authcore.store.gathering import AT_ONCE, MOST, Gathering
from tests.support.domain import NOW

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from authcore.store.postgres import PostgresStore
    from tests.support.domain import World


class Reader:
    """A database of doubles: it answers each number by twice that, when it is let."""

    def __init__(self) -> None:
        self.statements: list[list[int]] = []
        self.gates: list[asyncio.Future[None]] = []

    async def read(self, questions: Sequence[int]) -> Sequence[int]:
        self.statements.append(list(questions))
        gate = asyncio.get_running_loop().create_future()
        self.gates.append(gate)
        await gate
        return [2 * one for one in questions]


async def turns(number: int = 3) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_an_error_that_its_questions_have_raised_is_gone_without_the_collector() -> None:
    errors: list[weakref.ref[Exception]] = []

    async def read(_questions: Sequence[int]) -> Sequence[int]:
        error = StoreUnavailable()
        errors.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error

    gathering = Gathering(read)
    gc.disable()
    try:
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await gathering.ask(1)
        await turns()
        assert errors[0]() is None
    finally:
        gc.enable()


async def test_questions_of_one_turn_share_a_statement_and_each_gets_its_own_answer() -> None:
    reader = Reader()
    gathering = Gathering(reader.read)
    asked = [asyncio.ensure_future(gathering.ask(number)) for number in range(5)]
    await turns()
    assert reader.statements == [[0, 1, 2, 3, 4]]
    reader.gates[0].set_result(None)
    assert await asyncio.gather(*asked) == [0, 2, 4, 6, 8]


async def test_no_statement_has_more_questions_than_it_may_and_their_order_is_that_of_asking() -> None:
    reader = Reader()
    gathering = Gathering(reader.read)
    asked = [asyncio.ensure_future(gathering.ask(number)) for number in range(2 * MOST + 1)]
    await turns()
    assert [len(one) for one in reader.statements] == [MOST, MOST, 1]
    assert [one for some in reader.statements for one in some] == list(range(2 * MOST + 1))
    for gate in reader.gates:
        gate.set_result(None)
    await asyncio.gather(*asked)


async def test_what_is_asked_while_enough_statements_are_under_way_goes_with_the_next() -> None:
    reader = Reader()
    gathering = Gathering(reader.read)
    asked = []
    for number in range(AT_ONCE + 3):
        asked.append(asyncio.ensure_future(gathering.ask(number)))
        await turns()
    assert reader.statements == [[number] for number in range(AT_ONCE)]
    reader.gates[1].set_result(None)
    await turns(5)
    assert reader.statements[AT_ONCE:] == [[AT_ONCE, AT_ONCE + 1, AT_ONCE + 2]]
    for gate in (*reader.gates[:1], *reader.gates[2:]):
        gate.set_result(None)
    assert await asyncio.gather(*asked) == [2 * number for number in range(AT_ONCE + 3)]


async def test_an_error_is_that_of_each_question_in_the_statement_and_of_no_later_one() -> None:
    reader = Reader()
    gathering = Gathering(reader.read)
    asked = [asyncio.ensure_future(gathering.ask(number)) for number in range(3)]
    await turns()
    reader.gates[0].set_exception(StoreUnavailable())
    for one in asked:
        with pytest.raises(StoreUnavailable):
            await one
    later = asyncio.ensure_future(gathering.ask(7))
    await turns()
    reader.gates[1].set_result(None)
    assert await later == 14


async def test_a_caller_who_leaves_takes_no_other_one_along() -> None:
    reader = Reader()
    gathering = Gathering(reader.read)
    early, left, stays = (asyncio.ensure_future(gathering.ask(number)) for number in range(3))
    await asyncio.sleep(0)
    early.cancel()  # before the statement has begun
    await turns()
    left.cancel()
    await turns()
    assert reader.statements == [[1, 2]]
    reader.gates[0].set_result(None)
    assert await stays == 4
    assert (early.cancelled(), left.cancelled()) == (True, True)


async def test_callers_of_a_statement_that_is_cancelled_are_cancelled_and_do_not_wait_on() -> None:
    reader = Reader()
    gathering = Gathering(reader.read)
    asked = asyncio.ensure_future(gathering.ask(1))
    await turns()
    reader.gates[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked


def statements(store: PostgresStore) -> int:
    (waits,) = (one for one in store.histograms() if one.name == "wait_seconds")
    return sum(waits.histogram.counts)


async def test_a_verdict_takes_one_statement(world: World) -> None:
    home, other = await world.organization(), await world.organization("Other")
    user = await world.user(home)
    await world.accounts.administration.add_member(user, other, None)
    key, _ = await world.key(user, home)
    session = uuid4()
    await world.sql(
        "INSERT INTO gateway_sessions (id, user_id, organization_id, created_at, expires_at) "
        "VALUES ($1, $2, $3, now(), now() + interval '1 day')",
        session,
        user,
        home,
    )

    def token(**changes: object) -> BearerToken:
        of = {"user_id": user, "organization_id": home, "email": "", "role_id": None, "is_super_admin": False}
        return BearerToken(world.tokens.issue_access(**{**of, "now": NOW, **changes}).encode())  # type: ignore[arg-type]

    asks: dict[str, tuple[BearerToken | ApiKey, UUID | None]] = {
        "token": (token(), None),
        "token of a session": (token(session_id=session), None),
        "token, for another organization": (token(), other),
        "key that was proved": (ApiKey(key), None),
        "unknown key": (ApiKey(b"whm_" + b"0" * 32), None),
        "token of nobody": (token(user_id=uuid4()), None),
    }
    await world.new_authenticator().authenticate(ApiKey(key), None, NOW)  # bcrypt proves it once
    for what, (credential, organization) in asks.items():
        authenticator, before = world.new_authenticator(), statements(world.store)
        await asyncio.gather(
            authenticator.authenticate(credential, organization, NOW), return_exceptions=True
        )
        assert statements(world.store) - before == 1, what


async def test_many_first_uses_at_once_get_each_their_own_user(world: World) -> None:
    home = await world.organization()
    users = [await world.user(home, f"user{number}@example.com") for number in range(2 * MOST)]
    found = await asyncio.gather(*(world.store.subject(user, home) for user in [*users, uuid4()]))
    assert [one and (one.user_id, one.email) for one in found] == [
        *((user, f"user{number}@example.com") for number, user in enumerate(users)),
        None,
    ]
