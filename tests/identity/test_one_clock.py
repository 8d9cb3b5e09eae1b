"""Gateways whose machines disagree about the time, on one database: what they compare is reckoned by its clock."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from authcore.errors import TokenRevoked
from tests.support.calls import ask, ask_at, bearer, claims_of, get, post
from tests.support.issuers import AUDIENCE
from tests.support.processes import ended, eventually
from tests.support.programs import program
from tests.support.sockets import Far, auth, frame, opened
from tests.support.worlds import PASSWORD, SECRET

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.support.issuers import Provider
    from tests.support.peers import Upstream
    from tests.support.processes import Process
    from tests.support.worlds import Start, World

    Gateways = Callable[..., Awaitable[list[Process]]]

YEAR = 365 * 86_400
SIGN_IN = post("/api/auth/login", {"email": "agent@example.com", "password": PASSWORD})
WRONG = post("/api/auth/login", {"email": "both@example.com", "password": "wrong"})


# Without the second, a thread that waits for Python's lock is woken late or never: the library reckons the end of its
# wait, which is by the monotonic clock, as if that were a wall clock's.
_WALL_CLOCK_ALONE = {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_FORCE_MONOTONIC_FIX": "0"}


def faked(seconds: int) -> dict[str, str]:
    """The environment in which a program sees a wall clock so many seconds ahead."""
    found = subprocess.run(
        [program("faketime"), "-m", "-f", f"{seconds:+}s", "env"], check=True, capture_output=True, text=True
    )
    names = dict(line.partition("=")[::2] for line in found.stdout.splitlines())
    return {name: names[name] for name in ("LD_PRELOAD", "FAKETIME")} | _WALL_CLOCK_ALONE


async def two(gateways: Gateways, by: int = 60) -> tuple[Process, Process]:
    """A gateway whose machine is ahead by so many seconds, a minute by default, and one whose is behind."""
    ahead, behind = [
        (await gateways(1, await asyncio.to_thread(faked, seconds), PASSWORD_COST="4", TOKEN_REUSE="strict"))[
            0
        ]
        for seconds in (by, -by)
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
        warned = [one for one in gateway.events if one["event"] == "clock_skewed"]
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


NEAR = 60
"""Seconds within which a moment is the present, on a machine that is slow."""


async def test_what_a_command_dates_is_dated_by_the_databases_clock(world: World) -> None:
    settings = {"GATEWAY_DATABASE_URL": world.url, "GATEWAY_JWT_SECRET": SECRET}
    for seconds in (3600, -3600):
        command = ("invitations", "create", "--organization", str(world.home), "--role", "agent")
        made = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "gateway", *command],
            env={"PATH": os.environ["PATH"], **settings, **faked(seconds)},
            check=True,
            capture_output=True,
            text=True,
        )
        assert abs(claims_of(made.stdout.strip())["iat"] - time.time()) < NEAR
        (row,) = await world.sql(
            "SELECT max(abs(extract(epoch FROM i.created_at - now()))) AS made, "
            "max(abs(extract(epoch FROM a.at - now()))) AS recorded FROM gateway_invitations i, gateway_audit a"
        )
        assert row["made"] < NEAR
        assert row["recorded"] < NEAR


async def test_the_last_use_of_a_key_is_dated_by_the_databases_clock(
    gateways: Gateways, world: World
) -> None:
    for gateway in await two(gateways, 3600):
        assert (await ask_at(gateway.address, get("/api/x", f"X-API-Key: {world.api_key}"))).status == 200
        await ended(gateway)
        (row,) = await world.sql("SELECT abs(extract(epoch FROM last_used_at - now())) AS far FROM api_keys")
        assert row["far"] < NEAR
        await world.sql("UPDATE api_keys SET last_used_at = NULL")


async def test_a_request_in_a_users_name_is_explained_by_the_databases_clock(gateways: Gateways) -> None:
    for gateway in await two(gateways, 3600):
        asked = post("/explain", {"method": "GET", "path": "/api/x", "as": "agent@example.com"})
        assert (await ask_at(gateway.admin, asked)).json()["verdict"] == {"allowed": True}


# -- a clock that is wrong for a moment -----------------------------------------------------------------------------


def settable(place: Path) -> dict[str, str]:
    """The environment in which a program sees a wall clock that is ahead by what stands in a file."""
    preloaded = faked(0)
    del preloaded["FAKETIME"]
    return {**preloaded, "FAKETIME_TIMESTAMP_FILE": str(place), "FAKETIME_CACHE_DURATION": "1"}


async def test_a_wall_clock_that_was_a_year_ahead_for_a_moment_leaves_nothing_behind(
    gateways: Gateways, provider: Provider, tmp_path: Path
) -> None:
    place = tmp_path / "ahead"
    place.write_text("+0\n")
    issuer = {
        f"ISSUER_{name.upper()}": value
        for name, value in provider.settings(audience=AUDIENCE, cooldown_seconds="0.2").items()
        if isinstance(value, str)
    }
    settings = {"PASSWORD_COST": "4", "ISSUER_CACHE_SECONDS": "10", **issuer}
    (gateway,) = await gateways(1, await asyncio.to_thread(settable, place), **settings)

    async def shows(year: int) -> bool:
        """Return whether the gateway's wall clock is so many years ahead, by its Date."""
        date = (await ask_at(gateway.address, get("/api/x"))).one("Date") or ""
        return abs(parsedate_to_datetime(date).timestamp() - time.time() - year * YEAR) < 3600

    await granted(gateway, SIGN_IN)  # the database's clock is known from now on
    asked = provider.asked
    place.write_text("+365d\n")
    await eventually(partial(shows, 1))
    pair = await granted(gateway, SIGN_IN)
    for token in (pair["access_token"], pair["refresh_token"]):
        assert abs(claims_of(token)["iat"] - time.time()) < 60
    assert [(await ask_at(gateway.address, WRONG)).status for _ in range(10)][-1] == 429

    async def is_fetched(more_than: int) -> bool:
        return provider.asked > more_than

    await eventually(partial(is_fetched, asked))
    place.write_text("+0\n")
    await eventually(partial(shows, 0))
    refused = await ask_at(gateway.address, WRONG)
    assert int(refused.one("Retry-After") or "0") <= 900
    await eventually(partial(is_fetched, provider.asked))


async def test_a_counter_that_a_wrong_clock_has_shut_is_open(world: World, start: Start) -> None:
    gate = await start(world.url)
    for _ in range(3):
        await ask(gate, WRONG)
    later = "now() + interval '1 year'"
    await world.sql(
        f"UPDATE gateway_sign_in_failures SET seen_at = {later}, slot_at = {later}, open_at = {later}, "  # noqa: S608 - ours
        f"expires_at = {later}"
    )
    for email in ("agent@example.com", "both@example.com"):
        assert (
            await ask(gate, post("/api/auth/login", {"email": email, "password": PASSWORD}))
        ).status == 200
    assert [(await ask(gate, WRONG)).status for _ in range(10)][-1] == 429
    (row,) = await world.sql(
        "SELECT max(seen_at) < now() + interval '1 hour' AS seen, max(open_at) < now() + interval '1 hour' AS open "
        "FROM gateway_sign_in_failures"
    )
    assert (row["seen"], row["open"]) == (True, True)


async def test_a_sign_out_that_a_wrong_clock_dated_ahead_stands_in_the_way_for_a_minute(world: World) -> None:
    now = time.time()
    await world.sessions.close_others(world.agent, None, now + YEAR)
    subject = await world.store.subject(world.agent, world.home)
    assert subject is not None
    with pytest.raises(TokenRevoked):
        await world.sessions.open(subject, now, founded_at=now - 1)
    with pytest.raises(TokenRevoked):
        await world.sessions.open(subject, now + 59, founded_at=now + 58)
    await world.sessions.open(subject, now + 120, founded_at=now + 119)
    await world.sessions.close_others(world.agent, None, now + YEAR)
    await world.sessions.close_others(world.agent, None, now + 180)
    await world.sessions.open(subject, now + 300, founded_at=now + 299)
    with pytest.raises(TokenRevoked):
        await world.sessions.open(subject, now + 300, founded_at=now + 180)


# -- the reckoning ------------------------------------------------------------------------------------------------


class Hand:
    """A clock that shows readings in turn, and the last one from then on."""

    def __init__(self, *readings: float) -> None:
        self.readings = list(readings)

    def __call__(self) -> float:
        return self.readings.pop(0) if len(self.readings) > 1 else self.readings[0]


def ahead_of_time(seconds: float) -> float:
    return time.time() + seconds


async def test_the_databases_time_is_known_before_it_is_needed(world: World) -> None:
    for ahead in (0, 86_400, -3600):
        clock = world.store.clock(partial(ahead_of_time, ahead), time.monotonic)
        assert not clock.measured
        assert abs(await clock.sure() - time.time()) < NEAR
        assert clock.measured
        assert abs(clock.now() - time.time()) < NEAR
        (figure,) = clock.figures()
        assert abs(figure.read() - ahead) < NEAR


async def test_a_measurement_that_took_long_is_not_believed_while_something_better_is_known(
    world: World,
) -> None:
    steady = Hand(100.0, 100.2, 100.1)
    clock = world.store.clock(time.time, steady)
    await clock.measure()
    before = clock.now()
    for readings in ((200.0, 300.0, 100.1), (100.0, 100.8, 100.1)):
        steady.readings[:] = readings
        await clock.measure()
        assert clock.now() == before


async def test_no_wall_clock_that_is_set_changes_the_time(world: World) -> None:
    """It is a year ahead for a moment between two measurements; what is issued then would last for a year."""
    wall = Hand(time.time())
    clock = world.store.clock(wall, time.monotonic)
    await clock.measure()
    for years in (1, -1, 0):
        wall.readings[:] = [time.time() + years * YEAR]
        assert abs(clock.now() - time.time()) < 60
        assert abs(await clock.sure() - time.time()) < 60
        skew = await clock.measure()
        assert abs(skew - years * YEAR) < 60
        assert abs(clock.now() - time.time()) < 60


async def test_without_a_database_the_local_clock_must_do(world: World) -> None:
    await world.store.close()
    clock = world.store.clock(lambda: 7.0, lambda: 0.0)
    assert await clock.sure() == 7.0
    assert not clock.measured
