"""Browser sessions: cookies set, taken, refreshed and cleared; off by default."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.support.browsing import LOGIN, LOGOUT, REFRESH, SWITCH, Jar, signed_in
from tests.support.calls import ask, bearer, claims_of, get, is_refusal, post, request, whatomate_token
from tests.support.worlds import PASSWORD, SECRET

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.app import Gateway
    from tests.support.peers import Client, Message, Upstream
    from tests.support.worlds import Start, World


ALL = {"whm_access", "whm_refresh", "whm_csrf"}
CREDENTIALS = {"email": "agent@example.com", "password": PASSWORD}


@pytest.fixture
async def gate(world: World, start: Start) -> Gateway:
    return await start(world.url, cookies=True)


def answer_of(answer: Message) -> dict[str, object]:
    assert answer.status == 200, answer.body
    told = answer.json()["data"]
    assert isinstance(told, dict)
    return told


# -- off ----------------------------------------------------------------------------------------------------------


async def test_without_the_setting_there_are_no_cookies(
    world: World, start: Start, upstream: Upstream
) -> None:
    gate = await start(world.url)
    answer = await ask(gate, post(LOGIN, CREDENTIALS))
    assert answer.all("Set-Cookie") == []
    token = answer_of(answer)["access_token"]
    is_refusal(await ask(gate, get("/api/x", f"Cookie: whm_access={token}")), 401, "Missing authorization")
    assert (await ask(gate, post(LOGOUT, {}))).all("Set-Cookie") == []
    assert (await ask(gate, get("/x", "Cookie: whm_access=1; a=2"))).status == 200
    assert upstream.requests[0].all("Cookie") == ["whm_access=1; a=2"]  # whose they are, nobody knows


# -- set ----------------------------------------------------------------------------------------------------------


async def test_signing_in_sets_three_cookies(gate: Gateway) -> None:
    jar = Jar()
    answer = await ask(gate, post(LOGIN, CREDENTIALS))
    assert jar.take(answer) == ["whm_access", "whm_refresh", "whm_csrf"]
    told = answer_of(answer)
    assert jar.values["whm_access"] == told["access_token"]
    assert jar.values["whm_refresh"] == told["refresh_token"]
    assert {name: set(attributes) for name, attributes in jar.attributes.items()} == {
        "whm_access": {"Path=/api", "HttpOnly", "Max-Age=3600", "Secure", "SameSite=Lax"},
        "whm_refresh": {"Path=/api/auth", "HttpOnly", "Max-Age=604800", "Secure", "SameSite=Lax"},
        "whm_csrf": {"Path=/", "Max-Age=604800", "Secure", "SameSite=Lax"},
    }


async def test_secure_domain_and_lifetimes_are_settings(world: World, start: Start) -> None:
    gate = await start(
        world.url,
        cookies=True,
        cookie={"secure": False, "domain": "example.com"},
        token={"access_seconds": 60, "refresh_seconds": 120},
    )
    jar = await signed_in(gate)
    for attributes in jar.attributes.values():
        assert "Domain=example.com" in attributes
        assert "Secure" not in attributes
    assert "Max-Age=60" in jar.attributes["whm_access"]
    assert "Max-Age=120" in jar.attributes["whm_refresh"]


async def test_cookies_only_leaves_the_body_without_tokens(world: World, start: Start) -> None:
    gate = await start(world.url, cookies=True, cookie={"only": True})
    answer = await ask(gate, post(LOGIN, CREDENTIALS))
    assert set(answer_of(answer)) == {"user", "expires_in"}
    jar = Jar()
    assert set(jar.take(answer)) == ALL
    again = await jar.post(gate, REFRESH, {}, jar.csrf)
    assert set(answer_of(again)) == {"expires_in"}
    for value in jar.values.values():
        assert value.encode() not in again.body


async def test_registering_and_switching_set_the_cookies_too(gate: Gateway, world: World) -> None:
    newcomer = {
        "email": "new@example.com",
        "password": PASSWORD,
        "full_name": "New",
        "organization_id": str(world.home),
    }
    jar = Jar()
    assert set(jar.take(await ask(gate, post("/api/auth/register", newcomer)))) == ALL
    jar = await signed_in(gate, "both")
    before = dict(jar.values)
    answer_of(await jar.post(gate, SWITCH, {"organization_id": str(world.other)}, jar.csrf))
    assert claims_of(jar.values["whm_access"])["organization_id"] == str(world.other)
    assert jar.values["whm_refresh"] != before["whm_refresh"]


async def test_a_refusal_sets_none(gate: Gateway) -> None:
    for raw in (post(LOGIN, {**CREDENTIALS, "password": "wrong horse"}), post(LOGIN, {}), post(REFRESH, {})):
        answer = await ask(gate, raw)
        assert answer.status in (400, 401)
        assert answer.all("Set-Cookie") == []


# -- taken --------------------------------------------------------------------------------------------------------


async def test_a_cookie_says_who_is_asking(gate: Gateway, world: World, upstream: Upstream) -> None:
    jar = await signed_in(gate)
    for _ in range(2):  # by the store, and by memory
        assert (await ask(gate, get("/api/contacts", jar.sent_to("/api/contacts")))).status == 200
        told = upstream.requests.pop()
        assert told.one("X-User-ID") == str(world.agent)
        assert told.one("X-Auth-Method") == "cookie"


async def test_ours_do_not_reach_the_upstream_and_others_do_as_they_came(
    gate: Gateway, upstream: Upstream
) -> None:
    jar = await signed_in(gate)
    token = jar.values["whm_access"]
    lines = (
        f'Cookie: theme="dark, mode"; whm_access={token}; a==b;c',
        "Accept: */*",
        "cookie: whm_csrf=1; whm_refresh=2",
        "COOKIE:  \xe9=\xff ; whm_csrf=1",
    )
    raw = get("/api/x", *lines)
    raw = raw.replace("é".encode(), b"\xe9").replace("ÿ".encode(), b"\xff")
    is_refusal(await ask(gate, raw.replace(b"whm_access", b"whm_refresh")), 401, "Missing authorization")
    assert (await ask(gate, raw)).status == 200
    kept = [(name, value) for name, value in upstream.requests[0].lines if name.lower() == b"cookie"]
    assert kept == [(b"Cookie", b'theme="dark, mode"; a==b;c'), (b"COOKIE", b"\xe9=\xff")]
    assert b"whm_" not in upstream.seen


async def test_a_whatomate_behind_the_gateway_is_given_the_token_in_its_place(
    gate: Gateway, upstream: Upstream
) -> None:
    jar = await signed_in(gate)
    await ask(gate, get("/api/x", jar.sent_to("/api/x")))
    assert upstream.requests[0].all("Authorization") == [f"Bearer {jar.values['whm_access']}"]
    await ask(gate, get("/", jar.sent_to("/api/x")))  # nobody is asked here, so nobody is named
    assert upstream.requests[1].all("Authorization") == upstream.requests[1].all("Cookie") == []


async def test_a_header_wins_and_needs_no_csrf(gate: Gateway, world: World, upstream: Upstream) -> None:
    jar = await signed_in(gate)
    cookie = jar.sent_to("/api/x")
    for line, user, method in (
        (bearer(world.token(world.admin)), world.admin, "jwt"),
        (f"X-API-Key: {world.api_key}", world.admin, "api_key"),
    ):
        assert (await ask(gate, post("/api/x", {}, cookie, line))).status == 200
        told = upstream.requests.pop()
        assert (told.one("X-User-ID"), told.one("X-Auth-Method")) == (str(user), method)
        assert told.all("Cookie") == []
    is_refusal(await ask(gate, get("/api/x", cookie, "X-API-Key: whm_" + "0" * 32)), 401, "Invalid API key")
    is_refusal(await ask(gate, get("/api/x", cookie, "Authorization: Basic dTpw")), 401)


async def test_a_bad_cookie_is_a_bad_token(gate: Gateway, world: World, upstream: Upstream) -> None:
    jar = await signed_in(gate)
    token = jar.values["whm_access"]
    for value in ("x", f'"{token}"', f"{token} x", f"{token},", token[:-2], jar.values["whm_refresh"], "é"):
        is_refusal(
            await ask(gate, get("/api/x", f"Cookie: whm_access={value}")), 401, "Invalid or expired token"
        )
    is_refusal(await ask(gate, get("/api/x", "Cookie: whm_access=")), 401, "Missing authorization")
    ticket = world.tokens.issue_ticket(user_id=world.agent, organization_id=world.home, now=0)
    is_refusal(await ask(gate, get("/api/x", f"Cookie: whm_access={ticket}")), 401)
    assert upstream.seen == b""


async def test_whatomates_cookies_are_good_too(gate: Gateway, world: World, upstream: Upstream) -> None:
    theirs = f"Cookie: whm_access={whatomate_token(world.agent, world.home)}; whm_csrf=a-random-one"
    assert (await ask(gate, get("/api/x", theirs))).status == 200
    assert (await ask(gate, post("/api/x", {}, theirs, "X-CSRF-Token: a-random-one"))).status == 200
    is_refusal(await ask(gate, post("/api/x", {}, theirs, "X-CSRF-Token: another")), 403)
    assert len(upstream.requests) == 2


async def test_a_session_goes_on_at_another_replica_and_over_a_rotated_secret(
    gate: Gateway, world: World, start: Start, upstream: Upstream
) -> None:
    jar = await signed_in(gate)
    rotated = {"secret": "another-secret-of-the-tests-and-of-nobody", "previous_secrets": (SECRET,)}
    for replica in (await start(world.url, cookies=True), await start(world.url, cookies=True, jwt=rotated)):
        assert (await jar.post(replica, "/api/x", {}, jar.csrf)).status == 200
        answer_of(await jar.post(replica, REFRESH, {}, jar.csrf))
        assert (await jar.post(replica, "/api/x", {}, jar.csrf)).status == 200
    assert len(upstream.requests) == 4


# -- refreshed ----------------------------------------------------------------------------------------------------


async def test_refreshing_takes_the_cookie_when_the_body_has_none(gate: Gateway, world: World) -> None:
    jar = await signed_in(gate)
    raws: tuple[Callable[[], bytes], ...] = (
        lambda: post(REFRESH, {}, jar.sent_to(REFRESH), jar.csrf),
        lambda: post(REFRESH, {"refresh_token": ""}, jar.sent_to(REFRESH), jar.csrf),
        lambda: request("POST", REFRESH, jar.sent_to(REFRESH), jar.csrf, body=b""),
        lambda: request("POST", REFRESH, jar.sent_to(REFRESH), jar.csrf),
    )
    for raw in raws:
        before = dict(jar.values)
        answer = await ask(gate, raw())
        told = answer_of(answer)
        assert set(jar.take(answer)) == ALL
        assert jar.values["whm_refresh"] == told["refresh_token"] != before["whm_refresh"]
        assert jar.values["whm_csrf"] == before["whm_csrf"]  # a page that read it goes on
        assert claims_of(jar.values["whm_access"])["user_id"] == str(world.agent)


async def test_a_token_in_the_body_wins_and_needs_no_csrf(gate: Gateway, world: World) -> None:
    jar, other = await signed_in(gate), await signed_in(gate, "admin")
    answer = await jar.post(gate, REFRESH, {"refresh_token": other.values["whm_refresh"]})
    assert claims_of(str(answer_of(answer)["access_token"]))["user_id"] == str(world.admin)
    assert claims_of(jar.values["whm_refresh"])["user_id"] == str(world.admin)


async def test_a_body_that_is_none_of_these_is_refused(gate: Gateway) -> None:
    jar = await signed_in(gate)
    for body in (b"[]", b"null", b"{", b"x", b'{"refresh_token": 5}'):
        raw = request("POST", REFRESH, jar.sent_to(REFRESH), jar.csrf, body=body)
        is_refusal(await ask(gate, raw), 401, "Missing refresh token")
    answer_of(await jar.post(gate, REFRESH, {}, jar.csrf))


async def test_a_session_that_is_over_has_its_cookies_cleared(gate: Gateway, world: World) -> None:
    jar = await signed_in(gate)
    stale = Jar({**jar.values, "whm_refresh": "garbage"}, jar.attributes)
    is_refusal(await stale.post(gate, REFRESH, {}, stale.csrf), 401, "Invalid refresh token")
    assert stale.values == {}
    await world.sql("UPDATE users SET is_active = false WHERE id = $1", world.agent)
    is_refusal(await jar.post(gate, REFRESH, {}, jar.csrf), 401, "Account is disabled")
    assert jar.values == {}


async def test_an_outage_or_a_missing_csrf_token_clears_nothing(
    gate: Gateway, client: Client, start: Start
) -> None:
    jar = await signed_in(gate)
    answer = await jar.post(gate, REFRESH, {})
    is_refusal(answer, 403)
    assert answer.all("Set-Cookie") == []
    away = await start(cookies=True)
    answer = await jar.post(away, REFRESH, {}, jar.csrf)
    is_refusal(answer, 503)
    assert answer.all("Set-Cookie") == []
    answer_of(await jar.post(gate, REFRESH, {}, jar.csrf))


async def test_a_refresh_that_lost_a_race_leaves_the_winners_cookies(gate: Gateway) -> None:
    jar = await signed_in(gate)
    raw = post(REFRESH, {}, jar.sent_to(REFRESH), jar.csrf)
    answers = await asyncio.gather(*(ask(gate, raw) for _ in range(4)))
    assert 200 in [answer.status for answer in answers]
    for answer in sorted(answers, key=lambda answer: answer.status):  # the losers' answers come last
        jar.take(answer)
    assert set(jar.values) == ALL
    assert (await ask(gate, get("/api/x", jar.sent_to("/api/x")))).status == 200
    answer_of(await jar.post(gate, REFRESH, {}, jar.csrf))


async def test_a_refresh_too_late_for_the_pair_leaves_the_winners_cookies(
    gate: Gateway, world: World
) -> None:
    jar = await signed_in(gate)
    late = Jar(dict(jar.values), jar.attributes)
    answer_of(await jar.post(gate, REFRESH, {}, jar.csrf))
    await world.sql("UPDATE gateway_refresh_tokens SET successor = NULL")  # what was kept for it is forgotten
    answer = await late.post(gate, REFRESH, {}, late.csrf)
    is_refusal(answer, 401)
    assert answer.all("Set-Cookie") == []
    answer_of(await jar.post(gate, REFRESH, {}, jar.csrf))


async def test_a_stolen_session_is_over_for_both(world: World, start: Start) -> None:
    gate = await start(world.url, cookies=True, token={"reuse": "strict"})
    jar = await signed_in(gate)
    thief = Jar(dict(jar.values), jar.attributes)
    answer_of(await jar.post(gate, REFRESH, {}, jar.csrf))
    await world.sql("UPDATE gateway_refresh_tokens SET used_at = used_at - interval '11 seconds'")
    for one in (thief, jar):
        is_refusal(await one.post(gate, REFRESH, {}, one.csrf), 401)
        assert one.values == {}


# -- cleared ------------------------------------------------------------------------------------------------------


async def test_logging_out_clears_and_revokes(gate: Gateway) -> None:
    jar = await signed_in(gate)
    kept = Jar(dict(jar.values), jar.attributes)
    answer = await jar.post(gate, LOGOUT, {})
    assert answer_of(answer) == {"status": "logged_out"}
    assert jar.values == {}
    assert {name: set(attributes) - {"Max-Age=0"} for name, attributes in jar.attributes.items()} == {
        "whm_access": {
            "Path=/api",
            "HttpOnly",
            "Secure",
            "SameSite=Lax",
            "Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        },
        "whm_refresh": {
            "Path=/api/auth",
            "HttpOnly",
            "Secure",
            "SameSite=Lax",
            "Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        },
        "whm_csrf": {"Path=/", "Secure", "SameSite=Lax", "Expires=Thu, 01 Jan 1970 00:00:00 GMT"},
    }
    is_refusal(await kept.post(gate, REFRESH, {}, kept.csrf), 401)


async def test_whatever_is_given_the_answer_is_that_one_is_logged_out(gate: Gateway) -> None:
    jar = await signed_in(gate)
    for raw in (
        request("POST", LOGOUT),
        post(LOGOUT, {"refresh_token": jar.values["whm_refresh"]}),
        request("POST", LOGOUT, "Cookie: whm_refresh=x; whm_refresh=y", body=b"garbage"),
        post(LOGOUT, {}, "Cookie: whm_refresh=\xff"),
    ):
        answer = await ask(gate, raw)
        assert answer_of(answer) == {"status": "logged_out"}
        assert set(Jar().take(answer)) == ALL
    is_refusal(await jar.post(gate, REFRESH, {}, jar.csrf), 401)  # by the body, above


async def test_an_outage_keeps_a_session_and_not_the_cookies(gate: Gateway, start: Start) -> None:
    """The next user of a shared computer must not find them there."""
    jar = await signed_in(gate)
    token = {"refresh_token": jar.values["whm_refresh"]}
    is_refusal(await jar.post(await start(cookies=True), LOGOUT, {}), 503)
    assert jar.values == {}
    answer_of(await ask(gate, post(REFRESH, token)))


async def test_with_a_domain_the_cookies_from_before_it_go_too(world: World, start: Start) -> None:
    gate = await start(world.url, cookies=True, cookie={"domain": "example.com"})
    cleared = (await ask(gate, post(LOGOUT, {}))).all("Set-Cookie")
    assert all("Max-Age=0" in line for line in cleared)
    for domain in ("; Domain=example.com", "; Domain=gateway.test", ""):
        places = {
            line.partition(";")[0] for line in cleared if domain in line and (domain or "Domain" not in line)
        }
        assert places == {f"{name}=" for name in ALL}


async def test_logging_out_ends_the_session_by_the_one_cookie_that_is_left(gate: Gateway) -> None:
    jar = await signed_in(gate)
    by_access = f"Cookie: whm_access={jar.values['whm_access']}"
    answer_of(await ask(gate, post(LOGOUT, {}, by_access)))
    is_refusal(await ask(gate, get("/api/x", by_access)), 401)
    is_refusal(await jar.post(gate, REFRESH, {}, jar.csrf), 401)
    assert jar.values == {}


async def test_ending_all_sessions_or_this_one_clears_and_another_does_not(gate: Gateway) -> None:
    everything = await signed_in(gate)
    is_refusal(await everything.post(gate, "/api/auth/logout-all", {}), 403)
    answer_of(await everything.post(gate, "/api/auth/logout-all", {}, everything.csrf))
    assert everything.values == {}
    jar, other = await signed_in(gate), await signed_in(gate)
    for one, left in ((other, ALL), (jar, set())):
        (session,) = [claims_of(one.values["whm_access"])["sid"]]
        path = f"/api/auth/sessions/{session}"
        answer = await ask(gate, request("DELETE", path, jar.sent_to(path), jar.csrf))
        answer_of(answer)
        jar.take(answer)
        assert set(jar.values) == left
