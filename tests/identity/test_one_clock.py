"""Gateways whose machines disagree about the time, on one database: what they compare is reckoned by its clock."""

from __future__ import annotations

import asyncio
import subprocess
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from authcore.store.clock import DatabaseClock
from tests.support.calls import ask_at, bearer, get, post
from tests.support.processes import eventually
from tests.support.programs import program
from tests.support.sockets import Far, auth, frame, opened
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.support.peers import Upstream
    from tests.support.processes import Process
    from tests.support.worlds import World

    Gateways = Callable[..., Awaitable[list[Process]]]

SIGN_IN = post("/api/auth/login", {"email": "agent@example.com", "password": PASSWORD})


def faked(seconds: int) -> dict[str, str]:
    """The environment in which a program sees a wall clock so many seconds ahead."""
    found = subprocess.run(
        [program("faketime"), "-m", "-f", f"{seconds:+}s", "env"], check=True, capture_output=True, text=True
    )
    names = dict(line.partition("=")[::2] for line in found.stdout.splitlines())
    return {name: names[name] for name in ("LD_PRELOAD", "FAKETIME")} | {"FAKETIME_DONT_FAKE_MONOTONIC": "1"}


async def two(gateways: Gateways) -> tuple[Process, Process]:
    """A gateway whose machine is a minute ahead, and one whose is a minute behind."""
    ahead, behind = [
        (await gateways(1, await asyncio.to_thread(faked, seconds), PASSWORD_COST="4", TOKEN_REUSE="strict"))[
            0
        ]
        for seconds in (60, -60)
    ]
    return ahead, behind


async def granted(gateway: Process, raw: bytes) -> dict[str, Any]:
    answer = await ask_at(gateway.address, raw)
    assert answer.status == 200, answer.body
    content: dict[str, Any] = answer.json()["data"]
    return content


async def test_two_minutes_apart_no_race_is_a_theft_and_nothing_ends_early(gateways: Gateways) -> None:
    both = await two(gateways)
    for first, second in (both, both[::-1]):
        pair = await granted(first, SIGN_IN)
        refresh = post("/api/auth/refresh", {"refresh_token": pair["refresh_token"]})
        began = time.monotonic()
        won, same = await granted(first, refresh), await granted(second, refresh)
        took = time.monotonic() - began
        assert same["refresh_token"] == won["refresh_token"]
        assert abs(won["expires_in"] - same["expires_in"]) <= 2 + took
        assert (
            await ask_at(second.address, get("/api/auth/sessions", bearer(won["access_token"])))
        ).status == 200
        # A ticket lives for thirty seconds, at whichever gateway: only the upstream refuses here.
        ticket = (await granted(first, get("/api/auth/ws-token", bearer(won["access_token"]))))["token"]
        assert (await ask_at(second.address, get(f"/ws?token={ticket}"))).status not in {401, 403}
        # Whoever signs out at one is out at the other, and what begins after that lives.
        await granted(second, post("/api/auth/logout-all", {}, bearer(won["access_token"])))

        async def is_out(at: Process = first, token: str = won["access_token"]) -> bool:
            return (await ask_at(at.address, get("/api/auth/sessions", bearer(token)))).status == 401

        await eventually(is_out)
        await granted(
            first, get("/api/auth/sessions", bearer((await granted(second, SIGN_IN))["access_token"]))
        )


async def test_a_ticket_of_one_opens_a_socket_at_the_other_by_its_first_message(
    gateways: Gateways, upstream: Upstream
) -> None:
    both = await two(gateways)
    for first, second in (both, both[::-1]):
        far = Far()
        upstream.script = far.script
        token = (await granted(first, SIGN_IN))["access_token"]
        ticket = (await granted(first, get("/api/auth/ws-token", bearer(token))))["token"]
        there: Any = second  # a process is as good as a gateway: it has an address
        client = await opened(there)
        said = frame(auth(ticket))
        await client.send(said)
        await far.has(said)
        client.writer.close()


async def test_the_difference_is_measured_and_warned_of_once(gateways: Gateways) -> None:
    for gateway, seconds in zip(await two(gateways), (60, -60), strict=True):

        async def skew(gateway: Process = gateway) -> float:
            page = (await ask_at(gateway.admin, get("/metrics"))).body.decode()
            line = next(one for one in page.splitlines() if one.startswith("gateway_clock_skew_seconds "))
            return float(line.split()[1])

        await eventually(skew)
        assert abs(await skew() - seconds) < 2
        warned = [one for one in gateway.said if one["event"] == "clock_skewed"]
        assert len(warned) <= 1  # those said after "listening" are read when it ends


async def test_what_one_gateway_counts_the_other_takes_for_the_present(
    gateways: Gateways, world: World
) -> None:
    ahead, behind = await two(gateways)
    guess = post("/api/auth/login", {"email": "agent@example.com", "password": "wrong"})
    outcomes = [(await ask_at(gateway.address, guess)).status for gateway in (ahead, behind) * 5]
    assert 429 in outcomes
    assert set(outcomes[outcomes.index(429) :]) == {429}
    (row,) = await world.sql(
        "SELECT max(abs(extract(epoch FROM seen_at - now()))) < 30 AS near FROM gateway_sign_in_failures"
    )
    assert row["near"]


# -- the reckoning ------------------------------------------------------------------------------------------------


def ahead_of_time(seconds: float) -> float:
    return time.time() + seconds


async def test_the_databases_time_is_known_before_it_is_needed(world: World) -> None:
    for ahead in (0, 86_400, -3600):
        clock = world.store.clock(partial(ahead_of_time, ahead))
        assert not clock.measured
        assert abs(await clock.sure() - time.time()) < 1
        assert clock.measured
        assert abs(clock.now() - time.time()) < 1
        (figure,) = clock.figures()
        assert abs(figure.read() - ahead) < 1


async def test_a_measurement_that_took_long_is_not_believed_while_something_better_is_known(
    world: World,
) -> None:
    readings = iter([100.0, 100.2, 200.0, 300.0, 400.0, 399.0])
    clock = DatabaseClock(world.store._pool, lambda: next(readings))  # noqa: SLF001 - no other clock has this pool
    await clock.measure()
    ahead = clock.ahead
    for _ in range(2):  # a hundred seconds; and a clock that was set back meanwhile
        await clock.measure()
        assert clock.ahead == ahead


async def test_without_a_database_the_local_clock_must_do(world: World) -> None:
    await world.store.close()
    clock = world.store.clock(lambda: 7.0)
    assert await clock.sure() == 7.0
    assert not clock.measured
