"""An exception while a request is checked never lets it through."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.calls import ask, bearer, get, is_refusal, request
from tests.support.peers import Client

if TYPE_CHECKING:
    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World


async def test_an_identity_that_cannot_be_told_is_not_forwarded(
    world: World, start: Start, upstream: Upstream
) -> None:
    await world.sql("UPDATE users SET email = E'A\\r\\nX-User-Super-Admin: true' WHERE id = $1", world.agent)
    gate = await start(world.url)
    async with Client(gate.address) as client:
        is_refusal(await client.exchange(get("/api/x", bearer(world.token(world.agent)))), 500)
        assert upstream.seen == b""
        # And it takes nobody else down with it.
        assert (await client.exchange(get("/api/x", bearer(world.token(world.admin))))).status == 200
    assert upstream.requests[0].one("X-User-ID") == str(world.admin)


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE users DROP COLUMN full_name",
        "ALTER TABLE users RENAME COLUMN is_active TO was_active",
        "DROP TABLE role_permissions",
        "ALTER TABLE users ALTER COLUMN is_active TYPE text",
        "ALTER TABLE api_keys DROP COLUMN key_hash",
    ],
)
async def test_a_database_that_answers_nonsense_lets_nobody_in(
    world: World, start: Start, upstream: Upstream, change: str
) -> None:
    await world.sql(
        change.replace("is_active TYPE text", "is_active DROP DEFAULT, ALTER COLUMN is_active TYPE text")
    )
    gate = await start(world.url)
    lines = [f"X-API-Key: {world.api_key}"]
    if "api_keys" not in change:
        lines.append(bearer(world.token(world.agent)))
    for line in lines:
        answer = await ask(gate, get("/api/x", line))
        assert answer.status in (500, 503)
        is_refusal(answer, answer.status)
        for word in (b"column", b"relation", b"SELECT", b"asyncpg", b"Traceback", b"users"):
            assert word not in answer.body
    assert upstream.seen == b""


@pytest.mark.parametrize(
    "line",
    [
        *("Cookie: whm_access", "Cookie: =;;=\xff", "Cookie: whm_access=\x80", f"Cookie: {'a=b;' * 4000}"),
        *("Authorization: \xff\xfe", "X-API-Key: \x80", "X-Organization-ID: \xff", "X-Organization-ID: {"),
        *("X-Forwarded-For: \xff", "X-Forwarded-For: ::::,%%%,", "X-Request-ID: \xff", "Origin: \xff"),
    ],
)
async def test_a_malformed_header_is_never_a_way_in(start: Start, upstream: Upstream, line: str) -> None:
    gate = await start(trusted_proxies=["127.0.0.1/32"])
    for method in ("GET", "OPTIONS", "POST"):
        answer = await ask(gate, request(method, "/api/x", line).replace(b"\xc3\xbf", b"\xff"))
        assert 400 <= answer.status < 500
        is_refusal(answer, answer.status)
    assert upstream.seen == b""
