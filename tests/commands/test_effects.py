"""Commands on users and sessions, and what a running gateway makes of them at once."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientSession, WSMsgType

from tests.support.accounts import sign_in
from tests.support.calls import ask, bearer, claims_of, get, post
from tests.support.openid import Traveller, hosting, landed
from tests.support.peers import PATIENCE
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.app import Gateway
    from tests.support.commands import Run
    from tests.support.openid import OpenId
    from tests.support.worlds import Start, World

NEW_PASSWORD = "another password of theirs"


@pytest.fixture
def command(run: Run, world: World) -> Callable[..., Any]:
    """Run a command beside the gateways of this loop, and return what it printed."""

    async def invoke(*arguments: str, typed: str = "") -> str:
        environment = {"GATEWAY_DATABASE_URL": world.url, "GATEWAY_PASSWORD_COST": "4"}
        async with asyncio.timeout(PATIENCE):
            result = await asyncio.to_thread(lambda: run(*arguments, typed=typed, **environment))
        assert result.exit_code == 0, result.output
        return result.stdout

    return invoke


async def becomes(status: int, gate: Gateway, raw: bytes) -> None:
    """The gateway answers so before long."""
    async with asyncio.timeout(PATIENCE):
        while (await ask(gate, raw)).status != status:
            await asyncio.sleep(0.01)


async def status_of_sign_in(gate: Gateway, password: str = PASSWORD) -> int:
    content = {"email": "agent@example.com", "password": password}
    return (await ask(gate, post("/api/auth/login", content))).status


async def status_of_refresh(gate: Gateway, tokens: dict[str, Any]) -> int:
    content = {"refresh_token": tokens["refresh_token"]}
    return (await ask(gate, post("/api/auth/refresh", content))).status


async def test_a_user_who_is_switched_off_is_out_at_once_and_their_sessions_do_not_come_back(
    command: Any, gate: Gateway, world: World
) -> None:
    tokens = await sign_in(gate)
    call = get("/api/contacts", bearer(tokens["access_token"]))
    assert (await ask(gate, call)).status == 200
    await command("users", "disable", "agent@example.com")
    await becomes(401, gate, call)
    assert await status_of_sign_in(gate) == 401
    await command("users", "enable", str(world.agent))
    await becomes(401, gate, call)
    assert await status_of_refresh(gate, tokens) == 401
    assert await status_of_sign_in(gate) == 200


async def test_a_key_of_a_user_who_is_switched_off_is_no_good_until_they_are_on_again(
    command: Any, gate: Gateway, world: World
) -> None:
    call = get("/api/contacts", f"X-API-Key: {world.api_key}")
    assert (await ask(gate, call)).status == 200
    await command("users", "disable", "admin@example.com")
    await becomes(401, gate, call)
    await command("users", "enable", "admin@example.com")
    await becomes(200, gate, call)


async def test_a_socket_of_a_user_who_is_switched_off_is_closed(
    command: Any, start: Start, world: World, sockets: tuple[int, asyncio.Queue[int | None]]
) -> None:
    gate = await start(
        world.url,
        upstream={"url": f"http://127.0.0.1:{sockets[0]}"},
        timeout={"drain_seconds": 0.2},
        public_paths=("/health",),
        protected_paths=("/*",),
    )
    token = (await sign_in(gate))["access_token"]
    host, port = gate.address
    async with (
        asyncio.timeout(PATIENCE),
        ClientSession() as session,
        session.ws_connect(
            f"http://{host}:{port}/chat", headers={"Authorization": f"Bearer {token}"}
        ) as socket,
    ):
        await socket.send_str("olleh")
        assert (await socket.receive()).data == "hello"
        await command("users", "disable", "agent@example.com")
        end = await socket.receive()
        assert (end.type, end.data) == (WSMsgType.CLOSE, 4401)


async def test_a_password_that_an_operator_sets_ends_every_session_and_signs_in(
    command: Any, gate: Gateway
) -> None:
    one, other = await sign_in(gate), await sign_in(gate)
    await command("users", "set-password", "agent@example.com", "--password-stdin", typed=NEW_PASSWORD)
    for tokens in (one, other):
        await becomes(401, gate, get("/api/contacts", bearer(tokens["access_token"])))
        assert await status_of_refresh(gate, tokens) == 401
    assert await status_of_sign_in(gate) == 401
    assert await status_of_sign_in(gate, NEW_PASSWORD) == 200


async def test_a_session_is_listed_and_ended_and_the_other_goes_on(command: Any, gate: Gateway) -> None:
    ended, spared = await sign_in(gate), await sign_in(gate)
    by_id = {row["id"]: row for row in json.loads(await command("sessions", "list", "--json"))}
    assert len(by_id) == 2
    session_id = claims_of(ended["access_token"])["sid"]
    assert by_id[session_id]["email"] == "agent@example.com"
    assert by_id[session_id]["address"] == "127.0.0.1"
    await command("sessions", "end", session_id)
    await becomes(401, gate, get("/api/contacts", bearer(ended["access_token"])))
    assert (await ask(gate, get("/api/contacts", bearer(spared["access_token"])))).status == 200
    assert (await command("sessions", "list")).count("\n") == 1
    await command("sessions", "end", "--user", "agent@example.com")
    await becomes(401, gate, get("/api/contacts", bearer(spared["access_token"])))
    assert await command("sessions", "list", "--user", "agent@example.com", "--organization", "home") == ""


async def test_the_sessions_that_a_provider_began_are_ended_together_and_no_others(
    command: Any, world: World, start: Start, idp: OpenId
) -> None:
    gate = await hosting(world, start, idp)
    by_provider = [landed(await Traveller(gate).sign_in(idp))["access_token"] for _ in range(2)]
    by_password = (await sign_in(gate))["access_token"]
    await command("sessions", "end", "--provider", "google")
    for token in (*by_provider, by_password):
        assert (await ask(gate, get("/api/contacts", bearer(token)))).status == 200
    await command("sessions", "end", "--provider", "custom")
    for token in by_provider:
        await becomes(401, gate, get("/api/contacts", bearer(token)))
    assert (await ask(gate, get("/api/contacts", bearer(by_password)))).status == 200
    listed = json.loads(await command("audit-log", "--json", "--event", "end_sessions"))
    assert [one["details"] for one in listed] == [
        {"sessions": 2, "provider": "custom"},
        {"sessions": 0, "provider": "google"},
    ]


async def test_a_member_who_is_removed_is_out_of_that_organization_at_once_and_at_home_still(
    command: Any, gate: Gateway, world: World
) -> None:
    there, home = (bearer(world.token(world.both, one)) for one in (world.other, world.home))
    assert (await ask(gate, get("/api/contacts", there))).status == 200
    await command("users", "remove-from", "both@example.com", "other")
    await becomes(401, gate, get("/api/contacts", there))
    assert (await ask(gate, get("/api/contacts", home))).status == 200
    await command("users", "add-to", "both@example.com", "other", "--role", "agent")
    await becomes(200, gate, get("/api/contacts", there))


async def test_a_new_role_counts_from_the_next_request_on(command: Any, gate: Gateway, world: World) -> None:
    call = get("/api/contacts", bearer(world.token(world.agent)))

    async def permissions() -> str:
        return str(dict((await ask(gate, call)).json()["headers"])["X-User-Permissions"])

    assert "accounts:write" not in await permissions()
    await command("users", "role", "agent@example.com", "home", "manager")
    async with asyncio.timeout(PATIENCE):
        while "accounts:write" not in await permissions():
            await asyncio.sleep(0.01)
