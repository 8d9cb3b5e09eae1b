"""Two credentials of one kind: one checked here, the other used there."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

import pytest

from tests.support.calls import ask, bearer, get, is_refusal

if TYPE_CHECKING:
    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World


async def test_two_credentials_of_a_kind_are_none(world: World, start: Start, upstream: Upstream) -> None:
    gate = await start(world.url)
    token, other = (bearer(world.token(user)) for user in (world.agent, world.root))
    key = f"X-API-Key: {world.api_key}"
    for pair in (
        *permutations((token, other)),
        *permutations((token, "Authorization: Basic dTpw")),
        *permutations((token, "authorization:")),
        (token, token),
        (token, token.upper().replace("AUTHORIZATION", "aUTHORIZATION")),
        *permutations((key, "x-api-key: whm_" + "0" * 32)),
        *permutations((key, "X-Api-Key:")),
        (key, key),
    ):
        is_refusal(await ask(gate, get("/api/x", *pair)), 400)
    is_refusal(await ask(gate, get("/api/x", key, token, other)), 400)
    assert upstream.seen == b""


@pytest.mark.parametrize("joint", [", ", ",", " ", "; "])
async def test_two_tokens_in_one_line_are_none(
    world: World, start: Start, upstream: Upstream, joint: str
) -> None:
    gate = await start(world.url)
    one, two = world.token(world.agent), world.token(world.root)
    is_refusal(await ask(gate, get("/api/x", f"Authorization: Bearer {one}{joint}Bearer {two}")), 401)
    is_refusal(await ask(gate, get("/api/x", f"Authorization: Bearer {one}{joint}{two}")), 401)
    is_refusal(await ask(gate, get("/api/x", f"X-API-Key: {world.api_key}{joint}{world.api_key}")), 401)
    assert upstream.seen == b""


async def test_a_cookie_beside_a_token_is_not_who_is_asking(
    world: World, start: Start, upstream: Upstream
) -> None:
    gate = await start(world.url)
    cookies = [f"Cookie: whm_access={world.token(user)}" for user in (world.root, world.admin)]
    assert (await ask(gate, get("/api/x", *cookies, bearer(world.token(world.agent))))).status == 200
    assert upstream.requests[0].one("X-User-ID") == str(world.agent)
    assert upstream.requests[0].one("X-User-Super-Admin") == "false"


async def test_on_a_public_path_nobody_is_asked_and_nobody_named(
    world: World, start: Start, upstream: Upstream
) -> None:
    gate = await start(world.url)
    lines = (bearer(world.token(world.root)), bearer(world.token(world.agent)))
    assert (await ask(gate, get("/health", *lines))).status == 200
    assert upstream.requests[0].one("X-User-ID") is None
