"""The runbook's entries on the database, on two gateways before real servers: down, with another password, moved."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from authcore.store.migrate import grant_to, migrate
from tests.database.servers import Server, servers
from tests.runbook.page import carried_out
from tests.runbook.people import People
from tests.runbook.site import Refused, Replica, Site
from tests.support.calls import ask_at, bearer, post
from tests.support.databases import execute, fetch, finish
from tests.support.peers import PATIENCE
from tests.support.programs import program
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.runbook.page import Step
    from tests.runbook.site import Sites
    from tests.support.worlds import World

ROLE = "serving"
KNOWN = {
    # A verdict is read again soon, so that nobody is known by the cache's leave alone.
    "GATEWAY_IDENTITY_CACHE_SECONDS": "0.5",
    "GATEWAY_DATABASE_CONNECT_TIMEOUT_SECONDS": "2",
}


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    """A server of the test's own, with the schema in it."""
    program("curl")
    with servers(folder / "s") as (one,):
        one.make().start()
        finish(migrate(one.url()))
        yield one


@pytest.fixture
def pair(folder: Path) -> Iterator[list[Server]]:
    """A primary, and a standby that follows it."""
    program("psql")
    with servers(folder / "s", 2) as both:
        both[0].make().start()
        finish(migrate(both[0].url()))
        both[1].copy(both[0]).start()
        yield both


@pytest.fixture
def migrated_url(request: pytest.FixtureRequest) -> str:
    """The database of the server that the test asks for."""
    if "pair" in request.fixturenames:
        both: list[Server] = request.getfixturevalue("pair")
        return both[0].url()
    one: Server = request.getfixturevalue("server")
    return one.url()


async def sign_in(replica: Replica, email: str = "both@example.com") -> int:
    return (
        await ask_at(replica.address, post("/api/auth/login", {"email": email, "password": PASSWORD}))
    ).status


async def they_are_served(people: People, site: Site) -> None:
    """Promise: who is known is served, and nobody is sent away: others are 503.

    Raises:
        Refused: somebody is refused.
    """
    for replica in site.up:
        for token in people.tokens:
            if (status := await people.status(replica, bearer(token))) != 200:
                raise Refused(f"{replica}: {status}")
        if (status := await sign_in(replica)) not in {200, 503}:
            raise Refused(f"{replica}: {status} to a sign-in")


async def test_while_the_database_is_down_known_callers_are_served_and_nobody_is_refused(
    world: World, site: Sites, server: Server
) -> None:
    one = await site(world.url, **KNOWN)
    people = People(one, world)
    await people.everybody_is_known()
    await people.all_tokens_are_good()
    one.holds = lambda: they_are_served(people, one)
    server.stop()

    async def start() -> None:
        assert [await sign_in(replica) for replica in one.up] == [503, 503]
        await asyncio.to_thread(server.start)

    one.hands["systemctl start postgresql"] = start
    for replica in one.up:  # the first who ask find out
        await sign_in(replica)
    await one.carry_out(carried_out()["The database is down"])
    await people.everybody_is_known()


async def test_a_changed_password_of_the_database_refuses_nobody(
    world: World, site: Sites, server: Server, tmp_path: Path
) -> None:
    program("psql")
    await execute(world.url, f"CREATE ROLE {ROLE} LOGIN PASSWORD 'the former'")
    await grant_to(world.url, ROLE, run=True)
    rules = server.files / "pg_hba.conf"
    rules.write_text(f"local all {ROLE} scram-sha-256\n{rules.read_text()}")
    await execute(world.url, "SELECT pg_reload_conf()")
    files = [tmp_path / "password-0", tmp_path / "password-1"]
    for file in files:
        file.write_text("the former")
    url = server.url(user=ROLE)
    one = await site(url, GATEWAY_DATABASE_PASSWORD_FILE=[str(file) for file in files], **KNOWN)
    people = People(one, world)
    await people.everybody_is_known()
    one.variables |= {"OWNER_URL": world.url, "ROLE": ROLE}
    one.holds = lambda: they_are_served(people, one)
    await one.carry_out(carried_out()["The database's password is changed"])
    await world.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", ROLE)
    for replica in one.up:  # every connection is opened anew, by the new password
        async with asyncio.timeout(PATIENCE):
            while await sign_in(replica) != 200:
                await asyncio.sleep(0.05)
    await people.everybody_is_known()


async def test_a_database_that_moves_refuses_nobody_and_loses_nothing(
    world: World, site: Sites, pair: list[Server]
) -> None:
    old, new = pair
    one = await site(world.url, **KNOWN)
    people = People(one, world)
    one.holds = lambda: they_are_served(people, one)
    await people.everybody_is_known()
    hosts = ",".join(quote(str(host.socket), safe="/") for host in pair)
    one.variables |= {
        "BOTH_URL": f"postgresql://gateway@/postgres?host={hosts}&target_session_attrs=read-write",
        "NEW_URL": new.url(),
    }

    async def stop() -> None:
        await people.everybody_is_known()  # the last that is written to the old one
        await people.all_tokens_are_good()
        await asyncio.to_thread(old.stop)

    one.hands["systemctl stop postgresql"] = stop

    async def before(step: Step) -> None:
        if step.number == 2:
            there = await fetch(old.url(), "SELECT pg_current_wal_lsn()::text")
            behind = f"SELECT pg_last_wal_replay_lsn() < '{there}'"
            async with asyncio.timeout(PATIENCE):
                while await fetch(new.url(), behind):
                    await asyncio.sleep(0.02)

    await one.carry_out(carried_out()["The database moves"], before)
    await people.everybody_is_known()
    await people.renew()
