"""A kept connection whose client sends the very same bytes again: what was decided of them is decided anew.

Everything that follows from bytes alone is worked out once per connection, and so is what follows of the same caller on
the same route. Each case here changes one thing that a verdict depends on, and nothing in the bytes.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

from tests.support.calls import bearer, get, is_refusal, post
from tests.support.peers import PATIENCE, Client

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.peers import Message, Upstream
    from tests.support.worlds import Start, World


WARM = 4


class Same:
    """One connection, one request: again and again."""

    def __init__(self, client: Client, raw: bytes, upstream: Upstream) -> None:
        self._client, self._raw, self._upstream = client, raw, upstream

    async def passes(self) -> Message:
        for _ in range(WARM):
            assert (await self._client.exchange(self._raw)).status == 200
        return self._upstream.requests[-1]

    async def until_refused(self) -> Message:
        async with asyncio.timeout(PATIENCE):
            while (answer := await self._client.exchange(self._raw)).status == 200:
                await asyncio.sleep(0.01)
        seen = len(self._upstream.requests)
        assert (await self._client.exchange(self._raw)).status == answer.status
        assert len(self._upstream.requests) == seen
        return answer


def routes(upstream: Upstream, **requires: str) -> str:
    route = {"name": "contacts", "match": {"path": "/api/contacts"}, "auth": "required", **requires}
    return json.dumps({"routes": [route]})


async def test_a_token_that_ends(world: World, start: Start, upstream: Upstream) -> None:
    gateway = await start(world.url)
    token = world.token(world.agent, now=time.time() - 3600 + 4)
    async with Client(gateway.address) as client:
        same = Same(client, get("/api/contacts", bearer(token)), upstream)
        await same.passes()
        is_refusal(await same.until_refused(), 401, "Invalid or expired token")


async def test_a_user_who_is_switched_off(world: World, start: Start, upstream: Upstream) -> None:
    gateway = await start(world.url)
    async with Client(gateway.address) as client:
        same = Same(client, get("/api/contacts", bearer(world.token(world.agent))), upstream)
        await same.passes()
        await world.sql("UPDATE users SET is_active = false WHERE id = $1", world.agent)
        is_refusal(await same.until_refused(), 401, "Account is disabled")


async def test_an_api_key_that_is_switched_off(world: World, start: Start, upstream: Upstream) -> None:
    gateway = await start(world.url)
    async with Client(gateway.address) as client:
        same = Same(client, get("/api/contacts", f"X-API-Key: {world.api_key}"), upstream)
        await same.passes()
        await world.sql("UPDATE api_keys SET is_active = false WHERE id = $1", world.api_key_id)
        is_refusal(await same.until_refused(), 401, "Invalid API key")


async def test_a_role_that_loses_what_the_route_requires(
    world: World, start: Start, upstream: Upstream, tmp_path: Path
) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(routes(upstream, require="contacts:read"))
    gateway = await start(world.url, routes=str(file))
    async with Client(gateway.address) as client:
        same = Same(client, get("/api/contacts", bearer(world.token(world.agent))), upstream)
        told = await same.passes()
        assert "contacts:read" in str(told.one("X-User-Permissions"))
        await world.sql(
            "DELETE FROM role_permissions USING permissions, custom_roles WHERE permission_id = permissions.id"
            " AND custom_role_id = custom_roles.id AND resource = 'contacts' AND custom_roles.name = 'agent'"
        )
        is_refusal(await same.until_refused(), 403)


async def test_a_role_that_gains_is_told_with_the_same_bytes(
    world: World, start: Start, upstream: Upstream
) -> None:
    gateway = await start(world.url)
    async with Client(gateway.address) as client:
        same = Same(client, get("/api/contacts", bearer(world.token(world.agent))), upstream)
        assert (await same.passes()).one("X-User-Role") == "agent"
        await world.sql(
            "UPDATE user_organizations m SET role_id = r.id FROM custom_roles r"
            " WHERE m.user_id = $1 AND m.organization_id = $2 AND r.organization_id = $2 AND r.name = 'manager'",
            world.agent,
            world.home,
        )
        async with asyncio.timeout(PATIENCE):
            while (told := await same.passes()).one("X-User-Role") != "manager":
                await asyncio.sleep(0.01)
        assert "campaigns:execute" in str(told.one("X-User-Permissions"))


async def test_a_route_that_requires_more_once_it_was_read_again(
    world: World, start: Start, upstream: Upstream, tmp_path: Path
) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(routes(upstream))
    gateway = await start(world.url, routes=str(file))
    async with Client(gateway.address) as client:
        same = Same(client, get("/api/contacts", bearer(world.token(world.agent))), upstream)
        await same.passes()
        file.write_text(routes(upstream, require="users:delete"))
        is_refusal(await same.until_refused(), 403)


async def test_two_callers_on_one_connection_keep_apart(
    world: World, start: Start, upstream: Upstream
) -> None:
    # A proxy in front shares its connections: its users' requests alternate, and differ in one line.
    gateway = await start(world.url)
    callers = {str(user): bearer(world.token(user)) for user in (world.agent, world.admin)}
    async with Client(gateway.address) as client:
        for _ in range(WARM):
            for user, line in callers.items():
                for _ in range(2):
                    assert (await client.exchange(get("/api/contacts", line))).status == 200
                    assert upstream.requests[-1].one("X-User-ID") == user
            assert (await client.exchange(get("/health"))).status == 200
            assert upstream.requests[-1].one("X-User-ID") is None


async def test_the_same_lines_with_another_method_or_path_are_another_question(
    world: World, start: Start, upstream: Upstream, tmp_path: Path
) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(
        json.dumps(
            {
                "routes": [
                    {
                        "name": "read",
                        "match": {"path": "/api/contacts", "methods": ["GET"]},
                        "auth": "required",
                    },
                    {
                        "name": "write",
                        "match": {"path": "/api/contacts", "methods": ["POST", "DELETE"]},
                        "auth": "required",
                        "require": "contacts:delete",
                    },
                ]
            }
        )
    )
    gateway = await start(world.url, routes=str(file))
    line = bearer(world.token(world.agent))
    async with Client(gateway.address) as client:
        for _ in range(WARM):
            assert (await client.exchange(get("/api/contacts", line))).status == 200
            seen = len(upstream.requests)
            deleting = get("/api/contacts", line).replace(b"GET", b"DELETE")
            is_refusal(await client.exchange(deleting), 403)
            is_refusal(await client.exchange(get("/api/contacts/..%2fusers", line)), 400)
            assert len(upstream.requests) == seen
    async with Client(gateway.address) as client:
        is_refusal(await client.exchange(post("/api/contacts", {}, line)), 403)
