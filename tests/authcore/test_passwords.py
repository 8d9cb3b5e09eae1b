"""Passwords: what is taken, how it is kept, what it costs, and how much of it at once."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import bcrypt
import pytest

from authcore.errors import Overloaded, PasswordUnacceptable
from authcore.passwords import BcryptPool, Passwords

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    passwords = Passwords(min_length=8, cost=4, workers=2, queue=100)
    yield passwords
    passwords.close()


async def test_a_hash_is_as_go_writes_it_and_verifies(passwords: Passwords) -> None:
    stored = await passwords.hash("correct horse")
    assert stored.startswith("$2a$04$")
    assert len(stored) == 60
    assert await passwords.verify("correct horse", stored)
    assert not await passwords.verify("correct horsf", stored)
    assert await passwords.hash("correct horse") != stored


async def test_a_hash_written_by_go_verifies(passwords: Passwords) -> None:
    # golang.org/x/crypto/bcrypt's own test vector (bcrypt_test.go), cost 10.
    stored = "$2a$10$XajjQvNhvvRt5GSeFk1xFeyqRrsxkhBkUiQeg0dt.wU1qD4aFDcga"
    assert await passwords.verify("allmine", stored)
    assert not await passwords.verify("allmine ", stored)


@pytest.mark.parametrize("password", ["", "seven77", "x" * 73, "ä" * 37, "with\0nul", "\ud800urrogate"])
async def test_an_unacceptable_password_is_refused_before_any_work(
    passwords: Passwords, password: str
) -> None:
    with pytest.raises(PasswordUnacceptable) as refusal:
        await passwords.hash(password)
    assert passwords.pool.started == 0
    assert len(password) < 8 or password not in str(refusal.value)


@pytest.mark.parametrize(
    "password", ["eight888", "x" * 72, "ä" * 36, "pass word with spaces", "🔑🔑🔑🔑🔑🔑🔑🔑"]
)
async def test_every_byte_of_an_acceptable_password_counts(passwords: Passwords, password: str) -> None:
    stored = await passwords.hash(password)
    assert await passwords.verify(password, stored)
    assert not await passwords.verify(password[:-1], stored)
    assert not await passwords.verify(password[:-1] + "?", stored)


async def test_what_bcrypt_would_not_read_is_not_ignored(passwords: Passwords) -> None:
    stored = await passwords.hash("x" * 72)
    assert not await passwords.verify("x" * 73, stored)
    assert not await passwords.verify("x" * 72 + "anything", stored)


@pytest.mark.parametrize(
    "stored",
    [
        None,
        "",
        "x",
        "plain text",
        "$2a$04$short",
        "$2a$99$" + "." * 53,
        "$2a$03$" + "." * 53,
        "$1$" + "x" * 57,
        "ä" * 60,
        "$2a$04$" + "!" * 53,
        "$2a$04$" + "." * 53 + "\n",
        "\x00" * 60,
    ],
)
async def test_what_is_no_hash_verifies_nothing_and_costs_one_bcrypt(
    passwords: Passwords, stored: str | None
) -> None:
    for password in ("password", "", "x" * 100, "\ud800"):
        before = passwords.pool.started
        assert not await passwords.verify(password, stored)
        assert passwords.pool.started == before + 1


async def test_a_password_that_cannot_be_right_costs_one_bcrypt_too(passwords: Passwords) -> None:
    stored = await passwords.hash("correct horse")
    for password in ("", "wrong", "x" * 73, "x" * 100_000, "\ud800", "nul\0nul"):
        before = passwords.pool.started
        assert not await passwords.verify(password, stored)
        assert passwords.pool.started == before + 1


async def test_the_dummy_costs_what_a_new_hash_costs() -> None:
    for cost in (4, 10):
        passwords = Passwords(min_length=8, cost=cost, workers=1, queue=1)
        new = (await passwords.hash("password")).split("$")[2]
        assert passwords._dummy.decode().split("$")[2] == new == f"{cost:02}"  # noqa: SLF001 - its cost shows nowhere else
        passwords.close()


async def test_bcrypt_runs_off_the_event_loop(passwords: Passwords) -> None:
    where = await passwords.pool.run(threading.current_thread)
    assert where is not threading.current_thread()
    assert where.name.startswith("bcrypt")


async def test_waiting_work_is_bounded_and_the_bound_is_given_back() -> None:
    pool = BcryptPool(workers=1, queue=2)
    gate = threading.Event()
    waiting = [asyncio.ensure_future(pool.run(gate.wait)) for _ in range(3)]
    await asyncio.sleep(0)
    for _ in range(3):
        with pytest.raises(Overloaded):
            await pool.run(gate.wait)
    gate.set()
    assert await asyncio.gather(*waiting) == [True] * 3
    assert pool.pending == 0
    assert await pool.run(bcrypt.gensalt, 4)
    pool.close()


async def test_who_goes_away_while_waiting_leaves_the_queue() -> None:
    pool = BcryptPool(workers=1, queue=1)
    gate = threading.Event()
    running = asyncio.ensure_future(pool.run(gate.wait))
    waiting = asyncio.ensure_future(pool.run(gate.wait))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert pool.pending == 1
    # Whose thread is at work goes on counting after its caller has gone: the thread is not free.
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert pool.pending == 1
    gate.set()
    pool.close()
    assert pool.pending == 0


async def test_a_closed_pool_refuses() -> None:
    pool = BcryptPool(workers=1, queue=1)
    pool.close()
    with pytest.raises(Overloaded):
        await pool.run(threading.current_thread)
    assert pool.pending == 0
