"""Passwords: what is taken, how it is kept, what it costs, and how much of it at once."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import weakref
from typing import TYPE_CHECKING

import bcrypt
import pytest

from authcore.errors import Overloaded, PasswordUnacceptable
from authcore.passwords.bcrypt_pool import BcryptPool
from authcore.passwords.hasher import MAX_LEVELLED_COST, Passwords
from authcore.passwords.stored_hashes import MAX_COST, Unusable

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


@pytest.fixture
def threads_change_often() -> Iterator[None]:
    """A thread may be stopped after any step: what it holds a moment too long is seen."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("threads_change_often")
@pytest.mark.parametrize("is_waited_for", [True, False])
async def test_what_a_job_was_given_is_gone_when_it_is_done_or_nobody_waits_for_it(
    is_waited_for: bool,
) -> None:
    """A collection may exempt what is left of the job, and never find it again: it must hold no password."""

    class Secret:
        pass

    pool = BcryptPool(workers=1, queue=2)
    gc.disable()
    try:
        for _ in range(100):
            secret, free = Secret(), threading.Event()
            given = weakref.ref(secret)
            blocking = asyncio.ensure_future(pool.run(free.wait))
            job = asyncio.ensure_future(pool.run(id, secret))
            del secret
            await asyncio.sleep(0)
            if not is_waited_for:
                job.cancel()
            free.set()
            await asyncio.wait((blocking, job))
            del blocking, job
            while pool.pending:
                await asyncio.sleep(0.001)
            assert given() is None
    finally:
        gc.enable()
        pool.close()


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


def work_of(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Replace bcrypt's check by one that does no work, and return the costs that it is asked for."""
    costs: list[int] = []

    def check(_password: bytes, hashed: bytes) -> bool:
        costs.append(int(hashed[4:6]))
        return False

    monkeypatch.setattr(bcrypt, "checkpw", check)
    return costs


def stored_hash(cost: int) -> str:
    return (
        bcrypt.hashpw(b"correct horse", bcrypt.gensalt(4, prefix=b"2a"))
        .decode()
        .replace("$04$", f"${cost:02}$")
    )


@pytest.mark.parametrize("cost", [4, 8, 10, 12, 15])
@pytest.mark.parametrize("stored", [None, "", "no hash", 4, 7, 10, 12, 14])
async def test_a_failed_verification_costs_the_same_whatever_is_stored(
    monkeypatch: pytest.MonkeyPatch, cost: int, stored: str | int | None
) -> None:
    passwords = Passwords(min_length=8, cost=cost, workers=1, queue=1)
    passwords.learn(14)
    costs = work_of(monkeypatch)
    assert not await passwords.verify("wrong", stored_hash(stored) if isinstance(stored, int) else stored)
    assert sum(2**one for one in costs) == 2 ** max(cost, 14)
    passwords.close()


async def test_what_the_dearest_hash_costs_is_learnt_from_the_first_one_that_is_met(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passwords = Passwords(min_length=8, cost=4, workers=1, queue=1)
    costs = work_of(monkeypatch)
    assert not await passwords.verify("wrong", None)
    assert costs == [4]
    assert not await passwords.verify("wrong", stored_hash(9))
    assert costs == [4, 9]
    assert not await passwords.verify("wrong", None)
    assert costs == [4, 9, 9]
    passwords.close()


async def test_a_hash_above_what_is_levelled_does_not_make_all_others_as_dear(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passwords = Passwords(min_length=8, cost=4, workers=1, queue=1)
    costs = work_of(monkeypatch)
    assert not await passwords.verify("wrong", stored_hash(MAX_COST))
    assert not await passwords.verify("wrong", None)
    assert costs == [MAX_COST, MAX_LEVELLED_COST]
    passwords.close()


async def test_a_right_password_costs_no_more_than_its_own_hash(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = await passwords.hash("correct horse")
    passwords.learn(14)
    real, checks = bcrypt.checkpw, []

    def counting(password: bytes, hashed: bytes) -> bool:
        checks.append(hashed)
        return real(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", counting)
    assert await passwords.verify("correct horse", stored)
    assert checks == [stored.encode()]


@pytest.mark.parametrize(
    ("stored", "why"),
    [
        ("$2a$10$" + "a" * 53, Unusable.MALFORMED),  # the form of a hash, with bits that no encoder writes
        ("$2b$04$" + "." * 21 + "/" + "." * 31, Unusable.MALFORMED),
        ("$2a$03$" + "." * 53, Unusable.MALFORMED),
        ("$2a$00$" + "." * 53, Unusable.MALFORMED),
        ("$2x$10$" + "." * 53, Unusable.MALFORMED),
        ("$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$hash", Unusable.MALFORMED),
        ("$2a$\u0661\u0660$" + "." * 53, Unusable.MALFORMED),
        ("$2a$17$" + "." * 53, Unusable.TOO_COSTLY),
        ("$2a$31$" + "." * 53, Unusable.TOO_COSTLY),
        ("$2y$99$" + "." * 53, Unusable.TOO_COSTLY),
    ],
)
async def test_a_stored_hash_that_cannot_be_tried_is_a_wrong_password_and_is_reported(
    stored: str, why: Unusable
) -> None:
    reported: list[Unusable] = []
    passwords = Passwords(min_length=8, cost=4, workers=1, queue=1, report=reported.append)
    assert not await passwords.verify("correct horse", stored)
    assert reported == [why]
    assert passwords.hashes.unusable == {**dict.fromkeys(Unusable, 0), why: 1}
    assert passwords.pool.pending == 0
    passwords.close()


async def test_an_account_without_a_password_is_no_broken_row(passwords: Passwords) -> None:
    for stored in (None, ""):
        assert not await passwords.verify("correct horse", stored)
    assert set(passwords.hashes.unusable.values()) == {0}


def test_the_process_ends_while_a_hash_is_being_computed() -> None:
    program = (
        "import asyncio, threading, time\n"
        "from authcore.passwords import bcrypt_pool\n"
        "bcrypt_pool.CLOSE_SECONDS = 0.1\n"
        "async def main():\n"
        "    pool = bcrypt_pool.BcryptPool(workers=1, queue=1)\n"
        "    begun = threading.Event()\n"
        "    def job():\n"
        "        begun.set()\n"
        "        threading.Event().wait()  # for ever\n"
        "    task = asyncio.ensure_future(pool.run(job))\n"
        "    await asyncio.sleep(0)\n"
        "    begun.wait()\n"
        "    pool.close()\n"
        "    task.cancel()\n"
        "asyncio.run(main())\n"
        "print('ended')\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout == "ended\n"


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


async def test_a_caller_that_goes_away_while_waiting_leaves_the_queue() -> None:
    pool = BcryptPool(workers=1, queue=1)
    begun, gate = threading.Event(), threading.Event()

    def job() -> None:
        begun.set()
        gate.wait()

    running = asyncio.ensure_future(pool.run(job))
    await asyncio.to_thread(begun.wait)
    waiting = asyncio.ensure_future(pool.run(gate.wait))
    await asyncio.sleep(0)
    assert pool.pending == 2
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


async def test_callers_that_come_and_go_leave_nothing_in_the_queue() -> None:
    pool = BcryptPool(workers=1, queue=4)
    gate = threading.Event()
    running = asyncio.ensure_future(pool.run(gate.wait))
    await asyncio.sleep(0)
    for _ in range(100):
        waiting = asyncio.ensure_future(pool.run(gate.wait))
        await asyncio.sleep(0)
        waiting.cancel()
    await asyncio.sleep(0)
    assert len(pool._jobs) <= 11  # noqa: SLF001 -- what is left behind shows nowhere else
    gate.set()
    assert await running
    pool.close()


async def test_a_closed_pool_refuses() -> None:
    pool = BcryptPool(workers=1, queue=1)
    pool.close()
    with pytest.raises(Overloaded):
        await pool.run(threading.current_thread)
    assert pool.pending == 0
