"""Endpoints of an upstream: in turns, the unreachable behind the others, none given up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest

from gateway.wire.round_robin import Endpoints

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.wire.upstream import UpstreamConnection

ANY = cast("Callable[[], UpstreamConnection]", None)  # these dials make no protocol


class Stage:
    """Endpoints that are reached, or not, as the test says; and a clock."""

    def __init__(self, *names: str) -> None:
        self.now = 0.0
        self.away: set[str] = set()
        self.silent: set[str] = set()
        self.tried: list[str] = []
        self.endpoints = Endpoints({name: self._dialler(name) for name in names}, 0.2, lambda: self.now)

    def _dialler(self, name: str) -> Any:
        async def dial(_protocol: object) -> tuple[str, str]:
            self.tried.append(name)
            if name in self.silent:
                await asyncio.sleep(30)
            if name in self.away:
                raise ConnectionRefusedError(name)
            return name, name

        return dial

    async def reached(self) -> str:
        return cast("str", (await self.endpoints.dial(ANY))[0])


async def test_endpoints_take_turns() -> None:
    stage = Stage("a", "b", "c")
    assert [await stage.reached() for _ in range(6)] == ["a", "b", "c", "a", "b", "c"]


async def test_an_address_that_is_away_costs_no_connection_and_is_asked_less_and_less() -> None:
    stage = Stage("a", "b")
    stage.away = {"a"}
    assert [await stage.reached() for _ in range(6)] == ["b"] * 6
    assert stage.tried.count("a") == 1
    for second in (0.5, 1.1, 2.0, 2.9, 3.2):  # behind the others until 1, then until 3.1
        stage.now = second
        await stage.reached()
        await stage.reached()
    assert stage.tried.count("a") == 3
    stage.away, stage.now = set(), 100
    assert sorted([await stage.reached(), await stage.reached()]) == ["a", "b"]


async def test_when_none_was_reached_all_are_tried() -> None:
    stage = Stage("a", "b")
    stage.away = {"a", "b"}
    for _ in range(2):
        stage.tried.clear()
        with pytest.raises(ConnectionRefusedError):
            await stage.reached()
        assert sorted(stage.tried) == ["a", "b"]
    stage.away = {"a"}
    assert await stage.reached() == "b"


async def test_an_address_that_does_not_answer_leaves_time_for_the_next() -> None:
    stage = Stage("a", "b")
    stage.silent = {"a"}
    assert await stage.reached() == "b"
    assert await stage.reached() == "b"
    assert stage.tried == ["a", "b", "b"]


async def test_a_long_outage_of_all_ends_when_one_is_back() -> None:
    stage = Stage("a", "b")
    stage.away = {"a", "b"}
    for _ in range(1100):
        stage.now += 1000
        with pytest.raises(ConnectionRefusedError):
            await stage.reached()
    stage.away = {"a"}
    for _ in range(10):
        stage.now += 1000
        assert await stage.reached() == "b"


async def test_dials_that_fail_at_once_are_one_failure() -> None:
    stage = Stage("a", "b")
    stage.away = {"a", "b"}
    await asyncio.gather(*(stage.reached() for _ in range(8)), return_exceptions=True)
    stage.away, stage.now = set(), 1.1  # one failure is forgiven after a second
    assert sorted([await stage.reached(), await stage.reached()]) == ["a", "b"]
