"""Finding out who has an account, by asking to sign in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bcrypt
import pytest

from tests.support.calls import ask, is_refusal, post
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from tests.support.worlds import Start, World


SIGNIN: dict[str, Any] = {"free_failures": 3, "delay_seconds": 600, "delay_max_seconds": 600}
PEOPLE = {
    "known": "agent@example.com",
    "disabled": "both@example.com",
    "without a password": "root@example.com",
    "deleted": "admin@example.com",
    "unknown": "nobody@example.com",
    "no address": "nobody",
}


def login(email: str, password: str = "a guess") -> bytes:
    return post("/api/auth/login", {"email": email, "password": password})


async def people(world: World) -> None:
    await world.sql("UPDATE users SET is_active = false WHERE id = $1", world.both)
    await world.sql("UPDATE users SET password_hash = NULL WHERE id = $1", world.root)
    await world.sql("UPDATE users SET deleted_at = now() WHERE id = $1", world.admin)


@pytest.mark.parametrize("cost", [4, 6, 9])
async def test_work_is_the_same_whatever_the_stored_hashes_and_the_new_ones_cost(
    world: World, start: Start, monkeypatch: pytest.MonkeyPatch, cost: int
) -> None:
    for user, stored in ((world.agent, 5), (world.both, 8)):
        hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(stored, prefix=b"2a")).decode()
        await world.sql("UPDATE users SET password_hash = $2 WHERE id = $1", user, hashed)
    await world.sql("UPDATE users SET password_hash = $2 WHERE id = $1", world.root, "$2a$08$" + "a" * 53)
    gate = await start(world.url, password={"cost": cost})
    real, work = bcrypt.checkpw, []

    def counting(password: bytes, hashed: bytes) -> bool:
        proved = real(password, hashed)  # raises for what is no hash, having done nothing
        work.append(2 ** int(hashed[4:6]))
        return proved

    monkeypatch.setattr(bcrypt, "checkpw", counting)
    # Of the dearest hash; its cost is known from the start or from here.
    await ask(gate, login("both@example.com"))
    costs = {}
    for email in ("agent@example.com", "both@example.com", "root@example.com", "nobody@example.com"):
        work.clear()
        is_refusal(await ask(gate, login(email)), 401, "Invalid credentials")
        costs[email] = sum(work)
    assert set(costs.values()) == {2 ** max(cost, 8)}, costs


async def test_answers_and_work_are_the_same_for_everybody(
    world: World, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    await people(world)
    gate = await start(world.url, signin=SIGNIN)
    real, compared = bcrypt.checkpw, []

    def counting(password: bytes, hashed: bytes) -> bool:
        compared.append(hashed[:7])
        return real(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", counting)
    stories = {}
    for who, email in PEOPLE.items():
        answers = [await ask(gate, login(email)) for _ in range(5)]
        stories[who] = [(answer.status, answer.body, answer.one("WWW-Authenticate")) for answer in answers]
        assert compared == [b"$2a$04$"] * 3, who
        compared.clear()
    assert [status for status, _, _ in stories["unknown"]] == [401, 401, 401, 429, 429]
    assert all(story == stories["unknown"] for story in stories.values())


async def test_counters_of_unknown_emails_look_like_those_of_known_ones(world: World, start: Start) -> None:
    gate = await start(world.url, signin=SIGNIN)
    for email in (PEOPLE["known"], PEOPLE["unknown"]):
        await world.sql("DELETE FROM gateway_sign_in_failures")
        for _ in range(2):
            await ask(gate, login(email))
        rows = await world.sql("SELECT level FROM gateway_sign_in_failures")
        assert [round(row["level"]) for row in rows] == [2, 2, 2]


async def test_a_throttled_registration_tells_no_more_than_a_refused_one(world: World, start: Start) -> None:
    """The contract reveals that an e-mail is taken. It does not reveal which password it has."""
    gate = await start(world.url, signin=SIGNIN)
    fields = {"email": PEOPLE["known"], "full_name": "A", "organization_id": str(world.home)}
    for _ in range(3):
        assert (
            await ask(gate, post("/api/auth/register", {**fields, "password": "a wrong guess"}))
        ).status == 409
    right = await ask(gate, post("/api/auth/register", {**fields, "password": PASSWORD}))
    wrong = await ask(gate, post("/api/auth/register", {**fields, "password": "a wrong guess"}))
    assert (right.status, right.body) == (wrong.status, wrong.body)
    assert right.status == 429
