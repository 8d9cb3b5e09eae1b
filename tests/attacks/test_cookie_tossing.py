"""Cookies planted beside the gateway's own, by a sibling host or a page on plain HTTP: none of them counts."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

import pytest

from tests.flow.browsing import LOGIN, LOGOUT, REFRESH, signed_in
from tests.flow.calls import ask, bearer, get, is_refusal, post
from tests.flow.conftest import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.app import Gateway
    from tests.flow.conftest import World
    from tests.flow.peers import Upstream

    Start = Callable[..., Awaitable[Gateway]]

CREDENTIALS = {"email": "agent@example.com", "password": PASSWORD}


@pytest.fixture
async def gate(world: World, start: Start) -> Gateway:
    return await start(world.url, cookies=True)


async def test_of_two_tokens_neither_is_used(gate: Gateway, world: World, upstream: Upstream) -> None:
    mine, theirs = world.token(world.agent), world.token(world.root)
    for name in (
        "whm_access",
        "WHM_ACCESS",
        "whm.access",
        "whm%5faccess",
        "=whm_access",
        '"whm_access"',
        "whm_access ",
    ):
        for one, two in permutations((f"whm_access={mine}", f"{name}={theirs}")):
            for lines in (
                (f"Cookie: {one}; {two}",),
                (f"Cookie: {one};{two}",),
                (f"Cookie: {one}; a=b; {two}",),
                (f"Cookie: {one}", f"cookie: {two}"),
                (f"Cookie: {one}", "Accept: */*", f"COOKIE: x=y; {two}"),
            ):
                is_refusal(await ask(gate, get("/api/x", *lines)), 400)
    is_refusal(await ask(gate, get("/api/x", f"Cookie: whm_access={mine}; whm_access={mine}")), 400)
    is_refusal(await ask(gate, get("/api/x", f"Cookie: whm_access={mine}; whm_access")), 400)
    assert upstream.seen == b""


async def test_an_alias_alone_is_nobody(gate: Gateway, world: World, upstream: Upstream) -> None:
    for name in ("WHM_ACCESS", "whm.access", "whm-access", "%77hm_access", "=whm_access", '"whm_access"'):
        line = f"Cookie: {name}={world.token(world.root)}"
        is_refusal(await ask(gate, get("/api/x", line)), 401, "Missing authorization")
        assert (await ask(gate, get("/public", line))).status == 200
    assert b"hm" not in b"".join(
        value for one in upstream.requests for name, value in one.lines if name == b"Cookie"
    )


async def test_a_planted_csrf_cookie_is_not_the_sessions(gate: Gateway, upstream: Upstream) -> None:
    jar, thief = await signed_in(gate), await signed_in(gate, "admin")
    access = f"whm_access={jar.values['whm_access']}"
    for planted in ("x", "0" * 32, thief.values["whm_csrf"]):
        line = f"Cookie: {access}; whm_csrf={planted}"
        is_refusal(await ask(gate, post("/api/x", {}, line, f"X-CSRF-Token: {planted}")), 403)
        both = f"Cookie: {access}; whm_csrf={planted}; whm_csrf={jar.values['whm_csrf']}"
        for sent in (planted, jar.values["whm_csrf"]):
            is_refusal(await ask(gate, post("/api/x", {}, both, f"X-CSRF-Token: {sent}")), 400)
        assert (await ask(gate, get("/api/x", both))).status == 200  # which asks for none
    assert len(upstream.requests) == 3


async def test_two_refresh_tokens_are_none_and_neither_is_used_up(gate: Gateway) -> None:
    jar, thief = await signed_in(gate), await signed_in(gate, "admin")
    tossed = f"Cookie: whm_refresh={thief.values['whm_refresh']}"
    answer = await ask(gate, post(REFRESH, {}, tossed, jar.sent_to(REFRESH), jar.csrf))
    is_refusal(answer, 400)
    assert answer.all("Set-Cookie") == []
    for one in (jar, thief):
        assert (await one.post(gate, REFRESH, {}, one.csrf)).status == 200


async def test_planted_cookies_keep_nobody_from_signing_in_or_out(gate: Gateway) -> None:
    tossed = "Cookie: whm_access=x; whm_access=y; whm_refresh=x; whm_refresh=y; whm_csrf=x; whm_csrf=y"
    for path, body in ((LOGIN, CREDENTIALS), (LOGOUT, {})):
        answer = await ask(gate, post(path, body, tossed))
        assert answer.status == 200
        assert len(answer.all("Set-Cookie")) == 3


async def test_a_header_decides_whatever_is_planted(gate: Gateway, world: World, upstream: Upstream) -> None:
    tossed = f"Cookie: whm_access={world.token(world.root)}; whm_access=x"
    assert (await ask(gate, get("/api/x", tossed, bearer(world.token(world.agent))))).status == 200
    assert upstream.requests[0].one("X-User-ID") == str(world.agent)
    assert b"whm_" not in upstream.seen


async def test_quotes_and_versions_hide_and_reveal_nothing(
    gate: Gateway, world: World, upstream: Upstream
) -> None:
    """A server that reads RFC 2109 takes what stands between two quotes for one value, ours among it."""
    mine = world.token(world.agent)
    sandwich = f'Cookie: $Version=1; a="start; whm_access={mine}; b=end"; $Path=/'
    assert (await ask(gate, get("/api/x", sandwich))).status == 200
    assert upstream.requests[0].all("Cookie") == ['$Version=1; a="start; b=end"; $Path=/']
    hidden = f'Cookie: a="x, whm_access={world.token(world.root)}"; whm_access={mine}'
    assert (await ask(gate, get("/api/x", hidden))).status == 200
    assert upstream.requests[1].one("X-User-ID") == str(world.agent)


async def test_a_bomb_of_cookies_is_refused_and_no_more(gate: Gateway, upstream: Upstream) -> None:
    for target in ("/api/x", "/public", LOGIN):
        for line in ("Cookie: " + ";" * 20_000, "Cookie: " + "a=1; " * 2000):
            is_refusal(await ask(gate, get(target, line)), 431)
    assert upstream.seen == b""
    assert (await ask(gate, get("/public", "Cookie: " + "; ".join(["a=1"] * 150)))).status == 200
