"""A gateway whose database user has the rights of ``migrate --grant-to`` and no others: everything of it works.

Each hosted endpoint, each chore and each command that opens the database runs once here. ``TESTS_SERVE_AS=1``
runs all other tests of this folder as such a user too.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import click
import pytest
from click.testing import CliRunner, Result

from gateway.background import BackgroundTasks
from gateway.cli import main
from tests.support.admin import admin
from tests.support.calls import ask, bearer, get, granted, post, whatomate_token
from tests.support.databases import execute, finish
from tests.support.operations import (
    DOCUMENT,
    PAGE,
    Caller,
    administer,
    described,
    look_at_sessions,
    operations,
    walk_through_sign_in,
)
from tests.support.sockets import status_of_ticket
from tests.support.worlds import PASSWORD, SECRET, with_granted_role

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from gateway.app import Gateway
    from tests.support.worlds import Start, World

    Work = Callable[[], Awaitable[object] | None]

WITHOUT_DATABASE: Final = {
    *("audit", "dev", "echo", "health", "keys generate", "keys list", "routes list", "routes matrix"),
    *("routes schema", "serve", "settings", "token inspect", "completion", "man", "limits list"),
}
"""Commands that do not open a database; ``serve`` is what all other tests here run, and ``dev`` brings its own."""
UNENDING: Final = {"watch_sockets"}
"""Chores that go on until they are cancelled."""


@pytest.fixture
def scheduled(monkeypatch: pytest.MonkeyPatch) -> dict[str, Work]:
    """Chore -> its work, of the gateways that are started from now on."""
    works: dict[str, Work] = {}
    for name, place in (("every", 2), ("once", 1)):
        schedule = getattr(BackgroundTasks, name)

        def note(chores: BackgroundTasks, *given: Any, schedule: Any = schedule, place: int = place) -> None:
            works[given[place - 1]] = given[place]
            schedule(chores, *given)

        monkeypatch.setattr(BackgroundTasks, name, note)
    return works


async def call_every_operation(gate: Gateway, world: World) -> None:
    call = Caller(gate, await described(gate))
    await look_at_sessions(call, await walk_through_sign_in(call, world))
    await administer(call, bearer(world.token(world.admin)), bearer(world.token(world.agent)))
    for path in (DOCUMENT, PAGE, "/.well-known/jwks.json"):
        await call(f"GET {path}")
    assert call.succeeded == set(operations(await described(gate)))


async def take_the_rarer_ways(gate: Gateway, world: World) -> None:
    """Do what has statements of its own: use tickets, invitations and Whatomate's tokens, and let a key make a key."""
    agent, admin_, both = (bearer(world.token(one)) for one in (world.agent, world.admin, world.both))
    by_key = f"X-API-Key: {world.api_key}"
    for line in (agent, by_key):
        assert (await ask(gate, get("/api/contacts", line))).status == 200
    await granted(gate, post("/api/api-keys", {"name": "child"}, by_key))
    ticket = (await granted(gate, get("/api/auth/ws-token", agent)))["token"]
    # This upstream upgrades nothing.
    assert [(await status_of_ticket(gate, ticket)) for _ in range(2)] == [
        200,
        401,
    ]
    invitation = (await granted(gate, post("/api/auth/invitations", {}, admin_)))["invitation"]
    person = {"email": "invited@example.com", "password": PASSWORD, "full_name": "Ivy"}
    await granted(gate, post("/api/auth/register", {**person, "invitation": invitation}))
    await granted(gate, post("/api/auth/register", {**person, "organization_id": str(world.other)}))
    theirs = {"refresh_token": whatomate_token(world.both, world.home, jti=str(uuid4()))}
    ours = await granted(gate, post("/api/auth/refresh", theirs))
    await granted(gate, post("/api/auth/refresh", {"refresh_token": ours["refresh_token"]}))
    await world.sql("UPDATE gateway_refresh_tokens SET used_at = used_at - interval '11 seconds'")
    # A theft, which ends the session.
    assert (await ask(gate, post("/api/auth/refresh", theirs))).status == 401
    await granted(gate, post("/api/auth/logout-all", {}, both))


async def test_every_endpoint_and_every_chore_works(
    world: World, start: Start, scheduled: dict[str, Work]
) -> None:
    gate = await start(await with_granted_role(world.url), keys={"mint_keys": True}, quotas=True)
    await call_every_operation(gate, world)
    await take_the_rarer_ways(gate, world)
    ready = await admin(gate, "/readyz")
    assert ready.status == 200, ready.body
    body: Any = ready.json()
    assert body["revocation"]["changes"] == "pushed"
    for name, work in scheduled.items():
        if name in UNENDING:
            continue
        async with asyncio.timeout(30):
            under_way = work()
            if under_way is not None:
                await under_way
    assert {"purge_sessions", "purge_tickets", "write_last_used", "learn_hash_costs"} < set(scheduled)
    (key,) = await world.sql("SELECT last_used_at FROM api_keys WHERE id = $1", world.api_key_id)
    assert key["last_used_at"] is not None


def commands(group: click.Group, *before: str) -> set[str]:
    """Every command, as it is written."""
    found = set()
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found |= commands(command, *before, name)
        else:
            found.add(" ".join((*before, name)))
    return found


def test_every_command_works(migrated_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    url = finish(with_granted_role(migrated_url))
    environment = {
        "GATEWAY_DATABASE_URL": url,
        "GATEWAY_JWT_SECRET": SECRET,
        "GATEWAY_UPSTREAM_URL": "http://127.0.0.1:9",
        "GATEWAY_PASSWORD_COST": "4",
    }
    ran = set()

    def run(command: str, *arguments: str) -> Result:
        ran.add(command)
        result = CliRunner().invoke(
            main,
            [*command.split(), *arguments],
            input=f"{PASSWORD}\n",
            env=environment,
            catch_exceptions=False,
        )
        assert result.exit_code == 0, (command, result.output)
        return result

    home = run("orgs create", "Acme").stdout.strip()
    there = ("--organization", home)
    person = ("--email", "ada@acme.example")
    run("users create", *person, "--name", "Ada", *there, "--role", "admin", "--password-stdin")
    run("users unlock", *person)
    run("users list", "--organization", "acme")
    run("users show", person[1])
    run("users set-password", person[1], "--password-stdin")
    other = run("orgs create", "Other").stdout.strip()
    run("orgs list", "--json")
    run("users add-to", person[1], other, "--role", "admin")
    run("users role", person[1], other, "agent", "--even-last")
    run("users remove-from", person[1], other)
    run("users disable", person[1], "--even-last")
    run("users enable", person[1])
    run("sessions list")
    run("limits refused")
    run("limits unlock", *person, "--address", "192.0.2.1")
    run("audit-log list")
    run("audit-log verify")
    run("sessions end", "--user", person[1])
    run("sessions end", "--provider", "google")
    run("users vouch", *person)
    run("api-keys create", "--user", person[1], *there, "--name", "ci")
    key = run("api-keys list", *there).stdout.split("\t")[0]
    run("api-keys revoke", key)
    run("invitations create", *there)
    invitation = run("invitations list", *there).stdout.split("\t")[0]
    run("invitations revoke", invitation, *there)
    run("quotas set", *there, "--day", "1000", "--month", "none")
    run("quotas list", "--json")
    run("quotas clear", *there)
    run("explain", "--as", person[1], "GET", "/api/users")
    run("check-config")
    run("migrate", "--check")
    assert commands(main) - ran == WITHOUT_DATABASE, (
        "run a new command above, or list it as one without a database"
    )


async def test_a_right_fewer_is_noticed_by_these_tests(world: World, start: Start) -> None:
    """Were the endpoints above run as the owner after all, nothing would be missing."""
    url = await with_granted_role(world.url)
    role = url.removeprefix("postgresql://").partition("@")[0]
    await execute(world.url, f"REVOKE INSERT ON gateway_sessions FROM {role}")
    gate = await start(url)
    answer = await ask(gate, post("/api/auth/login", {"email": "agent@example.com", "password": PASSWORD}))
    assert answer.status == 503, answer.body
