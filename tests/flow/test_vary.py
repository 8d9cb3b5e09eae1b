"""An answer that depends on the caller says so to a cache: its Vary names what the gateway read of the client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.calls import bearer, get
from tests.support.peers import Client, next_request

if TYPE_CHECKING:
    import asyncio

    from tests.support.peers import Message, Upstream
    from tests.support.worlds import Start, World

SOURCES = ["Authorization", "X-API-Key", "X-Organization-ID"]
CORS = {"origins": ("https://app.example.com",)}
ROUNDS = 4
"""The first answers of a shape are parsed in full, the others by what was learnt of them."""


def saying(upstream: Upstream, *lines: str) -> None:
    """Let the upstream answer with these lines, and another ETag each time."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = 0
        while await next_request(reader) is not None:
            number += 1
            head = ["HTTP/1.1 200 OK", f'ETag: "{number}"', *lines, "Content-Length: 2", "", "ok"]
            writer.write("\r\n".join(head).encode())
            await writer.drain()

    upstream.script = script


async def varies(client: Client, *lines: str) -> list[str]:
    """The members of the one Vary line of all answers; empty if there is none."""
    answers: list[Message] = [await client.exchange(get("/api/x", *lines)) for _ in range(ROUNDS)]
    assert [one.status for one in answers] == [200] * ROUNDS
    (told,) = {tuple(one.all("Vary")) for one in answers}
    assert len(told) <= 1
    return told[0].split(", ") if told else []


@pytest.mark.parametrize(
    "name", ["X-User-ID", "x-org-id", "X_User_Permissions", "X-Auth-Anything", "X-Identity"]
)
async def test_a_header_about_the_caller_stands_for_the_fields_it_was_made_of(
    world: World, start: Start, upstream: Upstream, name: str
) -> None:
    saying(upstream, f"Vary: Accept-Encoding, {name}", "Cache-Control: max-age=60")
    gate = await start(world.url)
    async with Client(gate.address) as client:
        told = await varies(client, bearer(world.token(world.agent)))
    assert told == ["Accept-Encoding", name, *SOURCES]


async def test_a_header_that_is_called_otherwise_stands_for_them_too(
    world: World, start: Start, upstream: Upstream
) -> None:
    saying(upstream, "Vary: remote_user")
    gate = await start(world.url, header={"user_id": "Remote-User"})
    async with Client(gate.address) as client:
        assert await varies(client, bearer(world.token(world.agent))) == ["remote_user", *SOURCES]


async def test_where_cookies_are_taken_the_credential_may_have_come_in_one(
    world: World, start: Start, upstream: Upstream
) -> None:
    by_token = bearer(world.token(world.agent))
    for vary, more in (("X-User-ID", [*SOURCES, "Cookie"]), ("authorization", [*SOURCES[1:], "Cookie"])):
        saying(upstream, f"Vary: {vary}")
        gate = await start(world.url, cookies=True)
        async with Client(gate.address) as client:
            assert await varies(client, by_token) == [vary, *more]


@pytest.mark.parametrize("vary", ["Accept-Encoding, Cookie", "Authorization", "Accept ,, accept", "*"])
async def test_what_names_nothing_of_ours_passes(
    world: World, start: Start, upstream: Upstream, vary: str
) -> None:
    saying(upstream, f"Vary: {vary}")
    gate = await start(world.url)
    async with Client(gate.address) as client:
        told = await varies(client, bearer(world.token(world.agent)))
    assert told == vary.replace(" ,, accept", "").split(", ")


async def test_an_answer_under_a_policy_has_one_line_with_all_of_it(
    world: World, start: Start, upstream: Upstream
) -> None:
    by_token = bearer(world.token(world.agent))
    for lines, told in (
        ((), ["Origin"]),
        (
            ("Vary: Accept-Encoding", "vary: ORIGIN, X-User-ID"),
            ["Accept-Encoding", "ORIGIN", "X-User-ID", *SOURCES],
        ),
        (("Vary: Accept", "Vary: *"), ["*"]),
    ):
        saying(upstream, *lines)
        gate = await start(world.url, cors=CORS)
        async with Client(gate.address) as client:
            assert await varies(client, by_token) == told
            assert await varies(client, by_token, "Origin: https://app.example.com") == told
            assert await varies(client, by_token, "Origin: https://evil.example") == told
