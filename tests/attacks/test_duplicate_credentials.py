"""Two credentials of one kind: one checked here, the other used there."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

import pytest

from tests.support.browsing import signed_in
from tests.support.calls import ask, bearer, get, granted, is_refusal, request

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


EMPTY = ("Authorization:", "X-API-Key:", "authorization: ", "X-Api-Key: \t ", "AUTHORIZATION:   ")


@pytest.mark.parametrize("empty", [*((one,) for one in EMPTY), EMPTY[:2]])
async def test_an_empty_credential_is_none_and_never_reaches_the_upstream(
    world: World, start: Start, upstream: Upstream, empty: tuple[str, ...]
) -> None:
    gate = await start(world.url, cookies=True, preset="whatomate")
    jar = await signed_in(gate)
    other = (f"X-API-Key: {world.api_key}",) if empty[0].lower().startswith("authorization") else ()
    others = other or (bearer(world.token(world.agent)),)
    if len(empty) == 1:
        for lines in permutations((*empty, *others)):
            assert (await ask(gate, get("/api/templates", *lines))).status == 200
    for count in range(2):  # the second time, by heads that were learnt
        cookie = jar.sent_to("/api/x")
        answer = await ask(gate, get("/api/templates", cookie, *empty, f"X-Count: {count}"))
        assert answer.status == 200
        assert upstream.requests[-1].one("Authorization") == f"Bearer {jar.values['whm_access']}"
        is_refusal(await ask(gate, get("/api/templates", *empty)), 401, "Missing authorization")
        assert (await ask(gate, get("/health", *empty))).status == 200
        assert upstream.requests[-1].all("Authorization") == upstream.requests[-1].all("X-API-Key") == []
    for one in upstream.requests:
        assert "" not in (*one.all("Authorization"), *one.all("X-API-Key"))
        assert len(one.all("Authorization")) <= 1


@pytest.mark.parametrize("empty", EMPTY)
async def test_an_empty_credential_beside_a_cookie_spares_nobody_the_csrf_token(
    world: World, start: Start, upstream: Upstream, empty: str
) -> None:
    gate = await start(world.url, cookies=True)
    jar = await signed_in(gate)
    cookie = jar.sent_to("/api/x")
    is_refusal(await ask(gate, request("POST", "/api/x", cookie, empty)), 403)
    is_refusal(
        await ask(gate, get("/api/x", cookie, empty, "Upgrade: websocket", "Origin: https://evil.test")), 403
    )
    assert upstream.seen == b""
    assert (await ask(gate, request("POST", "/api/x", cookie, empty, jar.csrf))).status == 200


async def test_an_empty_credential_hides_no_other_one_from_what_a_ticket_stands_beside(
    world: World, start: Start, upstream: Upstream
) -> None:
    gate = await start(world.url)
    token = bearer(world.token(world.agent))
    ticket = (await granted(gate, get("/api/auth/ws-token", token)))["token"]
    for lines in (*permutations((token, "Authorization:")), (token, "X-API-Key:"), *permutations(EMPTY[::2])):
        is_refusal(await ask(gate, get(f"/ws?token={ticket}", *lines)), 400)
    assert upstream.seen == b""
    assert (await ask(gate, get(f"/ws?token={ticket}", *EMPTY[:2]))).status == 200


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
