"""Cookies planted beside the gateway's own, by a sibling host or a page on plain HTTP: what they do, and what not."""

from __future__ import annotations

import time
from itertools import permutations
from typing import TYPE_CHECKING
from uuid import uuid4

import jwt
import pytest

from gateway.cookies import MOST_TWINS
from tests.support.browsing import LOGIN, LOGOUT, REFRESH, Jar, signed_in
from tests.support.calls import ask, bearer, claims_of, get, is_refusal, post, whatomate_token
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from uuid import UUID

    from gateway.app import Gateway
    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World


CREDENTIALS = {"email": "agent@example.com", "password": PASSWORD}
SIBLINGS = (
    (),
    ("Sec-Fetch-Site: same-site",),
    ("Origin: https://sibling.gateway.test",),
    ("Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: same-site"),
)
"""What shows that a page of a sibling host may have sent a request, or does not show that it has not."""


@pytest.fixture
async def gate(world: World, start: Start) -> Gateway:
    return await start(world.url, cookies=True)


def issued(world: World, user: UUID, later: float) -> str:
    """An access token of some seconds later than now."""
    return world.token(user, now=time.time() + later)


async def used(gate: Gateway, upstream: Upstream, *lines: str) -> str | None:
    """Return whose request is let in, as the upstream sees it, and by whose token."""
    assert (await ask(gate, get("/api/x", *lines))).status == 200
    seen = upstream.requests.pop()
    (authorization,) = seen.all("Authorization")
    told = jwt.decode(authorization.removeprefix("Bearer "), options={"verify_signature": False})
    assert told["user_id"] == seen.one("X-User-ID")
    assert seen.all("Cookie") in ([], ["a=b"], ["x=y"])
    return seen.one("X-User-ID")


def spellings(one: str, two: str) -> list[tuple[str, ...]]:
    return [
        (f"Cookie: {one}; {two}",),
        (f"Cookie: {one};{two}",),
        (f"Cookie: {one}; a=b; {two}",),
        (f"Cookie: {one}", f"cookie: {two}"),
        (f"Cookie: {one}", "Accept: */*", f"COOKIE: x=y; {two}"),
    ]


async def test_what_is_planted_beside_a_good_one_changes_nothing(
    gate: Gateway, world: World, upstream: Upstream
) -> None:
    """An alias is not read, be it ever so good; under the very name, what is not good does not count."""
    mine, theirs = world.token(world.agent), issued(world, world.root, 60)
    planted = [
        f"{name}={theirs}"
        for name in ("WHM_ACCESS", "whm.access", "whm%5faccess", "=whm_access", '"whm_access"', "whm_access ")
    ]
    planted += [
        "whm_access",
        "whm_access=",
        "whm_access=x",
        f"whm_access={mine}",
        f"whm_access={theirs}x",
        f"whm_access={issued(world, world.root, -7200)}",
        f"whm_access={whatomate_token(world.root, world.home, jti='a-refresh-token', iat=int(time.time()) + 60)}",
        f"whm_access={whatomate_token(uuid4(), world.home, iat=int(time.time()) + 60)}",
    ]
    for one in planted:
        for pair in permutations((f"whm_access={mine}", one)):
            for lines in spellings(*pair):
                assert await used(gate, upstream, *lines) == str(world.agent), lines


async def test_of_two_good_ones_the_newer_counts(gate: Gateway, world: World, upstream: Upstream) -> None:
    """The price of a browser that keeps both of its own: a sibling host can sign it in as somebody it knows."""
    for mine, theirs, counts in ((0, 60, world.root), (60, 0, world.agent)):
        tokens = [
            f"whm_access={issued(world, user, then)}"
            for user, then in ((world.agent, mine), (world.root, theirs))
        ]
        for pair in permutations(tokens):
            for lines in spellings(*pair):
                assert await used(gate, upstream, *lines) == str(counts)


async def test_a_revoked_one_does_not_count_however_new(
    gate: Gateway, world: World, upstream: Upstream
) -> None:
    jar, thief = await signed_in(gate), await signed_in(gate, "admin")
    both = f"Cookie: whm_access={thief.values['whm_access']}; whm_access={jar.values['whm_access']}"
    for revoked, left in ((thief, world.agent), (jar, None)):
        assert (await revoked.post(gate, LOGOUT, {})).status == 200
        for _ in range(2):
            if left is None:
                is_refusal(await ask(gate, get("/api/x", both)), 401)
            else:
                assert await used(gate, upstream, both) == str(left)


async def test_an_outage_is_no_verdict_on_either(world: World, start: Start) -> None:
    away = await start(cookies=True)
    tokens = "; ".join(f"whm_access={world.token(user)}" for user in (world.agent, world.root))
    is_refusal(await ask(away, get("/api/x", f"Cookie: {tokens}")), 503)


async def test_an_outage_that_leaves_the_newest_one_unjudged_lets_no_other_one_in(
    gate: Gateway, world: World
) -> None:
    older, newest = world.token(world.agent), issued(world, world.admin, 60)
    alone = get("/api/x", f"Cookie: whm_access={older}")
    assert (await ask(gate, alone)).status == 200
    await world.sql("ALTER TABLE users RENAME TO users_away")
    for tokens in ((older, newest), (newest, older)):
        line = "Cookie: " + "; ".join(f"whm_access={token}" for token in tokens)
        is_refusal(await ask(gate, get("/api/x", line)), 503)
    assert (await ask(gate, alone)).status == 200


async def test_if_none_is_good_the_refusal_is_that_of_the_newest(gate: Gateway, world: World) -> None:
    older, newest = world.token(world.agent), issued(world, world.admin, 60)
    await world.sql("UPDATE users SET deleted_at = now() WHERE id = $1", world.agent)
    await world.sql("UPDATE users SET is_active = false WHERE id = $1", world.admin)
    for tokens in ((older, newest), (newest, older)):
        line = "Cookie: " + "; ".join(f"whm_access={token}" for token in tokens)
        is_refusal(await ask(gate, get("/api/x", line)), 401, "Account is disabled")


async def test_an_unsafe_request_is_in_the_session_whose_csrf_token_it_brings(
    gate: Gateway, world: World, upstream: Upstream
) -> None:
    """An attacker who plants a newer session beside the victim's does not get the victim's writes."""
    jar = await signed_in(gate)
    planted = issued(world, world.root, 60)
    access = f"whm_access={planted}; whm_access={jar.values['whm_access']}"
    for csrf in (jar.values["whm_csrf"], f"planted; whm_csrf={jar.values['whm_csrf']}"):
        line = f"Cookie: {access}; whm_csrf={csrf}"
        for proof in ((), ("Sec-Fetch-Site: same-origin",)):
            assert (await ask(gate, post("/api/x", {}, line, jar.csrf, *proof))).status == 200
            assert upstream.requests.pop().one("X-User-ID") == str(world.agent)
    is_refusal(await ask(gate, post("/api/x", {}, f"Cookie: {access}; whm_csrf=x", jar.csrf)), 403)
    is_refusal(await ask(gate, post("/api/x", {}, f"Cookie: {access}")), 403)
    assert upstream.requests == []


async def test_a_safe_request_is_in_the_newest_session_whatever_csrf_token_it_brings(
    gate: Gateway, world: World, upstream: Upstream
) -> None:
    """It needs none, so the token of an older session is no sign that the newer one is planted."""
    jar = await signed_in(gate)
    newer = issued(world, world.root, 60)
    line = f"Cookie: whm_access={jar.values['whm_access']}; whm_access={newer}; whm_csrf={jar.values['whm_csrf']}"
    for csrf in ((), (jar.csrf,)):
        assert await used(gate, upstream, line, *csrf) == str(world.root)


async def test_more_than_a_browser_can_have_are_refused_without_a_look_at_any(
    gate: Gateway, world: World, upstream: Upstream
) -> None:
    mine = world.token(world.agent)
    bad = [f"whm_access={number}" for number in range(MOST_TWINS)]
    is_refusal(await ask(gate, get("/api/x", f"Cookie: whm_access={mine}; {'; '.join(bad)}")), 400)
    assert upstream.seen == b""
    assert await used(gate, upstream, f"Cookie: {'; '.join(bad[1:])}; whm_access={mine}") == str(world.agent)


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
        sent = f"X-CSRF-Token: {planted}"
        alone = f"Cookie: {access}; whm_csrf={planted}"
        both = f"{alone}; whm_csrf={jar.values['whm_csrf']}"
        is_refusal(await ask(gate, post("/api/x", {}, alone, sent)), 403)
        for site in SIBLINGS:
            is_refusal(await ask(gate, post("/api/x", {}, both, sent, *site)), 403)
            assert (await ask(gate, post("/api/x", {}, both, jar.csrf, *site))).status == 200
        # A page of this host reads the first, and cannot know better.
        assert (await ask(gate, post("/api/x", {}, both, sent, "Sec-Fetch-Site: same-origin"))).status == 200
        is_refusal(await ask(gate, post("/api/x", {}, alone, sent, "Sec-Fetch-Site: same-origin")), 403)
        assert (await ask(gate, get("/api/x", both))).status == 200  # which asks for none
    assert len(upstream.requests) == 3 * (len(SIBLINGS) + 1 + 1)


async def test_beside_a_session_of_whatomates_a_planted_csrf_cookie_is_enough_for_no_page_elsewhere(
    gate: Gateway, world: World
) -> None:
    theirs = (
        f"Cookie: whm_access={whatomate_token(world.agent, world.home)}; whm_csrf=random; whm_csrf=planted"
    )
    for sent in ("random", "planted"):
        for site in SIBLINGS:
            is_refusal(await ask(gate, post("/api/x", {}, theirs, f"X-CSRF-Token: {sent}", *site)), 403)
        own = "Sec-Fetch-Site: same-origin"
        assert (await ask(gate, post("/api/x", {}, theirs, f"X-CSRF-Token: {sent}", own))).status == 200


async def test_a_planted_refresh_token_does_not_count_unless_it_is_a_newer_good_one(
    gate: Gateway, world: World
) -> None:
    own = "Sec-Fetch-Site: same-origin"
    ended = await signed_in(gate, "admin")
    assert (await Jar(dict(ended.values), ended.attributes).post(gate, LOGOUT, {})).status == 200
    newer = int(time.time()) + 60
    for planted in (
        "x",
        "",
        ended.values["whm_refresh"],
        issued(world, world.admin, 60),
        whatomate_token(world.admin, world.home, jti="expired", exp=newer - 120, iat=newer),
        whatomate_token(uuid4(), world.home, jti="nobodys", iat=newer),
    ):
        for order in (0, 1):
            jar = await signed_in(gate)
            lines = [f"Cookie: whm_refresh={planted}", jar.sent_to(REFRESH)]
            answer = await ask(gate, post(REFRESH, {}, *(lines if order else reversed(lines)), own))
            assert answer.status == 200, planted
            jar.take(answer)
            assert claims_of(jar.values["whm_access"])["user_id"] == str(world.agent)
    good = whatomate_token(world.admin, world.home, jti="good", iat=newer)
    jar = await signed_in(gate)
    answer = await ask(gate, post(REFRESH, {}, f"Cookie: whm_refresh={good}", jar.sent_to(REFRESH), own))
    assert claims_of(str(answer.json()["data"]["access_token"]))["user_id"] == str(world.admin)
    assert (await jar.post(gate, REFRESH, {}, jar.csrf)).status == 200  # what did not count is not used up


async def test_without_proof_of_its_page_a_refresh_is_of_the_session_whose_csrf_token_it_brings(
    gate: Gateway, world: World
) -> None:
    jar = await signed_in(gate)
    good = whatomate_token(world.admin, world.home, jti="newer", iat=int(time.time()) + 60)
    alone = f"Cookie: whm_refresh={good}"
    tossed = f"{alone}; whm_csrf=planted"
    is_refusal(await ask(gate, post(REFRESH, {}, tossed, jar.sent_to(REFRESH))), 403)
    is_refusal(await ask(gate, post(REFRESH, {}, tossed, jar.sent_to(REFRESH), "X-CSRF-Token: planted")), 403)
    for line in (tossed, alone):
        answer = await ask(gate, post(REFRESH, {}, line, jar.sent_to(REFRESH), jar.csrf))
        assert claims_of(str(answer.json()["data"]["access_token"]))["user_id"] == str(world.agent)
        jar.take(answer)


async def test_an_older_token_of_the_same_session_is_not_tried_and_ends_nothing(
    gate: Gateway, world: World
) -> None:
    """Trying a used one would be theft to the table of sessions, and the end of the session."""
    jar = await signed_in(gate)
    used_up = jar.values["whm_refresh"]
    assert (await jar.post(gate, REFRESH, {}, jar.csrf)).status == 200
    await world.sql("UPDATE gateway_refresh_tokens SET used_at = used_at - interval '1 day'")
    answer = await jar.post(gate, REFRESH, {}, f"Cookie: whm_refresh={used_up}", jar.csrf)
    assert answer.status == 200
    assert (await jar.post(gate, REFRESH, {}, jar.csrf)).status == 200


async def test_planted_cookies_keep_nobody_from_signing_in_or_out(gate: Gateway) -> None:
    tossed = "Cookie: whm_access=x; whm_access=y; whm_refresh=x; whm_refresh=y; whm_csrf=x; whm_csrf=y"
    for path, body in ((LOGIN, CREDENTIALS), (LOGOUT, {})):
        answer = await ask(gate, post(path, body, tossed))
        assert answer.status == 200
        assert set(Jar().take(answer)) == {"whm_access", "whm_refresh", "whm_csrf"}


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


async def test_planted_cookies_do_not_keep_a_session_that_its_user_ends(gate: Gateway) -> None:
    jar = await signed_in(gate)
    token = jar.values["whm_access"]
    planted = "; ".join(
        f"{name}=planted{number}"
        for name in ("whm_access", "whm_refresh")
        for number in range(MOST_TWINS + 4)
    )
    answer = await ask(
        gate, post(LOGOUT, {}, f"Cookie: {planted}; {jar.sent_to(LOGOUT).removeprefix('Cookie: ')}")
    )
    assert answer.status == 200
    is_refusal(await ask(gate, get("/api/x", bearer(token))), 401)
