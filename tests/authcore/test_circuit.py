"""The circuit before a database that does not answer."""

from __future__ import annotations

import asyncio

import pytest

from authcore.errors import StoreUnavailable
from authcore.store.circuit import FAILURES, Circuit, ended
from tests.support.peers import PATIENCE


class Database:
    """Answers a probe or does not."""

    def __init__(self) -> None:
        self.is_there = False
        self.probes = 0

    async def probe(self) -> None:
        self.probes += 1
        if not self.is_there:
            raise ConnectionRefusedError


async def until(circuit: Circuit, *, is_open: bool) -> None:
    async with asyncio.timeout(PATIENCE):
        while circuit.is_open is not is_open:
            await asyncio.sleep(0.005)


async def test_failures_in_a_row_open_it_and_a_sign_of_life_closes_it() -> None:
    database = Database()
    circuit = Circuit(database.probe)
    for _ in range(FAILURES - 1):
        circuit.failed()
    circuit.succeeded()
    for _ in range(FAILURES - 1):
        circuit.failed()
    assert not circuit.is_open
    circuit.failed()
    assert circuit.is_open
    for _ in range(1000):
        with pytest.raises(StoreUnavailable):
            async with circuit.passed():
                pytest.fail("nothing goes through")
    assert database.probes == 0  # requests do not try
    database.is_there = True
    await until(circuit, is_open=False)
    assert database.probes == 1
    async with circuit.passed():
        pass
    await circuit.close()


async def test_what_is_under_way_when_it_opens_waits_no_longer() -> None:
    circuit = Circuit(Database().probe)

    async def statement() -> None:
        async with circuit.passed():
            await asyncio.sleep(60)

    waiting = [asyncio.ensure_future(statement()) for _ in range(5)]
    await asyncio.sleep(0)
    for _ in range(FAILURES):
        circuit.failed()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(one, TimeoutError) for one in outcomes)
    await circuit.close()


async def test_a_suspicion_is_looked_into_and_opens_it_only_when_it_is_right() -> None:
    database = Database()
    circuit = Circuit(database.probe)
    database.is_there = True
    circuit.suspect()
    async with asyncio.timeout(PATIENCE):
        while not database.probes:
            await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    assert (circuit.is_open, database.probes) == (False, 1)
    database.is_there = False
    circuit.suspect()
    await until(circuit, is_open=True)
    await circuit.close()


async def test_a_sign_of_life_elsewhere_closes_it_at_once_if_there_is_one_here() -> None:
    database = Database()
    circuit = Circuit(database.probe)
    for _ in range(FAILURES):
        circuit.failed()
    with pytest.raises(ConnectionRefusedError):
        await circuit.recover()
    assert circuit.is_open
    database.is_there = True
    await circuit.recover()
    assert not circuit.is_open
    await circuit.close()


async def test_a_task_that_swallows_a_cancellation_ends_all_the_same() -> None:
    swallowed = 0

    async def careless() -> None:
        nonlocal swallowed
        while swallowed < 2:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                swallowed += 1
        await asyncio.sleep(60)

    task = asyncio.ensure_future(careless())
    await asyncio.sleep(0)
    await ended(task)
    assert task.cancelled()
    assert swallowed == 2
