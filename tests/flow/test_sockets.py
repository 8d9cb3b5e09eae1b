"""Sockets of callers: opened by a ticket, a token or a key, and closed when what opened them ends."""

from __future__ import annotations

import asyncio
import gc
import time
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

from authcore.store.migrate import remove_triggers
from gateway.wire.tunnel import Tunnel
from tests.support.accounts import sign_in
from tests.support.calls import ask, bearer, claims_of, get, granted, is_refusal, post, request
from tests.support.peers import PATIENCE
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from gateway.app import Gateway
    from tests.support.worlds import Start, World


TICKET = "/api/auth/ws-token"
ROUTE = {"public_paths": ("/health",), "protected_paths": ("/*",)}


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with ClientSession() as one:
        yield one


async def ticket_of(gateway: Gateway, token: str, *lines: str) -> str:
    found = await granted(gateway, get(TICKET, bearer(token), *lines))
    assert found["expires_in"] == 30
    return str(found["token"])


async def closed_with(socket: ClientWebSocketResponse) -> tuple[int | None, str | None]:
    async with asyncio.timeout(PATIENCE):
        message = await socket.receive()
        while message.type not in {WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.ERROR}:
            message = await socket.receive()
    return message.data, message.extra


async def is_alive(socket: ClientWebSocketResponse) -> bool:
    await socket.send_str("olleh")
    return bool((await socket.receive(PATIENCE)).data == "hello")


@pytest.fixture
def open_socket(
    session: ClientSession, sockets: tuple[int, asyncio.Queue[int | None]], start: Start, world: World
) -> Callable[..., Awaitable[tuple[Gateway, ClientWebSocketResponse]]]:
    """Open a socket through a gateway of its own, before a real server; keywords are settings."""

    async def begin(
        headers: dict[str, str] | None = None,
        *,
        gateway: Gateway | None = None,
        query: str = "",
        **groups: Any,
    ) -> tuple[Gateway, ClientWebSocketResponse]:
        if gateway is None:
            gateway = await gate(**groups)
        host, port = gateway.address
        path = "ws" if query else "chat"
        return gateway, await session.ws_connect(f"http://{host}:{port}/{path}{query}", headers=headers or {})

    async def gate(**groups: Any) -> Gateway:
        return await start(
            world.url,
            upstream={"url": f"http://127.0.0.1:{sockets[0]}"},
            timeout={"drain_seconds": 0.2},
            **ROUTE,
            **groups,
        )

    begin.gate = gate  # type: ignore[attr-defined]  # the fixture's own
    return begin


# -- tickets ------------------------------------------------------------------------------------------------------


async def test_a_ticket_says_whose_it_is_and_of_which_session(world: World, start: Start) -> None:
    gate = await start(world.url)
    token = (await sign_in(gate))["access_token"]
    claims = claims_of(await ticket_of(gate, token))
    assert claims["sub"] == "ws"
    assert (claims["user_id"], claims["organization_id"]) == (str(world.agent), str(world.home))
    assert claims["sid"] == claims_of(token)["sid"]
    assert claims["exp"] - claims["iat"] == 30
    assert claims["jti"] != claims_of(await ticket_of(gate, token))["jti"]  # two tabs get two


async def test_a_ticket_is_for_the_organization_acted_in(world: World, start: Start) -> None:
    gate = await start(world.url)
    token = (await sign_in(gate, "both"))["access_token"]
    claims = claims_of(await ticket_of(gate, token, f"X-Organization-ID: {world.other}"))
    assert claims["organization_id"] == str(world.other)
    stranger = (await sign_in(gate))["access_token"]
    is_refusal(await ask(gate, get(TICKET, bearer(stranger), f"X-Organization-ID: {world.other}")), 403)


async def test_only_who_holds_a_token_gets_a_ticket(world: World, start: Start) -> None:
    gate = await start(world.url)
    is_refusal(await ask(gate, get(TICKET)), 401)
    is_refusal(await ask(gate, get(TICKET, f"X-API-Key: {world.api_key}")), 403)
    ticket = await ticket_of(gate, world.token(world.agent))
    is_refusal(await ask(gate, get(TICKET, bearer(ticket))), 401)
    is_refusal(await ask(gate, post(TICKET, {}, bearer(world.token(world.agent)))), 405)


async def test_a_browsers_cookie_gets_a_ticket_of_its_session(world: World, start: Start) -> None:
    gate = await start(world.url, cookies=True)
    answer = await ask(gate, post("/api/auth/login", {"email": "agent@example.com", "password": PASSWORD}))
    (cookie,) = (
        line.partition(";")[0] for line in answer.all("Set-Cookie") if line.startswith("whm_access=")
    )
    found = await granted(gate, get(TICKET, f"Cookie: {cookie}"))
    assert claims_of(found["token"])["sid"] == claims_of(cookie.partition("=")[2])["sid"]


async def test_the_life_of_a_ticket_is_a_setting(world: World, start: Start) -> None:
    gate = await start(world.url, ws={"ticket_seconds": 7})
    found = await granted(gate, get(TICKET, bearer(world.token(world.agent))))
    assert found["expires_in"] == 7
    claims = claims_of(found["token"])
    assert claims["exp"] - claims["iat"] == 7


# -- what closes a socket -----------------------------------------------------------------------------------------


async def opened_by_ticket(
    open_socket: Any, **groups: Any
) -> tuple[Gateway, ClientWebSocketResponse, dict[str, Any]]:
    gate = await open_socket.gate(**groups)
    tokens = await sign_in(gate)
    ticket = await ticket_of(gate, tokens["access_token"])
    _, socket = await open_socket(gateway=gate, query=f"?token={ticket}")
    return gate, socket, tokens


async def test_the_end_of_a_session_closes_its_sockets_and_no_others(
    world: World, open_socket: Any, sockets: tuple[int, asyncio.Queue[int | None]]
) -> None:
    gate, mine, tokens = await opened_by_ticket(open_socket)
    elsewhere = await open_socket.gate()
    _, other = await open_socket(
        {"Authorization": f"Bearer {(await sign_in(gate))['access_token']}"}, gateway=gate
    )
    await granted(elsewhere, post("/api/auth/logout", {"refresh_token": tokens["refresh_token"]}))
    assert await closed_with(mine) == (4401, "session ended")
    assert await asyncio.wait_for(sockets[1].get(), PATIENCE) == 1001
    assert await is_alive(other)
    await granted(
        gate, request("POST", "/api/auth/logout-all", bearer((await sign_in(gate))["access_token"]))
    )
    assert await closed_with(other) == (4401, "session ended")


OUT = "no longer a member of the organization"
CHANGES = {
    "UPDATE users SET is_active = false WHERE id = $1": "account disabled",
    "UPDATE users SET deleted_at = now() WHERE id = $1": "account disabled",
    "INSERT INTO user_organizations (user_id, organization_id, deleted_at) "
    "SELECT id, organization_id, now() FROM users WHERE id = $1": OUT,
    "UPDATE organizations SET deleted_at = now() "
    "WHERE id = (SELECT organization_id FROM users WHERE id = $1)": OUT,
}


@pytest.mark.parametrize("change", CHANGES)
async def test_what_a_socket_depends_on_closes_it(world: World, open_socket: Any, change: str) -> None:
    await world.sql("DELETE FROM user_organizations WHERE user_id = $1", world.agent)
    await world.sql("DELETE FROM gateway_former_memberships")  # as if there had never been one
    _, socket = await open_socket({"Authorization": f"Bearer {world.token(world.agent)}"})
    assert await is_alive(socket)
    await world.sql("UPDATE users SET full_name = 'Somebody Else' WHERE id = $1", world.agent)
    await world.sql("UPDATE users SET is_active = false WHERE id = $1", world.both)
    assert await is_alive(socket)
    await world.sql(change, world.agent)
    assert await closed_with(socket) == (4401, CHANGES[change])


async def test_an_api_keys_socket_ends_with_the_key(world: World, open_socket: Any) -> None:
    gate, socket = await open_socket({"X-API-Key": world.api_key})
    assert await is_alive(socket)
    await world.accounts.administration.switch_api_key(world.home, world.api_key_id, is_active=False)
    assert await closed_with(socket) == (4401, "key revoked")
    assert gate is not None


async def test_a_socket_ends_with_the_token_that_opened_it(world: World, open_socket: Any) -> None:
    gateway = await open_socket.gate()
    ends = int(time.time()) + 4
    token = world.token(world.agent, now=ends - 3600)
    _, socket = await open_socket({"Authorization": f"Bearer {token}"}, gateway=gateway)
    assert await closed_with(socket) == (4401, "expired")
    assert time.time() > ends - 2, "two clocks are compared"


async def test_no_socket_is_open_for_longer_than_the_setting_says(world: World, open_socket: Any) -> None:
    _, socket = await open_socket({"X-API-Key": world.api_key}, ws={"max_seconds": 0.5})
    assert await closed_with(socket) == (4401, "expired")


async def test_without_triggers_every_socket_is_looked_at_by_time(world: World, open_socket: Any) -> None:
    assert await remove_triggers(world.url)
    _, socket = await open_socket({"Authorization": f"Bearer {world.token(world.agent)}"})
    assert await is_alive(socket)
    await world.sql("UPDATE users SET is_active = false WHERE id = $1", world.agent)
    assert await closed_with(socket) == (4401, "account disabled")


def tunnels() -> int:
    """Return the number of tunnels in this process, open or still referred to."""
    gc.collect()
    return sum(type(one) is Tunnel for one in gc.get_objects())


async def test_a_socket_that_has_ended_is_kept_by_nobody(world: World, open_socket: Any) -> None:
    """Its token lives on, for an hour."""
    gateway = await open_socket.gate()
    before = tunnels()
    headers = {"Authorization": f"Bearer {world.token(world.agent)}"}
    for _ in range(5):
        _, socket = await open_socket(headers, gateway=gateway)
        assert await is_alive(socket)
        await socket.close()

    async with asyncio.timeout(PATIENCE):
        while tunnels() > before:
            await asyncio.sleep(0.1)


async def test_a_socket_of_a_public_route_is_nobodys(
    world: World, start: Start, session: ClientSession, sockets: tuple[int, asyncio.Queue[int | None]]
) -> None:
    gate = await start(world.url, upstream={"url": f"http://127.0.0.1:{sockets[0]}"}, ws={"max_seconds": 0.3})
    host, port = gate.address
    async with session.ws_connect(f"http://{host}:{port}/chat") as socket:
        await asyncio.sleep(0.8)
        assert await is_alive(socket)


async def test_the_end_of_the_gateway_is_told_with_1001(world: World, open_socket: Any) -> None:
    gate, socket = await open_socket({"Authorization": f"Bearer {world.token(world.agent)}"})
    assert await is_alive(socket)
    stopping = asyncio.create_task(gate.stop())
    assert (await closed_with(socket))[0] == 1001
    await stopping
