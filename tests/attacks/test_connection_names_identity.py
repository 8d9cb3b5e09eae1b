"""``Connection: X-User-ID``: making the proxy drop the header it injects, or a header that decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.calls import ask, bearer, get, is_refusal, request
from tests.support.route_files import by_route_file

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.peers import Client, Upstream
    from tests.support.worlds import Start, World


INJECTED = (
    "X-User-ID",
    "X-User-Role",
    "X-User-Permissions",
    "X-Org-ID",
    "X-Auth-Method",
    "X-Forwarded-For",
    "X-Request-ID",
)


@pytest.mark.parametrize(
    "lines",
    [
        (f"Connection: {', '.join(INJECTED)}",),
        tuple(f"Connection: {name}" for name in INJECTED),
        tuple(f"cOnNeCtIoN: keep-alive,{name.upper()}" for name in INJECTED),
        (f"Connection: close, {', ,'.join(INJECTED).swapcase()} ,,",),
        (f"Connection:\t{','.join(name.replace('-', '_') for name in INJECTED)}",),
        (f"Proxy-Connection: {', '.join(INJECTED)}",),
        (f"Keep-Alive: {', '.join(INJECTED)}",),
    ],
)
async def test_no_connection_field_takes_an_injected_header_away(
    world: World, start: Start, upstream: Upstream, lines: tuple[str, ...]
) -> None:
    gate = await start(world.url)
    raw = get("/api/x", *lines, "X-User-ID: 1", bearer(world.token(world.agent)))
    assert (await ask(gate, raw)).status == 200
    told = upstream.requests[0]
    assert told.one("X-User-ID") == str(world.agent)
    for name in INJECTED:
        assert told.one(name), name
    for name in ("Connection", "Keep-Alive", "Proxy-Connection"):
        assert "x-user" not in (told.one(name) or "").lower()


async def test_named_fields_stay_on_their_connection_in_any_case_and_over_several_lines(
    client: Client, upstream: Upstream
) -> None:
    raw = get(
        "/health",
        *(
            "Connection: X-Internal, x-SECOND",
            "X-INTERNAL: hop",
            "X-Second: hop",
            "CONNECTION: third",
            "Third: hop",
        ),
        *(
            "TE: trailers",
            "Trailer: X-T",
            "Keep-Alive: timeout=5",
            "Proxy-Authorization: Basic hop",
            "X-Fourth: end",
        ),
    )
    assert (await client.exchange(raw)).status == 200
    assert b"hop" not in upstream.seen
    assert upstream.requests[0].one("X-Fourth") == "end"
    for name in ("TE", "Trailer", "Keep-Alive"):
        assert upstream.requests[0].one(name) is None


async def test_naming_host_or_length_changes_nothing(client: Client, upstream: Upstream) -> None:
    raw = request("POST", "/health", "Connection: host, content-length, transfer-encoding", body=b"four")
    assert (await client.exchange(raw)).status == 200
    told = upstream.requests[0]
    assert (told.one("Host"), told.one("Content-Length"), told.body) == ("gateway.test", "4", b"four")


JUDGED_BY = (
    "Connection: {name}",
    "Connection: keep-alive,{name}",
    "CONNECTION: close, ,{name}",
    "Connection: close\r\nConnection: {name}",
)


@pytest.mark.parametrize("connection", JUDGED_BY)
@pytest.mark.parametrize("name", ["X-Organization-ID", "x-organization-id"])
async def test_a_named_organization_is_the_upstreams_too(
    world: World, start: Start, upstream: Upstream, connection: str, name: str
) -> None:
    """Else the caller is judged by the rights of one organization, and Whatomate acts in the token's own."""
    gate = await start(world.url, preset="whatomate")
    token = bearer(world.token(world.both))  # an agent at home, and a manager there
    is_refusal(await ask(gate, get("/api/campaigns", token)), 403)
    for count in range(2):  # the second time, by heads that were learnt
        lines = (
            token,
            f"X-Organization-ID: {world.other}",
            connection.format(name=name),
            f"X-Count: {count}",
        )
        assert (await ask(gate, get("/api/campaigns", *lines))).status == 200
        told = upstream.requests[-1]
        assert told.one("X-Organization-ID") == told.one("X-Org-ID") == str(world.other)


@pytest.mark.parametrize("connection", JUDGED_BY)
async def test_a_named_credential_is_the_upstreams_too(
    world: World, start: Start, upstream: Upstream, connection: str
) -> None:
    """Else a second credential takes its place there: a token beside the key, or a cookie beside the token."""
    gate = await start(world.url)
    token, key = bearer(world.token(world.agent)), f"X-API-Key: {world.api_key}"
    assert (await ask(gate, get("/api/x", token, key, connection.format(name="x-api-key")))).status == 200
    told = upstream.requests[-1]
    assert (told.one("X-User-ID"), told.one("X-API-Key")) == (str(world.admin), world.api_key)
    named = connection.format(name="Authorization")
    assert (await ask(gate, get("/api/x", token, "Cookie: whm_access=other", named))).status == 200
    told = upstream.requests[-1]
    assert f"Authorization: {told.one('Authorization')}" == token
    bad = (connection.format(name="x-api-key"), "X-API-Key: bad", token)
    is_refusal(await ask(gate, get("/api/x", *bad)), 401, "Invalid API key")


async def test_a_route_that_strips_the_credential_sends_none_that_is_named(
    world: World, start: Start, upstream: Upstream, tmp_path: Path
) -> None:
    text = "routes: [{name: api, match: {path: /api/*}, auth: required, credential: strip}]"
    gate = await by_route_file(start, tmp_path)(text, world.url)
    for lines in ((bearer(world.token(world.agent)),), (f"X-API-Key: {world.api_key}",)):
        named = "Connection: authorization, x-api-key"
        assert (await ask(gate, get("/api/x", named, *lines))).status == 200
        told = upstream.requests[-1]
        assert (told.one("Authorization"), told.one("X-API-Key")) == (None, None)
