"""A managed header by another spelling, in a trailer, twice, or where ours has no value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.calls import ask, bearer, get, is_refusal, request

if TYPE_CHECKING:
    from tests.support.peers import Client, Upstream
    from tests.support.worlds import Start, World


MANAGED = (
    "X-User-ID",
    "X-Org-ID",
    "X-User-Permissions",
    "X-User-Super-Admin",
    "X-Auth-Method",
    "X-Auth-Key-ID",
)
EVIL = "evil-value"


def spellings(name: str) -> list[str]:
    return [
        *(name, name.lower(), name.upper(), name.swapcase(), name.replace("-", "_"), name.replace("-", ".")),
        *(name.replace("-", one, 1) for one in "_.!#$%&'*+^`|~"),
        name.replace("-", "_").lower(),
        name.replace("-", "*").upper(),
    ]


@pytest.mark.parametrize("name", MANAGED)
async def test_no_spelling_of_a_managed_header_passes(
    world: World, start: Start, upstream: Upstream, name: str
) -> None:
    gate = await start(world.url)
    lines = [f"{one}: {EVIL}" for one in spellings(name)]
    for raw in (
        get("/health", *lines),
        get("/api/x", *lines, bearer(world.token(world.agent))),
        get("/api/x", bearer(world.token(world.agent)), *lines),
        get("/api/x", bearer(world.token(world.agent)), *(lines[:1] * 50)),
    ):
        assert (await ask(gate, raw)).status == 200
    assert len(upstream.requests) == 4
    assert EVIL.encode() not in upstream.seen
    for told in upstream.requests[1:]:
        assert told.all("X-User-ID") == [str(world.agent)]
        assert told.all("X-Auth-Key-ID") == []  # ours has no value: then there is no header, not the client's


async def test_where_ours_has_no_value_the_clients_does_not_remain(
    world: World, start: Start, upstream: Upstream
) -> None:
    await world.sql("UPDATE users SET role_id = NULL WHERE id = $1", world.agent)
    await world.sql("UPDATE user_organizations SET role_id = NULL WHERE user_id = $1", world.agent)
    gate = await start(world.url)
    names = ("X-User-Role", "X-User-Role-ID", "X-User-Permissions", "X-Auth-Key-ID")
    lines = [f"{name}: admin" for name in names] + [bearer(world.token(world.agent))]
    assert (await ask(gate, get("/api/x", *lines))).status == 200
    for name in names:
        assert upstream.requests[0].all(name) == []


@pytest.mark.parametrize(
    "name", ["X_API_Key", "X.API.Key", "X-API_Key", "x_api-key", "Authorization_", "_Authorization"]
)
async def test_a_credential_by_an_alias_is_neither_read_nor_passed_as_one(
    world: World, start: Start, upstream: Upstream, name: str
) -> None:
    gate = await start(world.url)
    is_refusal(await ask(gate, get("/api/x", f"{name}: {world.api_key}")), 401, "Missing authorization")
    assert upstream.seen == b""
    assert (await ask(gate, get("/health", f"{name}: {world.api_key}"))).status == 200
    told = upstream.requests[0]
    assert told.one("X-API-Key") is None
    folds = [
        key for key, _ in told.lines if key.lower().translate(bytes.maketrans(b"_.", b"--")) == b"x-api-key"
    ]
    assert folds == []


@pytest.mark.parametrize(
    "name", ["Content_Length", "Content.Length", "Transfer_Encoding", "Transfer.Encoding", "Host_Name"]
)
async def test_framing_by_an_alias_frames_nothing_and_is_not_passed(
    client: Client, upstream: Upstream, name: str
) -> None:
    value = "chunked" if "ransfer" in name else "100"
    assert (await client.exchange(request("POST", "/health", f"{name}: {value}", body=b"four"))).status == 200
    assert upstream.requests[0].body == b"four"
    if name != "Host_Name":
        assert name.encode() not in upstream.seen
